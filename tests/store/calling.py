"""Calling capabilities as the API does, and reading what was recorded of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.services import Answer, OpenedSession
from agent_sessions.store import Capability, StoreContext, registry
from agent_sessions.store.offer import offer
from tests.store import shop as stock


def call(name: str, session: OpenedSession | uuid.UUID | None = None, **params: Any) -> Answer:
    """Call a capability with JSON values, on the session as it stands."""
    facts = {key: params.pop(key) for key in ("expected_version", "method", "text") if key in params}
    return services.call_capability(
        named(name), params, ctx=StoreContext(), session=None if session is None else head(session), **facts
    )


def named(name: str) -> Capability:
    return next(one for one in offer().capabilities if one.name == name)


def head(session: OpenedSession | uuid.UUID) -> selectors.SessionHead:
    return selectors.read_head(session if isinstance(session, uuid.UUID) else session.session_id)


def state(session: OpenedSession | uuid.UUID) -> dict[str, Any]:
    return selectors.current_state(session if isinstance(session, uuid.UUID) else session.session_id).state


def quantities(session: OpenedSession | uuid.UUID) -> dict[str, int]:
    lines = state(session).get("shopping", {}).get("lines", {})
    return {key: line["quantity"] for key, line in lines.items()}


def last_event(session: OpenedSession) -> dict[str, Any]:
    event: Any = selectors.events(session.session_id, after=head(session).head_seq - 1)[0]
    return event


@pytest.fixture
def shop(configure: Any) -> Iterator[stock.Shelf]:
    """The store in memory, full."""
    configure(STORE=stock.PATH, POLICIES="")
    stock.shelf.__init__()  # type: ignore[misc]
    yield stock.shelf
    stock.shelf.__init__()  # type: ignore[misc]


@pytest.fixture
def counting(shop: stock.Shelf, configure: Any) -> stock.Shelf:
    """The same, of a store that says how many pieces there are (feature ``stock``)."""
    configure(STORE=stock.COUNTING)
    return shop


@pytest.fixture
def own() -> Iterator[Any]:
    """Register capabilities until the end of the test."""
    added: list[str] = []

    def add(name: str, handler: Any, **facts: Any) -> Capability:
        made = Capability(
            **{"name": name, "method": "POST", "path": "/" + name.replace(".", "/"), "kind": "own.called", **facts},
            handler=handler,
        )
        registry.add(made)
        added.append(name)
        return made

    yield add
    for name in added:
        registry.remove(name)
