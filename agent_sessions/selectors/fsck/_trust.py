"""Whose signatures on tree heads count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent_sessions.audit.leaf import KeysLeaf
from agent_sessions.audit.notes import open_checkpoint
from agent_sessions.audit.vkeys import SIGNS, NoteKey, read_vkey
from agent_sessions.exceptions import KeyProblem, NoteRefused
from agent_sessions.models import SiteKey
from agent_sessions.selectors._rows import write_connection


class Looked(NamedTuple):
    """What the signatures on a head are worth: what is wrong with them, empty if nothing is, and who co-signed it."""

    problem: str
    witnesses: tuple[NoteKey, ...] = ()


class Trusted:
    """The log's public keys that are trusted, and those that these have brought in by a leaf since.

    A key is named after its log, and every generation is a log with a name of its own: so public keys are compared.
    ``witnesses`` are keys of those whose cosignatures are checked as well.
    """

    def __init__(self, keys: Sequence[NoteKey], witnesses: Sequence[NoteKey] = ()) -> None:
        self._public = [key.public for key in keys] or _of_the_database()
        self.witnesses = tuple(witnesses)

    def look(self, note: str, origin: str) -> Looked:
        """Check the signatures on a head: one of the log's keys, and every one that claims to be by a witness."""
        try:
            logs = [NoteKey(origin, SIGNS, public) for public in self._public]
            opened = open_checkpoint(note, [*logs, *self.witnesses])
        except (NoteRefused, KeyProblem) as error:
            return Looked(error.problem if isinstance(error, NoteRefused) else error.message)
        return Looked("", tuple(key for key, _ in opened.cosigned))

    def bring_in(self, leaf: KeysLeaf) -> bool:
        """Trust the key that a leaf brings in; False when the key that signed it is none that is trusted."""
        if read_vkey(leaf.former).public not in self._public:
            return False
        self._public.append(read_vkey(leaf.key).public)
        return True


def _of_the_database() -> list[bytes]:
    rows = SiteKey.objects.using(write_connection().alias).filter(purpose=SiteKey.Purpose.LOG)
    return [bytes(public) for public in rows.values_list("public", flat=True)]
