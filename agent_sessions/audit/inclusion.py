"""Check the proof in an artifact that the session is in the shop's log (see ``audit.verify``, stage 9).

The artifact's own signature shows that the site has signed this session. The log shows that it cannot have signed
another one in its place, nor drop it: whoever keeps a tree head, or trusts a witness, would see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent_sessions.audit.artifact import check_leaf
from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.notes import Checkpoint, Policy, SignedCheckpoint, open_checkpoint
from agent_sessions.audit.proofs import LogProof, read_proof
from agent_sessions.audit.shapes import Problem
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.exceptions import InvalidValue, NoteRefused


@dataclass(frozen=True, slots=True)
class LogTrust:
    """What a verifier knows of the log from elsewhere, and what it asks for.

    ``policy`` has the keys of log and witnesses and how many of these must have signed; ``required`` refuses an
    artifact without a proof. ``head`` is a tree head got by another way (a signed note), which must be of the same
    history; ``consistency`` is the proof of that, from the smaller of the two heads to the larger.
    """

    policy: Policy
    required: bool = False
    head: str | None = None
    consistency: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """Where in the log the session was found. ``signed``: by a log key that was given.

    ``witnesses`` are names and times (seconds since 1970 UTC) of those given that have co-signed the head.
    """

    log: str
    leaf_index: int
    tree_size: int
    signed: bool
    witnesses: tuple[tuple[str, int], ...] = ()


def inclusion_problems(document: dict[str, Any], trust: LogTrust | None) -> Iterator[Problem]:
    """Check the leaf, the way from it to the tree head, who has signed that, and what history it is of."""
    if "inclusion" not in document:
        if trust is not None and (trust.required or trust.policy.quorum):
            yield Problem("no_inclusion", "inclusion", "is missing: nothing shows that the session is in the log")
        return
    try:
        leaf = check_leaf(
            canonical_bytes(document["inclusion"]["leaf"]),
            run_id=document["run_id"],
            event_count=document["envelope"]["event_count"],
            head_hash=document["envelope"]["head_hash"],
        )
    except InvalidValue as error:
        yield Problem("bad_leaf", f"inclusion.leaf{error.path.replace('/', '.')}", error.problem)
        return
    try:
        proof = _proof(document)
        head = _opened(proof, trust).checkpoint if trust else proof.head
    except NoteRefused as error:
        yield Problem("bad_checkpoint", "inclusion.checkpoint", f"cannot be trusted: {error.problem}")
        return
    if head.origin != leaf.log:
        yield Problem("bad_checkpoint", "inclusion.checkpoint", "is of another log than the leaf")
    elif not proof.proves(canonical_bytes(document["inclusion"]["leaf"])):
        yield Problem("bad_proof", "inclusion.hashes", "do not lead from the leaf to the tree head")
    elif trust is not None and trust.head is not None:
        yield from _history_problems(head, trust, trust.head)


def where_logged(document: dict[str, Any], trust: LogTrust | None) -> Logged | None:
    """Say where the session is in the log, once ``inclusion_problems`` found nothing. None without a proof."""
    if "inclusion" not in document:
        return None
    proof = _proof(document)
    if trust is None:
        return Logged(proof.head.origin, proof.index, proof.head.size, signed=False)
    opened = _opened(proof, trust)
    witnesses = tuple(sorted((key.name, time) for key, time in opened.cosigned))
    return Logged(opened.checkpoint.origin, proof.index, opened.checkpoint.size, True, witnesses)


def _proof(document: dict[str, Any]) -> LogProof:
    return read_proof({name: value for name, value in document["inclusion"].items() if name != "leaf"})


def _opened(proof: LogProof, trust: LogTrust) -> SignedCheckpoint:
    return trust.policy.open(proof.checkpoint)


def _history_problems(found: Checkpoint, trust: LogTrust, note: str) -> Iterator[Problem]:
    """Compare the artifact's head with the one that the verifier has from elsewhere."""
    where = "inclusion.checkpoint"
    try:
        # Witnesses are not asked of it: an exported head may be older than their signatures.
        known = open_checkpoint(note, (*trust.policy.logs, *trust.policy.witnesses)).checkpoint
    except NoteRefused as error:
        yield Problem("bad_head", "the head given", f"cannot be trusted: {error.problem}")
        return
    if known.origin != found.origin:
        yield Problem("inconsistent", where, f"is of another log than the head given ({known.origin})")
        return
    old, new = sorted((known, found), key=lambda one: one.size)
    needed = old.size not in (0, new.size)
    if needed and trust.consistency is None:
        yield Problem(
            "no_consistency", where, f"has {found.size} leaves, the head given {known.size}: no proof was given"
        )
    elif not verify_consistency(old.size, new.size, old.root, new.root, (trust.consistency or ()) if needed else ()):
        yield Problem("inconsistent", where, "is not of the same history as the head given: one of them was rewritten")
