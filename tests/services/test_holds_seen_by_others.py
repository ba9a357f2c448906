"""What one session holds is not there for another (X1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.exceptions import (
    CartProblem,
)
from tests.conftest import MORNING
from tests.services.holding import held, hold
from tests.store.calling import call, head, last_event, state
from tests.store.shop import Shelf

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def test_what_others_hold_is_not_available(counting: Shelf, opened: Any) -> None:
    """X1: in search, browse and detail; the holder's own pieces are."""
    one, two = opened(), opened()
    hold(one, "pot", 1)
    for name, params in (("search", {"q": "pot"}), ("browse", {"category": "pot"})):
        assert [item["available"] for item in call(name, two, **params).data] == [1]
        assert [item["available"] for item in call(name, one, **params).data] == [2]
        assert [item["available"] for item in call(name, **params).data] == [1]
    assert call("detail", two, id="pot").data["available"] == 1
    assert call("detail", one, id="pot").data["available"] == 2
    hold(one, "pot", 2)
    assert call("detail", two, id="pot").data["for_sale"] is False


def test_what_others_hold_cannot_be_put_into_a_cart(counting: Shelf, opened: Any) -> None:
    """X1"""
    one, two = opened(), opened()
    hold(one, "pot", 1)
    call("cart.add", one, item_id="pot", quantity=2)
    with pytest.raises(CartProblem, match="Only 1 of Pot free") as refused:
        call("cart.add", two, item_id="pot", quantity=2)
    assert refused.value.problems == (
        {
            "code": "out_of_stock",
            "message": "Only 1 of Pot free; you asked for 2. The rest is held for other shoppers.",
            "line": "pot",
            "available": 1,
        },
    )
    hold(one, "pot", 2)
    with pytest.raises(CartProblem, match="All of Pot that are left are held"):
        call("cart.add", two, item_id="pot", quantity=1)


def test_what_others_hold_cannot_be_checked_out(counting: Shelf, opened: Any, clock: Any) -> None:
    """X1: who came first with the cart and not with a hold comes second."""
    one, two = opened(), opened()
    call("cart.add", one, item_id="pot", quantity=2)
    call("cart.add", two, item_id="pot", quantity=2)
    hold(two, "pot", 1)
    with pytest.raises(CartProblem, match="held for other shoppers"):
        call("checkout", one)
    call("cart.add", one, item_id="mug")  # what stands in the way of one line is told and holds up no other
    assert [one["code"] for one in state(one)["shopping"]["quote"]["extra"]["problems"]] == ["out_of_stock"]
    call("checkout", two)
    clock.shift(10 * MINUTE)
    call("checkout", one)


def test_pieces_past_their_time_are_nobodys_whether_or_not_a_job_has_come_by(
    counting: Shelf, opened: Any, clock: Any
) -> None:
    """X1"""
    one, two = opened(), opened()
    hold(one, "pot", 2, seconds=60)
    clock.move_to(MORNING + MINUTE - timedelta(microseconds=1))
    assert call("detail", two, id="pot").data["available"] == 0
    clock.move_to(MORNING + MINUTE)
    assert call("detail", two, id="pot").data["available"] == 2
    assert hold(two, "pot", 2).free == 0
    assert last_event(one)["kind"] == "hold.expired"
    assert held() == {"pot": 2}


def test_a_store_that_does_not_count_is_asked_nothing_more(
    shop: Shelf, opened: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        call("search", q="pot")


def test_without_any_holds_the_stock_is_not_asked_for(counting: Shelf, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug")
    assert counting.asked == []


def test_what_is_held_is_asked_for_only_while_others_of_the_merchant_hold_something(
    counting: Shelf, opened: Any, django_assert_num_queries: Any
) -> None:
    """X1: most changes of a cart meet no hold, and one query less is a tenth of them."""
    one, two, other = opened(), opened(), opened(merchant="south")
    call("cart.add", one, item_id="pot")
    hold(one, "mug", 1)
    hold(other, "pot", 1)
    assert not head(one).others_hold
    assert head(two).others_hold
    with CaptureQueriesContext(connection) as alone:
        call("cart.update", one, item_id="pot", quantity=2)
    hold(two, "mug", 1)
    assert head(one).others_hold
    with django_assert_num_queries(len(alone) + 1):
        call("cart.update", one, item_id="pot", quantity=1)
    services.release_holds(two.session_id, item="mug")
    assert not head(one).others_hold
