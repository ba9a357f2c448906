"""A purchase with some of everything that evidence is asked about: a refusal, an approval, a card that is declined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import time_machine as clocks

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor, Scope
from agent_sessions.exceptions import PolicyDenied
from agent_sessions.services import OpenedSession
from tests.services.asking import ask
from tests.store import shop as stock
from tests.store.calling import call, head

PURPOSE = "two mugs for Grandmother"
REASON = "It is more than Anna usually spends."
INSTRUCTIONS = "Leave it with Mrs Brown"
CUSTOMER = "customer-17"
POLICIES = "tests.services.asking.POLICIES"


@dataclass(frozen=True)
class Bought:
    """What came of it: the session, the approval, the id of the attempt that went well, and the order."""

    opened: OpenedSession
    approval: str
    paid: str
    order: str

    @property
    def session_id(self) -> Any:
        return self.opened.session_id


def asked_for(opened: Callable[..., OpenedSession], tick: Callable[[], object], **facts: Any) -> tuple[Any, Any]:
    """A session that was refused its checkout, asked for an approval and got it: every call a minute after the last."""
    consumer = services.consumer_pseudonym(CUSTOMER)
    one = opened(**{"purpose": PURPOSE, "consumer": consumer, "scope": Scope((), 20000, "EUR"), **facts})
    tick()
    call("cart.add", one, item_id="mug", quantity=2)
    tick()
    services.revalidate(one.session_id)
    patch: Any = {
        "shopping": {"instructions": INSTRUCTIONS},
        "decisions": {"recommendations": {"r1": {"item": "mug", "reason": "She drinks tea", "confidence": 90}}},
    }
    services.change_session(one.session_id, expected_version=head(one).version, patch=patch, note="She said so")
    tick()
    with pytest.raises(PolicyDenied):
        call("checkout", one)
    tick()
    asked = ask(one, reason=REASON)
    tick()
    services.note_approval_opened(asked.approval_id)
    tick()
    services.grant_approval(asked.approval_id)
    return one, asked


def buy(
    opened: Callable[..., OpenedSession], tick: Callable[[], object] = lambda: None, *, order: str = "A-1", **facts: Any
) -> Bought:
    """The same, paid at the second attempt and ordered, which ends the session."""
    one, asked = asked_for(opened, tick, **facts)
    tick()
    link = call("checkout", one).data["handoff_url"].rsplit("/", 1)[1]
    handoff = selectors.handoff_by_token(link)
    tick()
    services.note_handoff_opened(handoff.id)
    attempts = {"p1": ("declined", "insufficient_funds", "4242"), "p2": ("succeeded", "", "4444")}
    for key, (outcome, code, last4) in attempts.items():
        tick()
        began: dict[str, Any] = {
            "method": "card", "outcome": "started", "amount": 2500, "currency": "EUR", "brand": "Visa", "last4": last4,
            "provider_ref": f"tok_{key}",
        }  # fmt: skip
        _note(one, key, began)
        tick()
        _note(one, key, {"outcome": outcome, **({"code": code} if code else {})})
    tick()
    services.complete_handoff(handoff.id, version=head(one).version, order_ref=order)
    return Bought(one, str(asked.approval_id), "p2", order)


def _note(one: OpenedSession, key: str, note: dict[str, Any]) -> None:
    patch: Any = {"decisions": {"payments": {key: note}}}
    services.change_session(
        one.session_id, expected_version=head(one).version, patch=patch, kind="payment.noted", actor=Actor("system")
    )


@pytest.fixture
def tick(clock: clocks.Traveller) -> Callable[[], object]:
    """A minute passes."""
    return lambda: clock.shift(timedelta(minutes=1))


@pytest.fixture
def selling(counting: stock.Shelf, configure: Any) -> stock.Shelf:
    """A shop that counts its stock, wants a person for more than 20.00, and lets sessions go on after checkout."""
    configure(POLICIES=POLICIES, END_ON_HANDOFF=False)
    return counting


@pytest.fixture
def bought(opened: Callable[..., OpenedSession], selling: stock.Shelf, tick: Callable[[], object]) -> Bought:
    return buy(opened, tick)
