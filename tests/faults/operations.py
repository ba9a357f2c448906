"""What the load is made of. A new operation is one function and one line in ``OPERATIONS``.

The function gets a ``Turn`` and makes one call, which writes at most one event. Somewhere in that stands the turn's
marker: in a value, a note, a reason, a text. The function returns what the answer told. What the package refuses, it
lets through; a code that is not among ``EXPECTED_REFUSALS`` fails the test. The load goes on until each operation has
been acknowledged once.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.db import transaction

from agent_sessions import selectors, services
from agent_sessions.selectors.audit import openings
from agent_sessions.services import Committed
from agent_sessions.store import Capability, Param, StoreContext
from tests.faults.history import Entry
from tests.store.calling import head, named

EXPECTED_REFUSALS = frozenset({"version_conflict", "session_busy"})
ITEM = "plate"
"""What is put into the carts, one at a time; the shop of the tests has enough of it."""
_MARKER = re.compile(r"mark-\d+-\d+")
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """The session, the newest version of it that the process knows of, and the marker to write."""

    session_id: uuid.UUID
    version: int
    marker: str


@dataclass(frozen=True, slots=True)
class Told:
    """The version that a write made or a read saw, the number of the event, the marker that was read."""

    version: int | None = None
    seq: int | None = None
    shows: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """An operation, and how often it is drawn compared with the others.

    One that ``names_version`` is based on the turn's version: it makes the next one or is refused. One that ``reads``
    tells the version that it saw; it writes no marker.
    """

    run: Callable[[Turn], Told]
    weight: int = 1
    names_version: bool = False
    reads: bool = False


# Writes


def change(turn: Turn) -> Told:
    patch: Any = {"agent": {"marker": turn.marker}}
    return _told(services.change_session(turn.session_id, expected_version=turn.version, patch=patch))


def change_in_a_transaction(turn: Turn) -> Told:
    with transaction.atomic():
        return change(turn)


def add_to_cart(turn: Turn) -> Told:
    return _add_to_cart(turn, None)


def add_to_cart_as_seen(turn: Turn) -> Told:
    return _add_to_cart(turn, turn.version)


def add_message(turn: Turn) -> Told:
    return Told(seq=services.add_message(turn.session_id, role="user", content=turn.marker).seq)


def record_event(turn: Turn) -> Told:
    return Told(seq=services.record_event(turn.session_id, kind="item.viewed", note=turn.marker).seq)


def _told(made: Committed) -> Told:
    return Told(made.version, made.seq)


def _add_to_cart(turn: Turn, expected_version: int | None) -> Told:
    answer = services.call_capability(
        _marked_add(),
        {"item_id": ITEM, "reason": turn.marker},
        ctx=StoreContext(),
        session=head(turn.session_id),
        expected_version=expected_version,
    )
    return Told(answer.version)


@lru_cache(maxsize=1)
def _marked_add() -> Capability:
    """The real ``cart.add`` with one more parameter, which nothing reads: it is sealed in the event."""
    add = named("cart.add")
    return replace(add, params={**add.params, "reason": Param("string", "Why.", required=True)})


# Reads


def read_head(turn: Turn) -> Told:
    return Told(head(turn.session_id).version)


def read_state(turn: Turn) -> Told:
    view = selectors.current_state(turn.session_id)
    return Told(view.version, shows=_shown(view.state))


def read_versions(turn: Turn) -> Told:
    """List the versions from the newest that the process knows of; if that one is not there, it is told none."""
    listed = selectors.versions(turn.session_id, after=turn.version - 1, limit=_ALL)
    return Told(listed[-1].number if listed else 0)


def _shown(state: Mapping[str, Any]) -> str:
    return str(state.get("agent", {}).get("marker", ""))


OPERATIONS: Mapping[str, Kind] = {
    "change": Kind(change, weight=6, names_version=True),
    "change in a transaction": Kind(change_in_a_transaction, weight=2, names_version=True),
    "add to cart": Kind(add_to_cart, weight=3),
    "add to cart as seen": Kind(add_to_cart_as_seen, weight=1, names_version=True),
    "add message": Kind(add_message, weight=2),
    "record event": Kind(record_event, weight=2),
    "read head": Kind(read_head, weight=2, reads=True),
    "read state": Kind(read_state, weight=6, reads=True),
    "read versions": Kind(read_versions, weight=1, reads=True),
}


# What the database holds of them


def read_stored(session_id: uuid.UUID) -> list[Entry]:
    """Read the session's chain with all that was sealed beside it, and find the markers in it."""
    row = head(session_id)
    sealed: dict[int, dict[str, Any]] = defaultdict(dict)
    for opening in openings(row, disclose="all", up_to=row.head_seq):
        sealed[opening.seq][opening.path] = opening.value
    entries: list[Entry] = []
    shows = ""
    event: Any
    for event in selectors.events(session_id, limit=_ALL):
        values = sealed[event["seq"]]
        shows = _shown(values.get("patch", {})) or _shown(values.get("personal", {})) or shows
        markers = set(_MARKER.findall(json.dumps([event, values])))
        assert len(markers) <= 1, f"An operation writes its own marker and no other: {markers}"
        entries.append(Entry(event["seq"], event.get("version"), "".join(markers), shows))
    return entries
