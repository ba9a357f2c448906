"""What shows that a session's history is what was written, checked now: its chain, its artifact, its place in the log.

No key that opens content is needed, and nothing is written: not even an artifact that is still to be signed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from django.utils import timezone

from agent_sessions.audit.artifact import ENVELOPE_DOMAIN
from agent_sessions.audit.chain import check_chain
from agent_sessions.audit.events import event_hash, root_hash
from agent_sessions.audit.notes import Policy, Signature, parse_signatures
from agent_sessions.audit.proofs import Inclusion
from agent_sessions.audit.shapes import Problem
from agent_sessions.audit.vkeys import NoteKey, read_vkey
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.crypto.signing import key_id, verify
from agent_sessions.exceptions import InvalidValue, KeyProblem, LogDamaged, NoteRefused, NotLogged
from agent_sessions.models import Artifact, AuditEvent, LogGeneration, LogLeaf, Session, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.log import log_inclusion, log_keys
from agent_sessions.sinks import witness_keys

SECONDS: Final = 2.0
"""How long a chain is checked by default before the check stops where it is."""
_LAST_TIME: Final = 253_370_764_800
"""Seconds since 1970 with which the year 9999 begins: a cosignature that says more says no time."""
Unlogged = Literal["", "no log", "no leaf", "no head"]
Standing = Literal["verified", "unknown", "wrong"]


class ChainCheck(msgspec.Struct, frozen=True):
    """``checked`` of ``length`` events were hashed again; ``whole`` says that none was left for lack of time."""

    length: int
    checked: int
    whole: bool
    head_hash: str
    problems: tuple[Problem, ...]


class SealCheck(msgspec.Struct, frozen=True):
    """The signatures over the first ``events`` events. ``compared``: with the events, and not only with one another.

    ``retired_at`` is when the key that made them was replaced, None if it still signs.
    """

    signed_at: datetime
    events: int
    root_hash: str
    key_id: str
    retired_at: datetime | None
    compared: bool
    problems: tuple[Problem, ...]


class Cosigned(msgspec.Struct, frozen=True):
    """A cosignature of a tree head: by the name that it gives, when (UTC; None for a time that there is not).

    ``standing``: it was verified with a key of that witness in LOG_SINKS, it is not that key's, or no key is known.
    """

    witness: str
    at: datetime | None
    standing: Standing


class LogCheck(msgspec.Struct, frozen=True):
    """The leaf that stands for the chain up to event ``seq``, and the tree head (of ``size`` leaves) it leads to.

    ``compared``: the event's hash was checked with the leaf's. ``keys`` are the ids of the log's keys that signed the
    head, ``cosigned`` what witnesses have signed of it. Times are UTC.
    """

    log: str
    generation: int
    leaf: int
    seq: int
    size: int
    keys: tuple[str, ...]
    signed_at: datetime | None
    exported_at: datetime | None
    exported_to: tuple[str, ...]
    cosigned: tuple[Cosigned, ...]
    compared: bool
    problems: tuple[Problem, ...]


class SessionProof(msgspec.Struct, frozen=True):
    """``seal`` is None before the artifact was signed, and ``log`` before a tree head covers the session.

    ``seal_missing``: it was signed, and the signatures are gone. ``unlogged`` says why there is no ``log``,
    ``log_problem`` what of it cannot be read.
    """

    checked_at: datetime
    took: timedelta
    chain: ChainCheck
    seal: SealCheck | None
    seal_missing: bool
    log: LogCheck | None
    unlogged: Unlogged
    log_problem: str

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            problem for part in (self.chain, self.seal, self.log) if part is not None for problem in part.problems
        )

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what was checked."""
        return not (self.problems or self.seal_missing or self.log_problem)


def proof_of(head: SessionHead, *, seconds: float = SECONDS) -> SessionProof:
    """Check a session's chain for up to ``seconds``, and its signatures and its proof of inclusion.

    Some ten queries, however long the session is; the events are read a few hundred at a time.
    """
    began, now = time.monotonic(), timezone.now()
    hashes: list[str] = []
    chain = _chain(head, hashes, began + seconds)
    seal, missing = _seal(head, hashes)
    log, unlogged, problem = _log(head, hashes)
    took = timedelta(seconds=time.monotonic() - began)
    return SessionProof(now, took, chain, seal, missing, log, unlogged, problem)


def _chain(head: SessionHead, hashes: list[str], deadline: float) -> ChainCheck:
    rows = AuditEvent.objects.using(_alias()).filter(session_id=head.session_id, seq__lte=head.head_seq).order_by("seq")
    late = False

    def events() -> Iterator[tuple[int, bytes]]:
        nonlocal late
        for seq, stored in rows.values_list("seq", "canonical").iterator(chunk_size=500):
            canonical = bytes(stored)
            hashes.append(event_hash(canonical))
            yield seq, canonical
            if time.monotonic() > deadline and len(hashes) < head.head_seq:
                late = True
                return

    problems = check_chain(events(), run_id=str(head.session_id))
    if not problems and not late and (len(hashes), hashes[-1:]) != (head.head_seq, [head.head_hash]):
        problems = [
            Problem(
                "wrong_head",
                f"event {head.head_seq}",
                "is not the one that the session ends with: events are missing or were replaced at the end",
            )
        ]
    return ChainCheck(head.head_seq, len(hashes), not late, head.head_hash, tuple(problems))


def _seal(head: SessionHead, hashes: list[str]) -> tuple[SealCheck | None, bool]:
    """Return the check of the artifact's signatures, or None and whether they should be there."""
    found = Artifact.objects.using(_alias()).select_related("signing_key").filter(pk=head.session_id).first()
    if found is None:
        return None, Session.objects.using(_alias()).filter(pk=head.session_id, sealed_at__isnull=False).exists()
    public, count = bytes(found.signing_key.public), found.event_count
    compared = len(hashes) >= count
    problems = []
    if compared and root_hash(hashes[:count]) != found.root_hash:
        problems.append(
            Problem("wrong_root", "root hash", "is not that of the events that were signed: they were changed since")
        )
    if not verify(public, found.root_hash.encode(), bytes(found.signature)):
        problems.append(Problem("bad_signature", "signature", "does not fit the root hash and the key"))
    if not verify(public, ENVELOPE_DOMAIN + bytes(found.envelope), bytes(found.runtime_signature)):
        problems.append(Problem("bad_signature", "envelope’s signature", "does not fit the envelope and the key"))
    if not _envelope_fits(bytes(found.envelope), found.root_hash, count):
        problems.append(Problem("contradiction", "envelope", "is not about the events that were signed"))
    key = found.signing_key
    return SealCheck(
        found.created_at, count, found.root_hash, key_id(public), key.retired_at, compared, tuple(problems)
    ), False  # fmt: skip


def _envelope_fits(envelope: bytes, root: str, count: int) -> bool:
    try:
        told = parse_strict(envelope)
    except InvalidValue:
        return False
    return isinstance(told, dict) and (told.get("root_hash"), told.get("event_count")) == (root, count)


def _log(head: SessionHead, hashes: list[str]) -> tuple[LogCheck | None, Unlogged, str]:
    try:
        inclusion = log_inclusion(head.session_id)
        return _log_check(inclusion, hashes), "", ""
    except NotLogged:
        return None, _unlogged(head), ""
    except (LogDamaged, NoteRefused, InvalidValue) as error:
        return None, "", error.message


def _unlogged(head: SessionHead) -> Unlogged:
    if LogLeaf.objects.using(_alias()).filter(session=head.session_id).exists():
        return "no head"
    return "no leaf" if LogGeneration.objects.using(_alias()).exists() else "no log"


def _log_check(inclusion: Inclusion, hashes: list[str]) -> LogCheck:
    """Check who signed the head that the leaf leads to, and that the leaf is about the events that are stored."""
    proof, leaf = inclusion.proof, _leaf(inclusion)
    problems = []
    seq = int(leaf["seq"])
    compared = len(hashes) >= seq
    if compared and hashes[seq - 1] != leaf["head"]:
        problems.append(
            Problem(
                "rewritten",
                f"event {seq}",
                "is not the one that the log has: the history was changed after it was logged",
            )
        )
    keys: tuple[str, ...] = ()
    try:
        signed = Policy(tuple(read_vkey(key.vkey) for key in log_keys())).open(proof.checkpoint)
        keys = tuple(key.key_id.hex() for key in signed.signed_by)
    except (NoteRefused, KeyProblem) as error:
        problems.append(
            Problem("bad_checkpoint", "tree head", f"is not signed by this site: {getattr(error, 'problem', error)}")
        )
    stored = TreeHead.objects.using(_alias()).filter(generation__origin=proof.head.origin, size=proof.head.size).first()
    cosigned = () if stored is None else _cosigned(stored, proof.head.text)
    problems += [
        Problem("bad_checkpoint", "tree head", f"has a cosignature of {one.witness} that this witness did not make")
        for one in cosigned
        if one.standing == "wrong"
    ]
    return LogCheck(
        log=proof.head.origin,
        generation=0 if stored is None else stored.generation_id,
        leaf=proof.index,
        seq=seq,
        size=proof.head.size,
        keys=keys,
        signed_at=None if stored is None else stored.created_at,
        exported_at=None if stored is None else stored.exported_at,
        exported_to=() if stored is None else tuple(map(str, stored.exported_to)),
        cosigned=cosigned,
        compared=compared,
        problems=tuple(problems),
    )


def _leaf(inclusion: Inclusion) -> dict[str, Any]:
    leaf: Any = parse_strict(inclusion.leaf)
    return dict(leaf)


def _cosigned(stored: TreeHead, text: str) -> tuple[Cosigned, ...]:
    """Check what witnesses have signed of a head, with the keys that are known here."""
    if not stored.cosignatures:
        return ()
    keys = witness_keys()
    return tuple(_cosignature(line, text, keys) for line in parse_signatures("".join(stored.cosignatures)))


def _cosignature(line: Signature, text: str, keys: Sequence[NoteKey]) -> Cosigned:
    at = datetime.fromtimestamp(line.time, UTC) if line.time < _LAST_TIME else None
    theirs = [key for key in keys if line.is_by(key)]
    if not theirs:
        return Cosigned(line.name, at, "unknown")
    good = any(key.verifies(text, line.signature) for key in theirs)
    return Cosigned(line.name, at, "verified" if good else "wrong")


def _alias() -> str:
    return _rows.write_connection().alias
