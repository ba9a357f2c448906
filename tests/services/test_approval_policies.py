"""A yes satisfies the rule that it was asked for, for that cart, once; whoever was asked is waited for (L5, S2)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor, Scope
from agent_sessions.exceptions import (
    ApprovalClosed,
    ApprovalExpired,
    ApprovalWaiting,
    PolicyDenied,
)
from agent_sessions.models import CheckoutHandoff
from agent_sessions.store import NeedsHuman, Outcome
from tests.conftest import MORNING
from tests.services.asking import (
    WINDOW_EXPIRED,
    ask,
    asking,
    cart_of,
    granted,
    is_sound,
    kinds,
    note,
    pointer,
    status,
    stored,
)
from tests.store.calling import call, head, last_event, quantities, state

pytestmark = pytest.mark.django_db
__all__ = ["asking"]

MINUTE = timedelta(minutes=1)


# Policies: what satisfies them


def test_a_denied_checkout_says_how_to_ask(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    with pytest.raises(PolicyDenied) as refused:
        call("checkout", one)
    assert refused.value.details == {
        "rule": "large-orders",
        "needs_human": True,
        "approval": {
            "status": "none",
            "method": "POST",
            "url": "https://shop.example/.well-known/agents/api/session/approvals",
            "capability": "checkout",
        },
    }
    asked = ask(one)
    with pytest.raises(PolicyDenied, match="has not answered yet") as waiting:
        call("checkout", one)
    approval: Any = waiting.value.details["approval"]
    assert (approval["status"], approval["id"]) == ("pending", str(asked.approval_id))


def test_a_granted_approval_satisfies_the_policy_and_is_used_up(asking: Any, opened: Any, clock: Any) -> None:
    """L5: single use. A2: the checkout's history names the approval it rested on, and how long the human took."""
    one = cart_of(opened)
    asked = ask(one)
    clock.shift(30)
    services.note_approval_opened(asked.approval_id)
    clock.shift(45)
    services.grant_approval(asked.approval_id)
    clock.shift(60)

    answer = call("checkout", one)

    assert status(asked) == "used"
    assert kinds(one)[-3:] == ["approval.granted", "checkout.handed_over", "approval.used"]
    used = last_event(one)
    assert used["params"] == {
        "approval": str(asked.approval_id), "amount": 2500, "currency": "EUR", "version": 3, "rule": "large-orders",
        "had_ms": 1_800_000, "took_ms": 45_000,
    }  # fmt: skip
    assert (used["policy_rule"], used["version"], answer.version) == ("large-orders", 6, 6)
    assert stored(asked).used_at == MORNING + timedelta(seconds=135)
    assert (pointer(one), note(one, asked)["status"]) == (None, "used")
    assert state(one)["decisions"]["policies"]["large-orders"]["result"] == "allow"
    assert CheckoutHandoff.objects.get().version == 6
    with pytest.raises(PolicyDenied) as again:
        call("checkout", one)
    assert again.value.details["approval"]["status"] == "none"  # type: ignore[index]
    assert is_sound(one)


def test_it_is_used_where_the_checkout_ends_the_session_too(asking: Any, opened: Any, configure: Any) -> None:
    configure(END_ON_HANDOFF=True)
    one = cart_of(opened)
    asked = granted(one)
    answer = call("checkout", one)
    assert (status(asked), head(one).end_reason, answer.version) == ("used", "completed", 7)
    assert kinds(one)[-4:] == ["approval.granted", "checkout.handed_over", "approval.used", "session.ended"]
    handoff = selectors.handoff_by_token(answer.data["handoff_url"].rpartition("/")[2])
    assert (handoff.status.value, handoff.can_be_paid) == ("open", True)
    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
    assert is_sound(one)


def test_a_price_that_changes_after_the_yes_is_not_paid(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = granted(one)
    asking.prices["mug"] = 1251
    before = state(one)

    with pytest.raises(PolicyDenied, match="not the one that was asked about"):
        call("checkout", one)

    assert (state(one), CheckoutHandoff.objects.count()) == (before, 0)
    again = ask(one)
    assert (again.amount, status(asked)) == (2502, "void")
    services.grant_approval(again.approval_id)
    assert call("checkout", one).status == 200


def test_a_yes_satisfies_no_other_rule(shop: Any, opened: Any, configure: Any) -> None:
    """The first rule that decides, decides; an approval never decides for one that comes later."""
    configure(POLICIES="tests.services.asking.POLICIES")
    one = cart_of(opened)
    granted(one)
    configure(POLICIES="tests.services.test_approvals.HOPELESS")
    with pytest.raises(PolicyDenied) as refused:
        call("checkout", one)
    assert refused.value.rule == "house-limit"


def test_the_consumers_own_scope_is_not_widened(asking: Any, opened: Any) -> None:
    one = cart_of(opened, scope=Scope(spend_cap=3000, currency="EUR"))
    granted(one)
    call("cart.update", one, item_id="mug", quantity=1)
    assert call("checkout", one).status == 200


def test_calls_that_hand_nothing_over_cannot_be_approved(shop: Any, opened: Any, configure: Any) -> None:
    configure(POLICIES="tests.services.test_approval_policies.ALL_CALLS")
    one = cart_of(opened)
    granted(one)
    with pytest.raises(PolicyDenied) as refused:
        call("cart.remove", one, item_id="mug")
    assert "approval" not in refused.value.details


ALL_CALLS = (NeedsHuman(name="all", capabilities=("cart.remove", "checkout")),)


def test_a_yes_to_one_capability_is_none_to_another(asking: Any, opened: Any, own: Any) -> None:
    own("order", lambda _: Outcome({}, handoff=True, patch={}), requires_session=True, human_handoff=True)
    one = cart_of(opened)
    asked = ask(one, capability="order")
    services.grant_approval(asked.approval_id)
    with pytest.raises(PolicyDenied) as refused:
        call("checkout", one)
    assert refused.value.details["approval"]["status"] == "none"  # type: ignore[index]
    assert call("order", one).status == 200
    assert status(asked) == "used"


@pytest.mark.parametrize("whose", ["another session's", "nobody's", "no id at all"])
def test_a_state_that_only_says_so_is_not_believed(asking: Any, opened: Any, whose: str) -> None:
    """The note in the state spares a query; what counts is the approval itself, under the session's lock."""
    one, foreign = cart_of(opened), granted(cart_of(opened))
    claimed = {"another session's": str(foreign.approval_id), "nobody's": str(uuid.uuid4())}.get(whose, "yes")
    said = {"status": "granted", "capability": "checkout", "expires_at": one.expires_at.isoformat()}
    made_up: Any = {"checkout": {"approval": claimed}, "decisions": {"approvals": {claimed: said}}}
    services.change_session(one.session_id, expected_version=2, patch=made_up)

    with pytest.raises(ApprovalClosed):
        call("checkout", one)

    assert CheckoutHandoff.objects.count() == 0
    call("cart.add", one, item_id="plate")
    assert kinds(one)[-1] == "cart.item_added", "what is not this session's is not made void by it"
    assert status(foreign) == "granted"
    assert is_sound(one)


# Without a policy: whoever was asked is waited for


@pytest.fixture
def free(shop: Any, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)


def test_while_the_human_thinks_nothing_is_checked_out(free: None, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    with pytest.raises(ApprovalWaiting):
        call("checkout", one)
    services.escalate_approval(asked.approval_id)
    with pytest.raises(ApprovalWaiting):
        call("checkout", one)
    assert last_event(one)["params"] == {"code": "approval_waiting"}
    assert (quantities(one), CheckoutHandoff.objects.count()) == ({"mug": 2}, 0)
    services.grant_approval(asked.approval_id, actor=Actor("staff", "7"))
    assert call("checkout", one).status == 200
    assert status(asked) == "used"


def test_what_was_rejected_is_not_checked_out(free: None, opened: Any) -> None:
    one = cart_of(opened)
    services.reject_approval(ask(one).approval_id, reason="Too dear")
    with pytest.raises(ApprovalClosed, match="rejected this cart"):
        call("checkout", one)
    assert CheckoutHandoff.objects.count() == 0


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("job_came", [False, True])
def test_after_the_window_there_is_no_payment(
    free: None, opened: Any, configure: Any, clock: Any, answered: bool, job_came: bool
) -> None:
    """L5, word for word."""
    configure(TTL={"approval": 300})
    one = cart_of(opened)
    asked = granted(one) if answered else ask(one)
    clock.move_to(MORNING + 5 * MINUTE)
    if job_came:
        assert services.expire_approvals() == 1
    with pytest.raises(ApprovalExpired) as refused:
        call("checkout", one)
    assert str(refused.value) == WINDOW_EXPIRED
    assert (refused.value.code, refused.value.status) == ("approval_expired", 409)
    assert CheckoutHandoff.objects.count() == 0
    granted(one)
    assert call("checkout", one).status == 200
    assert status(asked) == ("expired" if job_came else "void")


def test_a_policy_says_the_same_words(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    """L5"""
    configure(TTL={"approval": 300})
    one = cart_of(opened)
    granted(one)
    clock.move_to(MORNING + 6 * MINUTE)
    with pytest.raises(PolicyDenied) as refused:
        call("checkout", one)
    assert refused.value.message == WINDOW_EXPIRED
    assert refused.value.details["approval"]["status"] == "expired"  # type: ignore[index]
