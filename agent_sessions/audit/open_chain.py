"""The events so far of a session that has not ended: what stands in evidence where there is no artifact yet.

Nobody has signed it. The chain shows that nothing in it was changed, dropped or moved; that its end was not cut off is
shown by the artifact that comes later, or by a tree head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from agent_sessions.audit.artifact import Opening
from agent_sessions.audit.chain import PROBLEMS_KEPT, check_chain
from agent_sessions.audit.checks import DEPTH, opening_problems
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.filed import ProofFile, not_canonical
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


def write_open_chain(
    file: ProofFile, run_id: str, events: Iterable[bytes], openings: Iterable[Opening] = ()
) -> dict[str, Any]:
    """Write the events so far (canonical bytes, the first one first) to a file, with what is opened of them, in order.

    It is canonical JSON of any length; what is returned is for ``filed_chain_problems``.
    """
    head_hash = ""

    def hashed() -> Iterator[bytes]:
        nonlocal head_hash
        for event in events:
            head_hash = event_hash(event)
            yield event

    # Stored events go in as the bytes that were hashed, never re-written; "events" comes before all other members.
    file.put(b'{"events":')
    document: dict[str, Any] = {"run_id": run_id, "type": OPEN_CHAIN_TYPE, "events": file.put_list(hashed())}
    file.put(b',"head_hash":%b,"openings":' % canonical_bytes(head_hash))
    document["head_hash"] = head_hash
    document["openings"] = file.put_list(canonical_bytes(opening.to_json()) for opening in openings)
    file.put(b',"run_id":%b,"type":%b}' % (canonical_bytes(run_id), canonical_bytes(OPEN_CHAIN_TYPE)))
    return document


def filed_chain_problems(document: dict[str, Any]) -> list[Problem]:
    """Check what ``write_open_chain`` wrote, in little memory. Never raises."""
    found = not_canonical(document["openings"], "openings")
    return found or _problems(document, document["events"].raws())


def open_chain_problems(raw: bytes) -> list[Problem]:
    """Check what ``write_open_chain`` wrote: canonical, unbroken, and opened as committed. Never raises."""
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
    return _problems(document, [canonical_bytes(event, max_depth=DEPTH) for event in document["events"]])


def _problems(document: dict[str, Any], events: Iterable[bytes]) -> list[Problem]:
    last = b""

    def numbered() -> Iterator[tuple[int, bytes]]:
        nonlocal last
        for number, event in enumerate(events, start=1):
            last = event
            yield number, event

    found = check_chain(numbered(), run_id=document["run_id"])
    if not found and (not last or document["head_hash"] != event_hash(last)):
        found = [Problem("wrong_root", "head_hash", "is not the hash of the last event")]
    return (found or list(opening_problems(document)))[:PROBLEMS_KEPT]
