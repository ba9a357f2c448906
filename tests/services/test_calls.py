"""A call of a capability is one event, whatever comes of it, and changes the session once or not at all."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    AgentSessionsError,
    CartProblem,
    InvalidParameter,
    InvalidToken,
    InvalidValue,
    NoStore,
    PolicyDenied,
    SessionEnded,
    SessionExpired,
    VersionConflict,
)
from agent_sessions.models import AuditEvent
from agent_sessions.services import Answer
from agent_sessions.store import CapabilityCall, Deny, Outcome, Param, StoreContext, Verdict
from tests.conftest import MORNING
from tests.faults.support import at_once, half_done
from tests.store.calling import call, head, last_event, named, quantities, state
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

NO_CONTACT = [Deny(name="no-contact", capabilities=("contact",), message="Write to nobody.")]


class Allowing:
    name = "trusted"

    def before(self, call: CapabilityCall) -> Verdict | None:
        return Verdict(True, self.name)

    def after(self, call: CapabilityCall, state: Any) -> Verdict | None:
        return None


class Failing(Allowing):
    def before(self, call: CapabilityCall) -> Verdict | None:
        raise KeyError("a rule that fails")


class Nameless(Allowing):
    def before(self, call: CapabilityCall) -> Verdict | None:
        return Verdict(False, "")


ALLOWING = [Allowing()]
NAMELESS = [Nameless()]
FAILING = [Failing()]


def count(session: Any) -> int:
    return AuditEvent.objects.filter(session_id=session.session_id).count()


def handler(call: CapabilityCall) -> Outcome:
    return Outcome({"seen": sorted(call.params)})


# What is recorded


def test_a_change_is_one_event_with_what_was_chosen_and_without_what_was_typed(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    event = last_event(one)
    assert (count(one), event["version"]) == (2, 2)
    told = ("kind", "capability", "method", "policy_result", "policy_rule", "response_status", "params")
    assert [event[name] for name in told] == [
        "cart.item_added", "cart.add", "POST", "allow", "default", 201, {"item_id": "mug", "quantity": 2},
    ]  # fmt: skip
    assert event["duration_ms"] >= 0
    assert event["private"].keys() == {"patch"}


def test_a_read_is_one_event_and_no_version_and_what_was_typed_is_sealed(shop: Any, opened: Any) -> None:
    one = opened()
    answer = call("search", one, q="a present for Mathilda", page=2)
    event = last_event(one)
    assert (answer.version, head(one).version, count(one)) == (1, 1, 2)
    assert (event["kind"], event["params"]) == ("items.searched", {"page": 2, "q": "****"})
    assert not is_stored("Mathilda")
    assert selectors.private_values(one.session_id, 2) == {"params.q": "a present for Mathilda"}


def test_the_method_that_was_used_is_recorded_and_aliases_are_not(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, itemId="mug")
    call("cart.update", one, id="mug", quantity=3, method="PUT")
    assert (last_event(one)["method"], last_event(one)["params"]) == ("PUT", {"item_id": "mug", "quantity": 3})


def test_the_rule_that_decided_is_recorded(shop: Any, opened: Any, configure: Any) -> None:
    configure(POLICIES=f"{__name__}.ALLOWING")
    one = opened()
    call("search", one, q="mug")
    assert last_event(one)["policy_rule"] == "trusted"


def test_without_a_session_nothing_is_recorded(shop: Any) -> None:
    before = everything_stored()
    answer = call("search", q="mug")
    assert ([item["id"] for item in answer.data], answer.version) == (["mug"], None)
    with pytest.raises(InvalidParameter):
        call("search")
    assert everything_stored() == before


def test_the_store_is_told_for_whom_and_never_with_a_name(shop: Any, opened: Any) -> None:
    who = services.consumer_pseudonym("customer-4711")
    call("search", opened(consumer=who), q="mug")
    assert [ctx.consumer for ctx in shop.asked] == [who]


# What is refused

REFUSALS = [
    ("cart.add", {}, InvalidParameter, 400, "invalid_parameter", "default"),
    ("cart.add", {"item_id": "mug", "quantity": 0}, InvalidParameter, 400, "invalid_parameter", "default"),
    ("cart.add", {"item_id": "mug", "quantity": 11}, CartProblem, 400, "cart_problem", "default"),
    ("cart.remove", {"item_id": "Mathilda"}, AgentSessionsError, 404, "item_not_found", "default"),
    ("contact", {"message": "I am Mathilda"}, PolicyDenied, 403, "policy_denied", "no-contact"),
    ("checkout", {}, PolicyDenied, 403, "policy_denied", "scope"),
    ("own.broken", {}, ZeroDivisionError, 500, "error", "default"),
    ("own.silent", {}, AttributeError, 500, "error", "default"),
    ("own.odd", {}, InvalidValue, 422, "invalid_value", "default"),
]


def broken(call: CapabilityCall) -> Outcome:
    call.state["shopping"] = "spoilt"
    raise ZeroDivisionError


@pytest.mark.parametrize(("name", "params", "error", "status", "code", "rule"), REFUSALS)
def test_a_refusal_is_one_event_and_changes_nothing_else(
    shop: Any, opened: Any, configure: Any, own: Any, name: str, params: Any, error: Any, status: int, code: str,
    rule: str,
) -> None:  # fmt: skip
    configure(POLICIES=f"{__name__}.NO_CONTACT")
    own("own.broken", broken)
    own("own.silent", lambda _: None)
    own("own.odd", lambda _: Outcome({}, patch={"shopping": {"lines": {"a": {"item": "a", "quantity": 0.5}}}}))
    one = opened(scope=Scope(capabilities=("cart.add", "cart.remove")))
    before = state(one)

    with pytest.raises(error):
        call(name, one, **params)

    event = last_event(one)
    assert (count(one), head(one).version, state(one)) == (2, 1, before)
    assert (event["kind"], event["capability"], event["response_status"]) == ("capability.refused", name, status)
    assert event["params"] == {"code": code}
    assert (event["policy_result"], event["policy_rule"]) == ("allow" if rule == "default" else "deny", rule)
    assert not is_stored("Mathilda")
    assert shop.messages == []


def test_a_rule_that_fails_has_allowed_nothing(shop: Any, opened: Any, configure: Any) -> None:
    configure(POLICIES=f"{__name__}.FAILING")
    one = opened()
    with pytest.raises(KeyError):
        call("contact", one, message="Hello")
    assert shop.messages == []
    assert last_event(one)["response_status"] == 500


def test_a_denial_is_recorded_as_one_also_if_its_rule_has_no_name(shop: Any, opened: Any, configure: Any) -> None:
    configure(POLICIES=f"{__name__}.NAMELESS")
    one = opened()
    with pytest.raises(PolicyDenied):
        call("search", one, q="mug")
    assert last_event(one)["policy_result"] == "deny"


def test_while_the_offer_is_broken_calls_are_refused_and_recorded(shop: Any, opened: Any, configure: Any) -> None:
    one, found = opened(), named("search")
    configure(STORE="nowhere.Store")
    with pytest.raises(NoStore):
        services.call_capability(found, {"q": "mug"}, ctx=StoreContext(), session=head(one))
    assert last_event(one)["response_status"] == 503


def test_the_spend_cap_of_the_scope_refuses_what_is_too_dear(shop: Any, opened: Any) -> None:
    one = opened(scope=Scope(spend_cap=2500, currency="EUR"))
    call("cart.add", one, item_id="mug", quantity=2)
    with pytest.raises(PolicyDenied, match=r"would cost 37\.50 EUR; the limit is 25\.00 EUR") as refused:
        call("cart.add", one, item_id="mug")
    assert (refused.value.rule, refused.value.needs_human) == ("scope", True)
    assert quantities(one) == {"mug": 2}
    shop.prices["mug"] = 5000
    with pytest.raises(PolicyDenied):
        call("checkout", one)
    call("cart.update", one, item_id="mug", quantity=1)
    with pytest.raises(PolicyDenied):  # its price is the one that the session knows, and above the limit
        call("checkout", one)
    call("cart.remove", one, item_id="mug")


def test_what_needs_a_session_is_refused_without_one(shop: Any, own: Any) -> None:
    own("own.change", lambda _: Outcome({}, patch={"agent": {"a": 1}}))
    own("own.map", lambda _: Outcome({}, handoff=True))
    before = everything_stored()
    for name in ("cart.view", "own.change", "own.map"):
        with pytest.raises(InvalidToken):
            call(name)
    assert everything_stored() == before


def test_what_an_event_cannot_hold_is_refused_before_it_is_done(shop: Any, opened: Any, own: Any) -> None:
    done: list[str] = []
    own("own.write", lambda _: done.append("done") or Outcome({}), params={"note": Param("string", maximum=99_999)})
    one = opened()
    with pytest.raises(InvalidParameter, match="note: They hold"):
        call("own.write", one, note="x" * 20_000)
    assert done == []
    assert last_event(one)["response_status"] == 400


def test_what_is_handed_over_is_answered_with_a_map_or_not_handed_over(shop: Any, opened: Any, own: Any) -> None:
    own("own.hand", lambda _: Outcome([1], handoff=True), requires_session=True, human_handoff=True)
    one = opened()
    with pytest.raises(TypeError, match="answered with a map"):
        call("own.hand", one)
    assert head(one).ended_at is None


@pytest.mark.parametrize("over", ["ended", "expired"])
def test_a_session_that_is_over_takes_no_calls_and_does_nothing(shop: Any, opened: Any, clock: Any, over: str) -> None:
    one = opened()
    if over == "ended":
        services.end_session(one.session_id, reason=EndReason.DELETED)
    else:
        clock.move_to(MORNING + timedelta(minutes=30))
    before = everything_stored()
    for name, params in (("contact", {"message": "Hello"}), ("cart.add", {"item_id": "mug"})):
        with pytest.raises(SessionExpired if over == "expired" else SessionEnded):
            call(name, one, **params)
    assert shop.messages == []
    assert everything_stored() == before


def test_a_call_that_fails_as_its_session_ends_is_told_why_it_failed(shop: Any, opened: Any, own: Any) -> None:
    def ending(call: CapabilityCall) -> Outcome:
        assert call.session is not None
        services.end_session(call.session.id)
        raise ZeroDivisionError

    own("own.ending", ending)
    with pytest.raises(ZeroDivisionError):
        call("own.ending", opened())


def test_with_audit_off_only_changes_are_recorded(shop: Any, opened: Any, configure: Any) -> None:
    configure(AUDIT=False)
    one = opened()
    call("search", one, q="mug")
    call("cart.view", one)
    with pytest.raises(InvalidParameter):
        call("search", one)
    assert count(one) == 1
    call("cart.add", one, item_id="mug")
    assert count(one) == 2


def test_a_handler_gets_its_own_copy_of_the_state(shop: Any, opened: Any, own: Any) -> None:
    def spoiling(call: CapabilityCall) -> Outcome:
        call.state["shopping"]["lines"].clear()
        return Outcome({})

    own("own.spoil", spoiling, requires_session=True)
    one = opened()
    call("cart.add", one, item_id="mug")
    call("own.spoil", one)
    assert quantities(one) == {"mug": 1}


# Versions


def test_a_call_on_another_version_than_expected_does_nothing_and_says_what_has_changed(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug")
    for name, params in (
        ("cart.add", {"item_id": "mug"}), ("cart.remove", {"item_id": "pot"}), ("contact", {"message": "Hi"}),
        ("cart.view", {}), ("checkout", {}),
    ):  # fmt: skip
        with pytest.raises(VersionConflict) as refused:
            call(name, one, expected_version=1, **params)
        assert (refused.value.expected, refused.value.current) == (1, 2)
        assert "Added 1 × Mug" in str(refused.value)
        assert (last_event(one)["response_status"], last_event(one)["params"]) == (409, {"code": "version_conflict"})
    assert (head(one).version, quantities(one), shop.messages) == (2, {"mug": 1}, [])
    assert call("cart.add", one, expected_version=2, item_id="mug").version == 3


def test_a_call_that_was_overtaken_is_run_again_on_what_there_is(shop: Any, opened: Any, own: Any) -> None:
    one = opened()
    seen: list[int] = []

    def overtaken(asked: CapabilityCall) -> Outcome:
        assert asked.session is not None
        seen.append(asked.session.version)
        if len(seen) < 3:
            call("cart.add", one, item_id="mug")
        return Outcome({}, patch={"agent": {"mugs": asked.state["shopping"]["lines"]["mug"]["quantity"]}})

    own("own.late", overtaken, requires_session=True)
    call("cart.add", one, item_id="mug")
    assert call("own.late", one).version == 5
    assert seen == [2, 3, 4]
    assert state(one)["agent"] == {"mugs": 3}


def test_a_call_that_is_always_overtaken_is_refused_once(shop: Any, opened: Any, own: Any) -> None:
    one = opened()

    def overtaken(asked: CapabilityCall) -> Outcome:
        call("cart.add", one, item_id="plate")
        return Outcome({}, patch={"agent": {"mine": True}})

    own("own.late", overtaken, requires_session=True)
    with pytest.raises(VersionConflict):
        call("own.late", one)
    kinds = AuditEvent.objects.filter(session_id=one.session_id).values_list("kind", flat=True)
    assert list(kinds).count("capability.refused") == 1
    assert "agent" not in state(one)
    assert quantities(one) == {"plate": 8}


@pytest.mark.django_db(transaction=True)
def test_sixteen_who_add_at_once_all_get_in_or_are_told_so(shop: Any, opened: Any) -> None:
    one, item = opened(), named("cart.add")
    start = head(one)
    met = threading.Barrier(16)

    def add() -> Answer:
        met.wait(30)
        return services.call_capability(item, {"item_id": "plate"}, ctx=StoreContext(), session=start)

    results = at_once([add] * 16)

    done = [result for result in results if isinstance(result, Answer)]
    assert len(done) + sum(isinstance(result, VersionConflict) for result in results) == 16, results
    assert len(done) >= 8
    assert quantities(one) == {"plate": len(done)}
    assert len({answer.version for answer in done}) == len(done)
    assert state(one)["shopping"]["quote"]["total"] == 900 * len(done)
    assert half_done(one.session_id) == []
