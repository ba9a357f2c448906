"""A new key for the log, brought in by a leaf that the old one signed (A4, A8)."""

from __future__ import annotations

from functools import partial

from agent_sessions.audit.leaf import keys_leaf
from agent_sessions.audit.vkeys import NoteKey
from agent_sessions.crypto.signing import sign
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.models import LogLeaf
from agent_sessions.selectors import _rows
from agent_sessions.services._log_heads import note_key
from agent_sessions.services._log_tree import NewLeaf, append_leaves, lock_open_generation
from agent_sessions.services.keys import Purpose, active_site_key, rotate_site_key, site_key_secret
from agent_sessions.services.site_events import record

KIND = "log.key_rotated"


def rotate_log_key(*, actor: Actor = SYSTEM) -> NoteKey | None:
    """Sign tree heads with a new key from now on; return it under the open log's name, None if no log is open.

    A leaf of the log names the new key, signed by the old one, and heads carry both signatures until the next
    rotation: witnesses and verifiers go on, and have so long to take the new key over. Raises KeyProblem, SessionBusy.
    """
    active_site_key(Purpose.LOG)  # made if there is none, outside of the transaction

    def rotate() -> NoteKey | None:
        generation = lock_open_generation()
        old = active_site_key(Purpose.LOG)
        new = rotate_site_key(Purpose.LOG)
        if generation is None:
            return None
        key = note_key(generation, new)
        written = keys_leaf(
            log=generation.origin, former=note_key(generation, old), key=key, sign=partial(sign, site_key_secret(old))
        )
        append_leaves(generation, [NewLeaf(LogLeaf.Kind.KEY, written)])
        record(KIND, actor, {"log": generation.origin, "key_id": key.key_id.hex()})
        return key

    return _rows.in_transaction("The log's key", rotate)
