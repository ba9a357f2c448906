"""What is checked of an artifact once its bytes are read, stage by stage (see ``audit.verify``).

Each function yields what is wrong, the first thing first, and relies on the stages before it having found
nothing: on all members being there and of the right type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from agent_sessions.audit.artifact import ENVELOPE_DOMAIN, PURPOSE
from agent_sessions.audit.chain import event_problems
from agent_sessions.audit.events import ENDED, ERASED, event_hash, root_hash
from agent_sessions.audit.shapes import HEADER, Problem
from agent_sessions.crypto.canonical import MAX_DEPTH, canonical_bytes
from agent_sessions.crypto.commitments import opens
from agent_sessions.crypto.encoding import from_base64, from_base64url
from agent_sessions.crypto.signing import key_id, read_public_key, verify
from agent_sessions.exceptions import KeyProblem

Document: TypeAlias = dict[str, Any]
"""An artifact whose shape was checked."""

DEPTH: Final = MAX_DEPTH + 4
"""Levels of an artifact: an event's own, and around it the list, the artifact and the protocol's wrapper."""

_canonical = partial(canonical_bytes, max_depth=DEPTH)


def chain_problems(document: Document, hashes: Sequence[str]) -> Iterator[Problem]:
    """Check every event, the links between them, and that the session begins and ends where it should."""
    prev_hash = ""
    events = document["events"]
    for number, (event, digest) in enumerate(zip(events, hashes, strict=True)):
        where = f"events[{number}]"
        yield from event_problems(event, seq=number + 1, prev_hash=prev_hash, run_id=document["run_id"], where=where)
        is_last = number == len(events) - 1
        if (event.get("kind") == ENDED) is not is_last:
            what = f"is not {ENDED}, as the last event's is" if is_last else f"is {ENDED} before the last event"
            yield Problem("wrong_place", f"{where}.kind", what)
        prev_hash = digest


def after_problems(document: Document, hashes: Sequence[str]) -> Iterator[Problem]:
    """Check the events after the end: chained on, no second end, and nothing opened of what they say was erased."""
    prev_hash = hashes[-1]
    gone: set[str] = set()
    for number, event in enumerate(document.get("after", ())):
        where, seq = f"after[{number}]", len(hashes) + number + 1
        yield from event_problems(event, seq=seq, prev_hash=prev_hash, run_id=document["run_id"], where=where)
        if event.get("kind") == ENDED:
            yield Problem("wrong_place", f"{where}.kind", f"is {ENDED} a second time")
        if event.get("kind") == ERASED:
            found = list(erasure_problems(event, where))
            yield from found
            gone |= set() if found or type(event.get("params")) is not dict else set(event["params"]["classes"])
        prev_hash = event_hash(_canonical(event))
    for number, opening in enumerate(document["openings"]):
        if ("content" if opening["path"] == "patch" else "personal") in gone:
            yield Problem("contradiction", f"openings[{number}]", "is of what an event after the end says was erased")


def erasure_problems(event: Document, where: str) -> Iterator[Problem]:
    """Check what an event says of an erasure."""
    params: Any = event.get("params")
    if type(params) is not dict:
        return  # its shape is wrong, and that was said
    classes = params.get("classes")
    if type(classes) is not list or not classes or any(one not in ("content", "personal") for one in classes):
        yield Problem("wrong_value", f"{where}.params.classes", "is not a list of content and personal")
    elif any(type(params.get(name, "")) is not str for name in ("rule", "basis", "because", "unrecoverable_after")):
        yield Problem("wrong_value", f"{where}.params", "says why in something else than text")


def count_problems(document: Document, hashes: Sequence[str]) -> Iterator[Problem]:
    """Check that these are the events which were counted and signed."""
    envelope = document["envelope"]
    if envelope["event_count"] != len(hashes):
        yield Problem("wrong_count", "envelope.event_count", f"is not {len(hashes)}, the number of events here")
        return
    root = root_hash(hashes)
    if document["root_hash"] != root:
        yield Problem("wrong_root", "root_hash", "is not the hash of these events")
    if envelope["root_hash"] != root:
        yield Problem("wrong_root", "envelope.root_hash", "is not the hash of these events")
    if envelope["head_hash"] != hashes[-1]:
        yield Problem("wrong_root", "envelope.head_hash", "is not the hash of the last event")


def fact_problems(document: Document) -> Iterator[Problem]:
    """Check that every fact is the same in all places where it stands."""
    envelope, first, last = document["envelope"], document["events"][0], document["events"][-1]
    header, agent, signer = first["header"], document["agent"], envelope["agent"]
    commitment = first.get("private", {}).get(PURPOSE)
    purpose = next(
        (o["value"] for o in document["openings"] if o["seq"] == 1 and o["path"] == PURPOSE and commitment),
        None,
    )
    facts = [(f"envelope.{name}", envelope[name], "events[0].header", header[name]) for name in HEADER]
    facts += [
        ("envelope.purpose_commitment", envelope.get("purpose_commitment"), "events[0].private", commitment),
        ("envelope.run_id", envelope["run_id"], "run_id", document["run_id"]),
        ("envelope.ended_at", envelope["ended_at"], "the last event", last["params"].get("ended_at")),
        ("envelope.end_reason", envelope["end_reason"], "the last event", last["params"].get("end_reason")),
        ("session_id", document["session_id"], "envelope.token_hash", envelope["token_hash"]),
        ("site", document["site"], "envelope.site", envelope["site"]),
        ("created_at", document["created_at"], "envelope.created_at", envelope["created_at"]),
        ("ended_at", document["ended_at"], "envelope.ended_at", envelope["ended_at"]),
        ("agent.name", agent["name"], "envelope.agent.name", signer["name"]),
        ("agent.version", agent["version"], "envelope.agent.version", signer["version"]),
        ("agent.purpose", agent["purpose"], "what openings disclose", purpose),
    ]
    for where, found, other, expected in facts:
        # Compared as documents: to Python, 1 and true are equal.
        if _canonical(found) != _canonical(expected):
            yield Problem("contradiction", where, f"is not the same as in {other}")


def signature_problems(document: Document, keys: Sequence[bytes]) -> Iterator[Problem]:
    """Check the key, both signatures, and whether the key is one of ``keys``."""
    try:
        public = read_public_key(document["public_key"])
    except KeyProblem as error:
        yield Problem("unfit_key", "public_key", f"cannot be used: {error.message}")
        return
    if document["envelope"]["key_id"] != key_id(public):
        yield Problem("contradiction", "envelope.key_id", "is not the id of public_key")
    envelope = ENVELOPE_DOMAIN + _canonical(document["envelope"])
    for member, message in (
        ("signature", document["root_hash"].encode("ascii")),
        ("runtime_signature", envelope),
    ):
        if not verify(public, message, from_base64(document[member])):
            yield Problem("bad_signature", member, "was not made with public_key over this content")
    if keys and public not in keys:
        yield Problem(
            "wrong_key",
            "public_key",
            "is none of the keys given: someone else signed this, or the site used another key then",
        )


def opening_problems(document: Document) -> Iterator[Problem]:
    """Check that what is disclosed is what was committed to."""
    events, before = document["events"], (0, "")
    for number, opening in enumerate(document["openings"]):
        where, seq, path = f"openings[{number}]", opening["seq"], opening["path"]
        if (seq, path) <= before:
            yield Problem("wrong_order", where, "does not come after the one before it (by seq, then path)")
        before = seq, path
        private: Mapping[str, str] = events[seq - 1].get("private", {}) if seq <= len(events) else {}
        salt = from_base64url(opening["salt"])
        if path not in private:
            yield Problem("bad_opening", where, "opens a value that no event commits to")
        elif not opens(private[path], salt, document["run_id"], seq, path, opening["value"]):
            yield Problem("bad_opening", where, f"is not the value that event {seq} commits to")
