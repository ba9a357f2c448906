"""An agent asks a human about the cart as it is; the yes holds for that cart, once, until its time is over (L5, S2)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, Actor, Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    AgentSessionsError,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalWaiting,
    CartProblem,
    InvalidValue,
    PolicyDenied,
    SessionEnded,
    VersionConflict,
)
from agent_sessions.models import Approval, CheckoutHandoff, SessionKey
from agent_sessions.store import Deny, NeedsHuman, Outcome, SpendCap, StoreContext
from tests.conftest import MORNING
from tests.services.asking import (
    POLICIES,
    REASON,
    WINDOW_EXPIRED,
    ask,
    cart_of,
    event,
    granted,
    is_sound,
    kinds,
    note,
    pointer,
    status,
    stored,
)
from tests.shopping import variables
from tests.store import shop as stock
from tests.store.calling import call, head, last_event, named, quantities, state
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def asking(shop: stock.Shelf, configure: Any) -> stock.Shelf:
    """A shop that wants a person for carts of more than 20.00, and lets sessions go on after the checkout."""
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    return shop


# Asking


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
    configure(POLICIES="tests.services.test_approvals.ALL_CALLS")
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


# Void when the cart changes


@pytest.mark.parametrize("answered", [False, True])
def test_any_change_of_the_cart_makes_it_void_in_the_same_version(asking: Any, opened: Any, answered: bool) -> None:
    """L5"""
    one = cart_of(opened)
    asked = granted(one) if answered else ask(one)
    version = head(one).version

    answer = call("cart.add", one, item_id="plate")

    assert (answer.version, head(one).version) == (version + 1, version + 1)
    assert (status(asked), note(one, asked)["status"], pointer(one)) == ("void", "void", None)
    assert state(one)["recovery"]["interventions"] == {}
    assert kinds(one)[-2:] == ["cart.item_added", "approval.voided"]
    voided = last_event(one)
    assert voided["params"] == {
        "approval": str(asked.approval_id), "amount": 2500, "currency": "EUR", "version": 3, "rule": "large-orders",
        "cause": "cart_changed",
    }  # fmt: skip
    assert (voided["actor"], voided.get("version")) == ("system", None)
    told = [change.text for change in selectors.compare(one.session_id, version)]
    assert any(text.startswith("Added 1 × Plate") for text in told)
    assert any("Approval" in text and "void" in text for text in told)
    with pytest.raises(ApprovalClosed, match="not the one that was asked about"):
        services.grant_approval(asked.approval_id)
    assert is_sound(one)


def test_a_change_from_python_voids_it_too(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = granted(one)
    patch: Any = {"shopping": {"lines": {"mug": {"quantity": 3}}}}
    services.change_session(one.session_id, expected_version=head(one).version, patch=patch, note="typed wrong")
    assert (status(asked), quantities(one)) == ("void", {"mug": 3})
    assert is_sound(one)


@pytest.mark.parametrize(
    "patch",
    [
        variables(thought="it is a gift"),
        {"conversation": {"summary": "About mugs"}},
        {"shopping": {"instructions": "Ring twice"}},
        {"shopping": {"quote": {"valid_until": "2030-01-01T00:00:00Z"}}},
        {"decisions": {"fallbacks": {"f1": {"tried": "invoice"}}}},
        {"checkout": {"method": "card"}},
    ],
)
def test_what_the_human_did_not_see_voids_nothing(asking: Any, opened: Any, patch: Any) -> None:
    one = cart_of(opened)
    asked = granted(one)
    services.change_session(one.session_id, expected_version=head(one).version, patch=patch)
    services.add_message(one.session_id, role="user", content="go on")
    assert status(asked) == "granted"
    assert call("checkout", one).status == 200


def test_the_cart_changed_and_changed_back_is_asked_about_again(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = granted(one)
    call("cart.update", one, item_id="mug", quantity=3)
    call("cart.update", one, item_id="mug", quantity=2)
    assert status(asked) == "void"
    with pytest.raises(PolicyDenied):
        call("checkout", one)


def test_a_refused_change_voids_nothing(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = granted(one)
    with pytest.raises(AgentSessionsError):
        call("cart.add", one, item_id="pot", quantity=99)
    with pytest.raises(InvalidValue):
        services.change_session(
            one.session_id, expected_version=head(one).version, patch={"shopping": {"lines": {"x": {"item": "a"}}}}
        )
    assert status(asked) == "granted"


def test_who_writes_over_the_pointer_voids_what_it_named(asking: Any, opened: Any) -> None:
    """Such as a rollback to a state of before the question."""
    one = cart_of(opened)
    asked = granted(one)
    patch: Any = {"checkout": {"approval": None}, "decisions": {"approvals": {str(asked.approval_id): None}}}
    services.change_session(one.session_id, expected_version=head(one).version, patch=patch)
    assert (status(asked), pointer(one)) == ("void", None)
    assert is_sound(one)


def test_after_a_no_a_changed_cart_is_free_of_it(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    services.reject_approval(asked.approval_id)
    call("cart.update", one, item_id="mug", quantity=1)
    assert (status(asked), pointer(one), kinds(one)[-1]) == ("rejected", None, "cart.item_updated")
    assert call("checkout", one).status == 200, "below the policy's limit"


def test_without_a_question_a_cart_change_costs_nothing_more(
    shop: Any, opened: Any, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    one = cart_of(opened)
    current = head(one)
    patch: Any = {"shopping": {"lines": {"mug": {"quantity": 3}}}}
    with CaptureQueriesContext(connection) as queries:
        services.change_session(current, expected_version=2, patch=patch)
    assert not any("approval" in query["sql"] for query in queries)


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


# Expiry


def test_the_job_closes_what_lapsed_and_says_so(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    asked = [ask(cart_of(opened)), granted(cart_of(opened))]
    late = cart_of(opened)
    assert services.expire_approvals() == 0
    clock.move_to(MORNING + 5 * MINUTE)
    still = ask(late)
    assert selectors.count_lapsed_approvals() == 2

    assert services.expire_approvals() == 2

    for one in asked:
        session = stored(one).session_id
        told: Any = selectors.events(session)[-1]
        assert (told["kind"], told["actor"], told["params"]["had_ms"]) == ("approval.expired", "system", 300_000)
        assert state(session)["decisions"]["approvals"][str(one.approval_id)]["status"] == "expired"
        assert selectors.verify_session(session).ok
        assert stored(one).status == "expired"
    assert (status(still), services.expire_approvals(), selectors.count_lapsed_approvals()) == ("pending", 0, 0)


def test_the_job_keeps_to_its_limit_and_goes_on(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    first = cart_of(opened)
    for one in (first, cart_of(opened), cart_of(opened)):
        ask(one)
    clock.move_to(MORNING + 5 * MINUTE)
    SessionKey.objects.filter(pk=first.session_id).delete()  # it fails, and holds up no other
    assert [services.expire_approvals(limit=1) for _ in range(3)] == [1, 1, 0]
    for limit in (0, -1, True, "5"):
        with pytest.raises(InvalidValue):
            services.expire_approvals(limit=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [EndReason.DELETED, EndReason.COMPLETED, EndReason.REVOKED, EndReason.EXPIRED])
@pytest.mark.parametrize("answered", [False, True])
def test_the_end_of_the_session_closes_it_before_its_last_event(
    asking: Any, opened: Any, clock: Any, reason: EndReason, answered: bool
) -> None:
    """L5: if the session lapses while waiting, no payment."""
    one = cart_of(opened)
    asked = granted(one) if answered else ask(one)
    if reason is EndReason.EXPIRED:
        clock.move_to(MORNING + 31 * MINUTE)
        with pytest.raises(ApprovalExpired):
            services.grant_approval(asked.approval_id)
        services.expire_session(one.session_id)
    else:
        services.end_session(one.session_id, reason=reason)
    assert kinds(one)[-2:] == ["approval.expired", "session.ended"]
    assert (stored(asked).status, note(one, asked)["status"]) == ("expired", "expired")
    with pytest.raises(ApprovalExpired, match=WINDOW_EXPIRED):
        services.grant_approval(asked.approval_id)
    with pytest.raises(ApprovalExpired):
        services.reject_approval(asked.approval_id)
    assert is_sound(one)


def test_an_end_that_names_a_version_still_fits(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    with pytest.raises(VersionConflict):
        services.end_session(one.session_id, expected_version=2)
    assert (status(asked), kinds(one)[-1]) == ("pending", "approval.requested")
    made = services.end_session(one.session_id, expected_version=3)
    assert (made.version, status(asked)) == (5, "expired")
    assert is_sound(one)


def test_in_a_renewed_session_the_human_is_asked_anew(asking: Any, opened: Any) -> None:
    """L2: the yes was to the session that is over."""
    one = cart_of(opened)
    asked = granted(one)
    renewed = services.renew_session(one.session_id, ctx=StoreContext())
    assert (stored(asked).status, kinds(one)[-2:]) == ("expired", ["approval.expired", "session.ended"])
    with pytest.raises(PolicyDenied) as refused:
        services.call_capability(
            named("checkout"), {}, ctx=StoreContext(), session=selectors.authenticate(renewed.opened.token)
        )
    assert refused.value.details["approval"]["status"] == "none"  # type: ignore[index]
    assert is_sound(one)


def test_a_revoked_session_closes_it_too(asking: Any, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: also before the job has come by, nothing can be granted."""
    one = cart_of(opened)
    asked = ask(one)
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="a laptop was stolen")
    with pytest.raises(ApprovalExpired):
        services.grant_approval(asked.approval_id)
    services.end_revoked_sessions()
    assert (status(asked), kinds(one)[-2:]) == ("expired", ["approval.expired", "session.ended"])
    assert is_sound(one)


def test_a_session_without_its_key_is_quarantined_when_it_is_to_end(asking: Any, opened: Any, clock: Any) -> None:
    """R5: what its end has to write first does not hide that it is damaged."""
    one = cart_of(opened)
    ask(one)
    SessionKey.objects.filter(pk=one.session_id).delete()
    clock.move_to(MORNING + 31 * MINUTE)
    assert services.expire_sessions().failed == 1
    assert head(one).status.value == "quarantined"


def test_nothing_is_written_by_a_request_that_fails_halfway(
    asking: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cart_of(opened)
    asked = granted(one)
    before = everything_stored()
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.models.Approval.save", _fail)
        with pytest.raises(RuntimeError):
            ask(one)
    assert everything_stored() == before
    assert status(asked) == "granted"
    assert call("checkout", one).status == 200


def _fail(*args: Any, **facts: Any) -> Any:
    raise RuntimeError


def test_the_agent_cannot_answer_itself(asking: Any, opened: Any) -> None:
    asked = ask(cart_of(opened))
    for answer in (services.grant_approval, services.reject_approval, services.escalate_approval):
        with pytest.raises(AgentSessionsError) as refused:
            answer(asked.approval_id, actor=AGENT)  # type: ignore[operator]
        assert refused.value.code == "actor_refused"
    assert status(asked) == "pending"
