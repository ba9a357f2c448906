"""An agent asks a human about the cart as it is (L5, S2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import (
    ApprovalClosed,
    CartProblem,
    InvalidValue,
    PolicyDenied,
    SessionEnded,
    VersionConflict,
)
from agent_sessions.models import Approval
from agent_sessions.store import Deny, SpendCap
from tests.conftest import MORNING
from tests.services.asking import (
    POLICIES,
    REASON,
    ask,
    asking,
    cart_of,
    event,
    is_sound,
    note,
    pointer,
    status,
)
from tests.shopping import variables
from tests.store.calling import call, head, last_event, state
from tests.stored import is_stored

pytestmark = pytest.mark.django_db
__all__ = ["asking"]

MINUTE = timedelta(minutes=1)


def test_a_request_is_a_version_an_event_and_a_link(asking: Any, opened: Any, clock: Any) -> None:
    """L5: with reason, amount and cart version; S2: which policy applied and why it paused."""
    one = cart_of(opened)

    asked = ask(one)

    assert (asked.version, asked.amount, asked.currency, asked.rule) == (3, 2500, "EUR", "large-orders")
    assert asked.url.startswith("https://shop.example/agent-sessions/approve/")
    assert asked.expires_at == MORNING + 30 * MINUTE
    seen = selectors.get_approval(asked.approval_id)
    assert (seen.status.value, seen.reason, seen.version, seen.capability) == ("pending", REASON, 3, "checkout")
    assert seen.time_left == 30 * MINUTE
    assert pointer(one) == str(asked.approval_id)
    assert note(one, asked)["reason"] == REASON
    assert state(one)["decisions"]["policies"]["large-orders"]["result"] == "deny"
    assert state(one)["recovery"]["interventions"].keys() == {str(asked.approval_id)}
    told = last_event(one)
    assert (told["kind"], told["version"], told["policy_rule"]) == ("approval.requested", 3, "large-orders")
    assert told["params"] == {
        "approval": str(asked.approval_id), "amount": 2500, "currency": "EUR", "version": 3, "rule": "large-orders",
        "had_ms": 1_800_000,
    }  # fmt: skip
    assert selectors.private_values(head(one), told["seq"]) == {"reason": REASON}
    assert is_sound(one)


def test_what_was_typed_and_the_links_token_are_stored_nowhere_in_the_clear(asking: Any, opened: Any) -> None:
    asked = ask(cart_of(opened))
    services.reject_approval(asked.approval_id, reason="I have two of these already")

    for secret in (asked.url.rpartition("/")[2], REASON, "two of these already"):
        assert not is_stored(secret)


def test_the_window_is_bounded_by_the_sessions_deadline(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 600})
    one = cart_of(opened)
    assert ask(one).expires_at == MORNING + 10 * MINUTE
    clock.move_to(MORNING + 25 * MINUTE)
    assert ask(one).expires_at == one.expires_at == MORNING + 30 * MINUTE


def test_the_human_is_shown_what_the_cart_costs_now(asking: Any, opened: Any) -> None:
    """The store is asked again, so what is approved is what checkout will ask for."""
    one = cart_of(opened)
    asking.prices["mug"] = 1300

    asked = ask(one)

    assert asked.amount == 2600
    cart = selectors.cart_of_approval(selectors.get_approval(asked.approval_id))
    assert cart == {**cart, "quote": {"total": 2600, "currency": "EUR", "subtotal": 2600, "tax_included": True}}


def test_a_cart_that_cannot_be_bought_is_not_asked_about(asking: Any, opened: Any) -> None:
    one = opened()
    with pytest.raises(CartProblem, match="empty"):
        ask(one)
    call("cart.add", one, item_id="pot")
    asking.stock["pot"] = 0
    with pytest.raises(CartProblem):
        ask(one)
    assert Approval.objects.count() == 0


def test_asking_needs_no_policy(shop: Any, opened: Any) -> None:
    asked = ask(cart_of(opened))
    assert (asked.rule, status(asked)) == ("", "pending")


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1001, "a\0b", 7, None])
def test_a_reason_is_needed_and_bounded(asking: Any, opened: Any, reason: Any) -> None:
    with pytest.raises(InvalidValue, match="/reason"):
        ask(cart_of(opened), reason)


@pytest.mark.parametrize("capability", ["cart.add", "search", "nothing", ""])
def test_only_what_hands_a_cart_over_can_be_approved(asking: Any, opened: Any, capability: str) -> None:
    with pytest.raises(InvalidValue, match="checkout"):
        ask(cart_of(opened), capability=capability)


def test_a_stale_request_is_refused_and_one_without_a_version_goes_on(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    old = head(one)
    services.change_session(one.session_id, expected_version=2, patch=variables(a=1))
    with pytest.raises(VersionConflict):
        ask(one, expected_version=2)
    asked = services.request_approval(old, reason=REASON)
    assert (asked.version, status(asked)) == (4, "pending")


def test_nobody_is_asked_where_their_yes_would_not_help(shop: Any, opened: Any, configure: Any) -> None:
    one = cart_of(opened)
    configure(POLICIES="tests.services.test_approvals.HOPELESS")
    with pytest.raises(PolicyDenied) as refused:
        ask(one)
    assert refused.value.rule == "house-limit"
    assert Approval.objects.count() == 0
    told = last_event(one)
    assert (told["kind"], told["policy_result"], told["policy_rule"]) == ("capability.refused", "deny", "house-limit")
    assert is_sound(one)


HOPELESS = (*POLICIES, SpendCap(name="house-limit", amount=2400, currency="EUR"))
NEVER = (Deny(name="closed", capabilities=("checkout",)), *POLICIES)


def test_a_flat_denial_comes_before_the_question(shop: Any, opened: Any, configure: Any) -> None:
    configure(POLICIES="tests.services.test_approvals.NEVER")
    with pytest.raises(PolicyDenied) as refused:
        ask(cart_of(opened))
    assert refused.value.rule == "closed"


def test_asking_again_voids_the_question_before(asking: Any, opened: Any) -> None:
    """L5: one at a time."""
    one = cart_of(opened)
    first, second = ask(one), ask(one)
    assert (status(first), status(second)) == ("void", "pending")
    assert pointer(one) == str(second.approval_id)
    assert (note(one, first)["status"], note(one, second)["status"]) == ("void", "pending")
    assert state(one)["recovery"]["interventions"].keys() == {str(second.approval_id)}
    told = event(one, "approval.voided")
    assert (told["params"]["approval"], told["params"]["cause"]) == (str(first.approval_id), "replaced")
    with pytest.raises(ApprovalClosed):
        services.grant_approval(first.approval_id)
    services.grant_approval(second.approval_id)
    third = ask(one)
    assert [status(asked) for asked in (first, second, third)] == ["void", "void", "pending"]
    assert is_sound(one)


def test_an_agent_asks_only_when_it_may_change_the_session(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    services.end_session(one.session_id)
    with pytest.raises(SessionEnded):
        ask(one)
