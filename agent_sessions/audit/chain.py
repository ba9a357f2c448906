"""The chain: each event names the hash of the one before, so none can be changed, dropped or moved alone.

What a chain cannot show is that its tail was cut off: compare its head with the session row, with the signed
artifact, or with a tree head that was exported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent_sessions.audit.events import CREATED, event_hash
from agent_sessions.audit.shapes import EVENT, Problem, shape_problems
from agent_sessions.crypto.canonical import JSON, parse_strict, read_canonical
from agent_sessions.exceptions import InvalidValue

PROBLEMS_KEPT: Final = 20
"""A damaged chain can have as many problems as events; the first ones tell what happened."""


def check_chain(
    events: Iterable[tuple[int, bytes]],
    *,
    run_id: str | None = None,
    after: tuple[int, str] = (0, ""),
    limit: int = PROBLEMS_KEPT,
    of_session: bool = True,
) -> list[Problem]:
    """Check stored events in order: numbers without gaps, links, canonical bytes, and one run.

    ``events`` yields (seq, canonical bytes) and is read once, one event at a time. A changed event shows in
    the link of the one after it; whether the last is the right one, the caller compares with what he knows.
    ``run_id`` is the one that all must have; by default that of the first. ``after`` is the (seq, hex
    hash) of the event before the first, to check only what was added since. Stops after ``limit`` problems.
    ``of_session`` False is for the site's own chain, which nothing opens.
    Returns nothing when the chain is sound; codes are those of ``audit.verify``.
    """
    found: list[Problem] = []
    last, prev_hash = after
    for seq, canonical in events:
        where = f"event {seq}"
        if seq != last + 1:
            found.append(Problem("wrong_seq", where, f"follows event {last}; event {last + 1} was expected"))
        event, problems = _read_event(canonical, where)
        found += problems
        if event is not None:
            if run_id is None and type(event.get("run_id")) is str:
                run_id = str(event["run_id"])
            found += event_problems(
                event, seq=seq, prev_hash=prev_hash, run_id=run_id, where=where, of_session=of_session
            )
        if len(found) >= limit:
            return found[:limit]
        # Go on from what is there, so that one changed event is one problem and not one for each event after
        # it.
        last, prev_hash = seq, event_hash(canonical)
    return found


def event_problems(
    event: JSON, *, seq: int, prev_hash: str | None, run_id: str | None, where: str, of_session: bool = True
) -> list[Problem]:
    """Check one event at its place in a chain; ``prev_hash`` None leaves the link unchecked."""
    found = shape_problems(event, EVENT, where)
    if found or type(event) is not dict:
        return found
    if event["seq"] != seq:
        found.append(Problem("wrong_seq", f"{where}.seq", f"is not {seq}: events are missing, added or moved"))
    if event["run_id"] != run_id:
        found.append(Problem("wrong_run", f"{where}.run_id", "is not that of this session"))
    if prev_hash is not None and event["prev_hash"] != prev_hash:
        what = "is not empty, as the first event's is" if seq == 1 else "is not the hash of the event before it"
        found.append(Problem("broken_chain", f"{where}.prev_hash", what))
    opens = seq == 1 and of_session
    if (event["kind"] == CREATED) is not opens:
        what = (
            f"is not {CREATED}, as the first event's is" if opens else f"is {CREATED}, which stands first in a session"
        )
        found.append(Problem("wrong_place", f"{where}.kind", what))
    if ("header" in event) is not opens:
        what = "is missing from the first event" if opens else "belongs into a session's first event only"
        found.append(Problem("wrong_place", f"{where}.header", what))
    return found


def _read_event(canonical: bytes, where: str) -> tuple[dict[str, JSON] | None, list[Problem]]:
    if (sound := read_canonical(canonical)) is not None:
        return sound, []
    try:
        event = parse_strict(canonical)
    except InvalidValue as error:
        return None, [Problem("not_json", where, error.problem)]
    if type(event) is not dict:
        return None, [Problem("wrong_value", where, "is not an object")]
    return event, [Problem("not_canonical", where, "is not in its canonical spelling (RFC 8785)")]
