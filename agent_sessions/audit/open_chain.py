"""The events so far of a session that has not ended: what stands in evidence where there is no artifact yet.

Nobody has signed it. The chain shows that nothing in it was changed, dropped or moved; that its end was not cut off is
shown by the artifact that comes later, or by a tree head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agent_sessions.audit.artifact import Opening
from agent_sessions.audit.chain import PROBLEMS_KEPT, check_chain
from agent_sessions.audit.checks import DEPTH, opening_problems
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.shapes import HASH, OPENING, SOME_TEXT, Member, Problem, literal, shape_problems
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.exceptions import InvalidValue

OPEN_CHAIN_TYPE: Final = "agent-session-open-chain/v1"
_LIST: Final = Member("a list", lambda value: type(value) is list)
_SHAPE: Final = {
    "events": _LIST,
    "head_hash": HASH,
    "openings": _LIST,
    "run_id": SOME_TEXT,
    "type": literal(OPEN_CHAIN_TYPE),
}


def build_open_chain(run_id: str, events: Sequence[bytes], openings: Sequence[Opening] = ()) -> bytes:
    """Write the events so far (canonical bytes, the first one first) as canonical JSON, with what is opened of them."""
    ordered = sorted(openings, key=lambda opening: (opening.seq, opening.path))
    rest = {
        "head_hash": event_hash(events[-1]),
        "openings": [opening.to_json() for opening in ordered],
        "run_id": run_id,
        "type": OPEN_CHAIN_TYPE,
    }
    # Stored events go in as the bytes that were hashed, never re-written; "events" comes before all other members.
    return b'{"events":[' + b",".join(events) + b"]," + canonical_bytes(rest, max_depth=DEPTH)[1:]


def open_chain_problems(raw: bytes) -> list[Problem]:
    """Check what ``build_open_chain`` wrote: canonical, unbroken, and opened as committed. Never raises."""
    try:
        document: Any = parse_strict(raw, max_depth=DEPTH)
    except InvalidValue as error:
        return [Problem("not_json", "document", error.problem)]
    found = shape_problems(document, _SHAPE, "")
    for number, opening in enumerate([] if found else document["openings"]):
        found += shape_problems(opening, OPENING, f"openings[{number}]")
    if found:
        return found[:PROBLEMS_KEPT]
    if canonical_bytes(document, max_depth=DEPTH) != raw:
        return [Problem("not_canonical", "document", "is not canonical (RFC 8785)")]
    events = [canonical_bytes(event, max_depth=DEPTH) for event in document["events"]]
    found = check_chain(enumerate(events, 1), run_id=document["run_id"])
    if not found and (not events or document["head_hash"] != event_hash(events[-1])):
        found = [Problem("wrong_root", "head_hash", "is not the hash of the last event")]
    return (found or list(opening_problems(document)))[:PROBLEMS_KEPT]
