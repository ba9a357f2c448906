"""What went wrong is said plainly, with what can be done next; the code stays beside it (O1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from agent_sessions import exceptions, services
from agent_sessions.admin.reasons import CODES, KINDS, PAYMENTS, reason_of
from agent_sessions.domain.calls import Call
from agent_sessions.domain.families import is_failure
from agent_sessions.exceptions import store
from agent_sessions.services import OpenedSession, StepFailed
from shop_demo.payments import REASONS, TOKENS
from tests.admin.conftest import text, url
from tests.admin.test_pages import words
from tests.buying import Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.services import working
from tests.store.calling import counting, shop

__all__ = ["counting", "shop"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
NO_MONEY = (
    "There was not enough money on the card or account. "
    "The shopper can use another card or way of paying, or try again later."
)
A_RULE = (
    "A rule of the shop does not allow it. "
    "Where the rule asks for a person, the agent can ask for an approval; otherwise the cart has to change."
)


def entry(client: Client, one: Any, seq: int) -> str:
    page = text(client, url("timeline", one.session_id))
    found = re.search(rf'<article[^>]* id="e{seq}".*?</article>', page, re.DOTALL)
    assert found is not None
    return words(f'<p id="content-main">{found[0]}')


def failing(opened: Callable[..., OpenedSession], configure: Callable[..., None], code: str) -> OpenedSession:
    """A session whose payment has failed: event 3."""
    configure(STEPS=working.PATH)
    one = opened()
    with pytest.raises(StepFailed), services.step(one.session_id, "payment"):
        raise StepFailed(code)
    return one


def test_a_step_that_failed_says_why_and_what_helps(
    staff: Client, opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    one = failing(opened, configure, "insufficient_funds")
    assert f"{NO_MONEY} insufficient_funds" in entry(staff, one, 3)
    assert NO_MONEY not in entry(staff, one, 2), "where it failed, not where it began"


def test_a_code_that_the_package_does_not_know_stands_alone(
    staff: Client, opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    one = failing(opened, configure, "E-4711")
    assert "after 0 ms. E-4711" in entry(staff, one, 3)
    assert "The shopper can" not in entry(staff, one, 3)


def test_a_payment_that_was_noted_as_declined_says_so_wherever_it_is_shown(staff: Client, bought: Bought) -> None:
    declined = f"Payment card declined (insufficient_funds): 25.00 EUR {NO_MONEY}"
    assert declined in entry(staff, bought, 11)
    assert declined in words(text(staff, url("change", bought.session_id)))
    assert declined in words(text(staff, url("versions", bought.session_id)))
    then = words(text(staff, url("version_at", bought.session_id, 10)))
    assert f"declined card 25.00 EUR, insufficient_funds {NO_MONEY}" in then
    assert NO_MONEY not in words(text(staff, url("version_at", bought.session_id, 9)))


def test_it_is_said_once_though_the_step_and_the_payment_both_failed(
    staff: Client, bought: Bought, opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    configure(STEPS=working.PATH)
    one = opened()
    services.start_step(one.session_id, "payment")
    payment: Any = {"method": "card", "outcome": "declined", "code": "insufficient_funds"}
    services.finish_step(
        one.session_id, "payment", outcome="failed", code="insufficient_funds",
        patch={"decisions": {"payments": {"p1": payment}}},
    )  # fmt: skip
    told = entry(staff, one, 3)
    assert "Payment card declined" in told
    assert told.count(NO_MONEY) == 1
    assert words(text(staff, url("change", bought.session_id))).count(NO_MONEY) == 1


def test_a_refusal_says_whether_a_rule_of_the_shop_or_the_shopper_forbade_it(
    staff: Client, bought: Bought, opened: Callable[..., OpenedSession]
) -> None:
    assert f"{A_RULE} policy_denied" in entry(staff, bought, 5)
    refused = Call("checkout", "POST", policy_result="deny", policy_rule="scope", response_status=403)
    other = opened()
    services.record_event(other.session_id, kind="capability.refused", call=refused)
    for told in (entry(staff, other, 2), words(text(staff, url("change", other.session_id)))):
        assert "It goes beyond what the shopper allowed this agent" in told
        assert A_RULE not in told


def test_a_call_that_went_well_is_not_explained(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    one = opened()
    services.record_event(one.session_id, kind="cart.viewed", call=Call("cart", "GET", params={"code": "timeout"}))
    assert "code: timeout" in entry(staff, one, 2)
    assert "No answer came in time" not in entry(staff, one, 2)


def test_amounts_of_approvals_read_as_money(staff: Client, bought: Bought) -> None:
    assert "amount: 25.00 EUR" in entry(staff, bought, 6)


def test_there_are_reasons_for_what_the_package_knows_and_for_nothing_else() -> None:
    classes = [one for one in vars(exceptions).values() if isinstance(one, type)]
    assert CODES.keys() <= {one.code for one in classes if issubclass(one, exceptions.AgentSessionsError)}
    refused = {one.code for one in vars(store).values() if isinstance(one, type) and one.__module__ == store.__name__}
    assert refused - CODES.keys() == {"document_refused"}, "which nothing in a session's history names"
    assert PAYMENTS.keys() >= REASONS.keys() | {token.code for token in TOKENS.values() if token.code}
    assert not PAYMENTS.keys() & CODES.keys()
    assert all(is_failure(kind, "allow", 200) for kind in KINDS)
    page = (Path(__file__).parents[2] / "docs/state-viewer.md").read_text()
    assert all(f"`{code}`" in page for code in PAYMENTS)
    assert reason_of("do_not_honour") is None
    assert reason_of("") is None
