"""Reading the log: proofs for sessions and between tree heads, the keys that sign it, and how far behind it is (A4).

Proofs lead to tree heads that count: those that the sinks have.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from agent_sessions.audit.leaf import session_leaf
from agent_sessions.audit.merkle import consistency_proof, inclusion_proof
from agent_sessions.audit.notes import add_signatures, parse_signatures
from agent_sessions.audit.proofs import Inclusion, LogProof
from agent_sessions.audit.vkeys import SIGNS, NoteKey
from agent_sessions.exceptions import LogDamaged, NotLogged
from agent_sessions.models import LogGeneration, LogLeaf, SiteKey, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.selectors._log import read_nodes, unsequenced

_RECENT: Final = 20
"""Heads among which one that a witness has co-signed is looked for."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """A public key of the log, as verifiers and witnesses are given it; ``active`` if it signs heads now."""

    vkey: str
    generation: int
    active: bool


@dataclass(frozen=True, slots=True)
class LogState:
    """Where the log stands. ``size`` are its leaves, ``counted`` those that the newest head that counts covers.

    ``unsequenced`` events have no leaf yet, the oldest of them since ``oldest`` (UTC, None if there is none).
    ``waiting_since`` is when the oldest leaf was appended that no head that counts covers, None if there is none.
    """

    log: str
    size: int
    counted: int
    unsequenced: int
    oldest: datetime | None
    waiting_since: datetime | None


def log_inclusion(session_id: uuid.UUID, *, seq: int | None = None, size: int | None = None) -> Inclusion:
    """Prove that a session is in the log: up to event ``seq``, or as far as it is in it.

    The proof leads to the tree head of ``size`` leaves, or to one of the newest that count, a co-signed one before
    others. Five queries. Raises NotLogged, and LogDamaged if the stored log does not fit together.
    """
    alias = _rows.write_connection().alias
    leaves = LogLeaf.objects.using(alias).filter(session=session_id)
    if seq is not None:
        leaves = leaves.filter(seq=seq)
    # One a generation for each event; with those that no head covers yet there are few.
    for leaf in leaves.select_related("generation").order_by("-generation_id", "-seq")[:_RECENT]:
        head = _covering_head(leaf, size)
        if head is not None:
            return _inclusion(leaf, head)
    what = f"Session {session_id}" if seq is None else f"Event {seq} of session {session_id}"
    raise NotLogged(f"{what} is in no tree head that counts.")


def _covering_head(leaf: LogLeaf, size: int | None) -> TreeHead | None:
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(
        generation=leaf.generation_id, exported_at__isnull=False, size__gt=leaf.index
    )
    if size is not None:
        return heads.filter(size=size).first()
    newest = list(heads.order_by("-size")[:_RECENT])
    return next((one for one in newest if one.cosignatures), newest[0] if newest else None)


def _inclusion(leaf: LogLeaf, head: TreeHead) -> Inclusion:
    written = session_leaf(
        log=leaf.generation.origin, session=str(leaf.session), seq=leaf.seq or 0, head=bytes(leaf.head or b"").hex()
    )
    hashes = inclusion_proof(leaf.index, head.size, partial(read_nodes, leaf.generation_id))
    proof = LogProof(leaf.index, tuple(hashes), witnessed_note(head))
    if not proof.proves(written):
        raise LogDamaged(f"leaf {leaf.index} of {proof.head.origin} does not lead to the head of {head.size}")
    return Inclusion(written, proof)


def log_consistency(old: int, new: int, *, generation: int | None = None) -> list[bytes]:
    """Prove that the tree head of ``old`` leaves begins that of ``new``: the hashes of RFC 6962 section 2.1.2.

    Both must be heads that count, of the open generation or the one given. Raises NotLogged, LogDamaged, and
    InvalidValue if the old one is larger.
    """
    number = _generation(generation).number
    for size in {old, new}:
        _counting_head(number, size)
    return consistency_proof(old, new, partial(read_nodes, number))


def tree_head(size: int | None = None, *, generation: int | None = None) -> str:
    """Return a tree head that counts, the newest or that of ``size`` leaves: the note with all its signatures.

    Raises NotLogged.
    """
    return witnessed_note(_counting_head(_generation(generation).number, size))


def witnessed_note(head: TreeHead) -> str:
    """Return a head's note with the cosignatures that have come for it."""
    if not head.cosignatures:
        return head.note
    return add_signatures(head.note, parse_signatures("".join(head.cosignatures)))


def log_keys() -> list[LogKey]:
    """Return the public keys of every generation of the log, the newest first."""
    alias = _rows.write_connection().alias
    keys = list(SiteKey.objects.using(alias).filter(purpose=SiteKey.Purpose.LOG).order_by("-pk"))
    found = []
    for one in LogGeneration.objects.using(alias).order_by("-number"):
        for key in keys:
            used = key.retired_at is None or key.retired_at >= one.created_at
            if used and (one.closed_at is None or key.created_at <= one.closed_at):
                vkey = NoteKey(one.origin, SIGNS, bytes(key.public)).text
                found.append(LogKey(vkey, one.number, key.retired_at is None and one.closed_at is None))
    return found


def log_state() -> LogState | None:
    """Say where the log stands and how far behind it is; None before its first generation."""
    connection = _rows.write_connection()
    generation = LogGeneration.objects.using(connection.alias).filter(closed_at__isnull=True).first()
    if generation is None:
        return None
    heads = TreeHead.objects.using(connection.alias).filter(generation=generation).order_by("-size")
    counted = heads.filter(exported_at__isnull=False).values_list("size", flat=True).first() or 0
    uncovered = LogLeaf.objects.using(connection.alias).filter(generation=generation, index=counted)
    oldest, count = unsequenced(connection, generation)
    waiting_since = uncovered.values_list("created_at", flat=True).first()
    return LogState(generation.origin, generation.size, counted, count, oldest, waiting_since)


def _generation(number: int | None) -> LogGeneration:
    generations = LogGeneration.objects.using(_rows.write_connection().alias)
    chosen = generations.filter(closed_at__isnull=True) if number is None else generations.filter(number=number)
    found = chosen.first()
    if found is None:
        raise NotLogged("There is no log yet." if number is None else f"There is no generation {number} of the log.")
    return found


def _counting_head(generation: int, size: int | None) -> TreeHead:
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(
        generation=generation, exported_at__isnull=False
    )
    found = (heads if size is None else heads.filter(size=size)).order_by("-size").first()
    if found is None:
        raise NotLogged("No tree head counts yet." if size is None else f"No tree head of {size} leaves counts.")
    return found
