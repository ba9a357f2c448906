"""Sessions that go on from one another, and what has to be true of each of them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import InvalidToken
from agent_sessions.models import Session
from agent_sessions.services import OpenedSession
from agent_sessions.store import StoreContext
from tests.faults.support import half_done

NOW = "2026-03-02T10:00:00.000000Z"


def renew(one: OpenedSession, **facts: Any) -> services.Renewed:
    return services.renew_session(one.session_id, ctx=StoreContext(), **facts)


def running(step: str = "payment") -> dict[str, Any]:
    """A patch: a step was started and nobody knows how it went."""
    return {"recovery": {"steps": {step: {"outcome": "started", "attempt": 1, "started_at": NOW}}}}


def make_busy(one: OpenedSession) -> None:
    """Hold what is in the cart (mugs), ask a human about it, and commit it."""
    services.place_hold(one.session_id, item="mug", quantity=2)
    services.request_approval(one.session_id, reason="It is a lot of money")
    services.commit_session(one.session_id)


def is_dead(one: OpenedSession) -> bool:
    with pytest.raises(InvalidToken):
        selectors.authenticate(one.token)
    return True


def wrong(*sessions: OpenedSession | uuid.UUID) -> list[str]:
    """What is wrong with these sessions: their rows, their chains, the artifacts of those that have ended."""
    found = []
    for one in sessions:
        session_id = one if isinstance(one, uuid.UUID) else one.session_id
        found += half_done(session_id)
        session = Session.objects.get(pk=session_id)
        if session.ended_at is not None and session.sealed_at is None:
            found.append(f"{session_id} has ended and is not sealed")
    return found
