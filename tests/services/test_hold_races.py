"""Holds, ends and orders that meet (X1)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction

from agent_sessions import services
from agent_sessions.exceptions import (
    HoldRefused,
    SessionEnded,
)
from agent_sessions.services import Held
from agent_sessions.store import StoreContext
from tests.faults.support import at_once
from tests.services.holding import held, hold, only_hold
from tests.services.sound import is_sound
from tests.store.shop import CountingShop, Shelf

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
def test_of_ten_that_want_the_last_three_pieces_three_get_one(counting: Shelf, opened: Any) -> None:
    """X1: exact under a race, also between the first ones that hold anything of the item."""
    counting.stock["mug"] = 3
    sessions = [opened() for _ in range(10)]

    results = at_once([lambda one=one: hold(one, "mug", 1) for one in sessions])

    got = [result for result in results if isinstance(result, Held)]
    refused = [result for result in results if isinstance(result, HoldRefused)]
    assert (len(got), len(refused)) == (3, 7), results
    assert held() == {"mug": 3}
    assert sorted(one.free or 0 for one in got) == [0, 1, 2]
    is_sound(*sessions)


@pytest.mark.django_db(transaction=True)
def test_one_session_that_holds_the_same_item_from_two_threads_has_one_hold(counting: Shelf, opened: Any) -> None:
    one = opened()
    results = at_once([lambda n=n: hold(one, "mug", n) for n in (1, 2, 3, 4)])
    assert all(isinstance(result, Held) for result in results), results
    assert held()["mug"] == only_hold().quantity
    is_sound(one)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(4))
def test_an_end_and_a_hold_that_meet_leave_nothing_held(counting: Shelf, opened: Any, round_: int) -> None:
    """L6: whoever comes first."""
    one = opened()
    gate = threading.Barrier(2)

    def place() -> Any:
        gate.wait(30)
        return hold(one)

    def end() -> Any:
        gate.wait(30)
        return services.end_session(one.session_id)

    placed, ended = at_once([place, end])

    assert not isinstance(ended, Exception), ended
    assert isinstance(placed, Held | SessionEnded), placed
    assert held() == {}
    is_sound(one)


@pytest.mark.django_db(transaction=True)
def test_two_jobs_at_once_release_each_hold_once(counting: Shelf, opened: Any, clock: Any) -> None:
    sessions = [opened() for _ in range(4)]
    for one in sessions:
        hold(one, seconds=1)
    clock.shift(SECOND)
    results = at_once([services.release_expired_holds] * 3)
    assert sum(results) == 4, results  # type: ignore[arg-type]
    assert held() == {}
    is_sound(*sessions)


def stock_of_the_shop(name: str, left: int) -> None:
    """Keep the shop's stock in the database that the order is made in: a user's last name stands in for it."""
    User.objects.create(username=name, last_name=str(left))


@pytest.fixture
def in_the_database(counting: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def stock(self: Any, item_ids: Any, *, ctx: StoreContext) -> Any:
        return {user.username: int(user.last_name) for user in User.objects.filter(username__in=list(item_ids))}

    monkeypatch.setattr(CountingShop, "stock", stock)


def test_a_hold_by_an_old_count_is_not_placed_after_an_order(
    in_the_database: None, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X1: an order that comes between asking the store and holding has the store asked again."""
    stock_of_the_shop("pot", 3)
    buyer, other = opened(), opened()
    hold(buyer, "pot", 2)
    call_count: list[int] = []
    real = CountingShop.stock

    def slow(self: Any, item_ids: Any, *, ctx: StoreContext) -> Any:
        counted = real(self, item_ids, ctx=ctx)
        call_count.append(1)
        if len(call_count) == 1:
            with transaction.atomic():  # the buyer's order takes two of the three
                User.objects.filter(username="pot").update(last_name="1")
                services.lock_held_items(buyer.session_id, ["pot"])
                services.release_holds(buyer.session_id, because="ordered")
        return counted

    monkeypatch.setattr(CountingShop, "stock", slow)
    with pytest.raises(HoldRefused) as refused:
        hold(other, "pot", 3)
    assert refused.value.available == 1
    assert len(call_count) >= 2
    assert hold(other, "pot", 1).free == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_orders_and_holds_that_meet_never_promise_more_than_there_is(
    in_the_database: None, opened: Any, round_: int
) -> None:
    """X1: of three pots, with one held, orders leave what others hold."""
    stock_of_the_shop("pot", 3)
    sessions = [opened() for _ in range(6)]
    hold(sessions[0], "pot", 1)

    def order(one: Any) -> str:
        while True:
            try:
                with transaction.atomic():
                    others = services.lock_held_items(one.session_id, ["pot"])
                    left = int(User.objects.get(username="pot").last_name)
                    if left - others["pot"] < 1:
                        return "sold out"
                    User.objects.filter(username="pot").update(last_name=str(left - 1))
                return "ordered"
            except OperationalError as error:
                if "locked" not in str(error):
                    raise

    jobs: list[Any] = [lambda one=one: order(one) for one in sessions[1:4]]
    jobs += [lambda one=one: hold(one, "pot", 1) for one in sessions[4:]]
    results = at_once(jobs)

    ordered = results[:3].count("ordered")
    placed = [result for result in results[3:] if isinstance(result, Held)]
    assert all(isinstance(result, str | Held | HoldRefused) for result in results), results
    left = int(User.objects.get(username="pot").last_name)
    assert left == 3 - ordered
    assert held().get("pot", 0) <= left
    assert held() == {"pot": 1 + len(placed)}
    assert ordered + len(placed) == 2
    is_sound(*sessions)


def test_what_is_locked_for_an_order_is_what_others_hold_now(counting: Shelf, opened: Any, clock: Any) -> None:
    one, two = opened(), opened()
    hold(one, "mug", 2)
    hold(two, "mug", 3, seconds=60)
    with transaction.atomic():
        assert services.lock_held_items(one.session_id, ["mug", "pot"]) == {"mug": 3, "pot": 0}
    clock.shift(MINUTE)
    with transaction.atomic():
        assert services.lock_held_items(one.session_id, ["mug"]) == {"mug": 0}
