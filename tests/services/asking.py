"""Asking a human for an approval, as an agent does, and answering as they do."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.models import Approval
from agent_sessions.services import OpenedSession, Requested
from agent_sessions.store import NeedsHuman
from tests.store import shop as stock
from tests.store.calling import call, head, state

POLICIES = (NeedsHuman(name="large-orders", capabilities=("checkout",), over=2000),)
REASON = "It costs more than you usually spend."
WINDOW_EXPIRED = "Approval window expired. Consumer must re-authorize."


@pytest.fixture
def asking(shop: stock.Shelf, configure: Any) -> stock.Shelf:
    """A shop that wants a person for carts of more than 20.00, and lets sessions go on after the checkout."""
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    return shop


def cart_of(opened: Any, **facts: Any) -> OpenedSession:
    """A session with two mugs: 25.00 EUR."""
    one: OpenedSession = opened(**facts)
    call("cart.add", one, item_id="mug", quantity=2)
    return one


def ask(session: OpenedSession, reason: str = REASON, **facts: Any) -> Requested:
    return services.request_approval(session.session_id, reason=reason, **facts)


def granted(session: OpenedSession) -> Requested:
    asked = ask(session)
    services.grant_approval(asked.approval_id)
    return asked


def status(asked: Requested) -> str:
    return selectors.get_approval(asked.approval_id).status.value


def stored(asked: Requested) -> Approval:
    return Approval.objects.get(pk=asked.approval_id)


def pointer(session: OpenedSession) -> str | None:
    """Which approval the state says was asked for its cart."""
    found: str | None = state(session).get("checkout", {}).get("approval")
    return found


def note(session: OpenedSession, asked: Requested) -> dict[str, Any]:
    noted: dict[str, Any] = state(session)["decisions"]["approvals"][str(asked.approval_id)]
    return noted


def kinds(session: OpenedSession) -> list[str]:
    return [event["kind"] for event in selectors.events(session.session_id)]


def event(session: OpenedSession, kind: str) -> dict[str, Any]:
    """The session's last event of a kind."""
    found: Any = [one for one in selectors.events(session.session_id) if one["kind"] == kind][-1]
    return found


def is_sound(session: OpenedSession) -> bool:
    report = selectors.verify_session(session.session_id)
    assert report.ok, report.problems
    return head(session).version == report.versions
