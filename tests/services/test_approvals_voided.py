"""An approval is of the cart as it was shown: a change makes it void (L5)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import (
    AgentSessionsError,
    ApprovalClosed,
    InvalidValue,
    PolicyDenied,
)
from tests.services.asking import (
    ask,
    asking,
    cart_of,
    granted,
    is_sound,
    kinds,
    note,
    pointer,
    status,
)
from tests.shopping import variables
from tests.store.calling import call, head, last_event, quantities, state

pytestmark = pytest.mark.django_db
__all__ = ["asking"]


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
