"""Pieces are held for a session for some minutes, and never more than there are (X1, L6)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import (
    HoldRefused,
    InvalidValue,
    ItemNotFound,
    NoStore,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionNotFound,
    SessionPaused,
    SessionQuarantined,
    VersionConflict,
)
from agent_sessions.models import Hold, SessionReference
from agent_sessions.services import Held
from tests.conftest import MORNING
from tests.services.holding import held, hold
from tests.services.sound import is_sound
from tests.shopping import variables
from tests.store.calling import head, last_event, state
from tests.store.shop import CountingShop, Shelf
from tests.stored import everything_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
STAFF = Actor("staff", "7")


def test_pieces_are_held_and_the_history_says_so(counting: Shelf, opened: Any, clock: Any) -> None:
    """X1"""
    one = opened()

    made = hold(one, "pot", 1)

    assert made == Held(made.hold_id, "pot", 1, MORNING, MORNING + 10 * MINUTE, 1, 2)
    entry = {
        "item": "pot",
        "quantity": 1,
        "held_at": "2026-03-02T10:00:00.000000Z",
        "until": "2026-03-02T10:10:00.000000Z",
    }
    assert state(one)["inventory"] == {
        "holds": {str(made.hold_id): entry},
        "stock": {"pot": {"available": 1, "at": "2026-03-02T10:00:00.000000Z"}},
    }
    event = last_event(one)
    assert (event["kind"], event["actor"]) == ("hold.placed", "agent")
    assert event["params"] == {"hold": str(made.hold_id), "item": "pot", "quantity": 1}
    assert [change.text for change in selectors.compare(one.session_id, 1)] == [
        "Holding 1 × pot until 10:10 UTC",
        "pot: 1 free at 2026-03-02 10:00 UTC",
    ]
    assert held() == {"pot": 1}
    assert SessionReference.objects.get().ref == "item:pot"
    is_sound(one)


def test_what_is_held_and_what_is_free_besides_is_told_in_words(counting: Shelf, opened: Any, clock: Any) -> None:
    """X1: "2 held at 14:02, 1 still free at 14:19"."""
    one = opened()
    counting.stock["mug"] = 3
    clock.move_to(MORNING + timedelta(hours=4, minutes=2))
    two = opened()
    hold(two, "mug", 2)
    clock.shift(8 * MINUTE)
    services.revalidate(two.session_id)

    (told,) = selectors.stock_of(two.session_id)

    assert told.text == "mug: 2 held at 2026-03-02 14:02 UTC, 1 still free at 14:10 UTC"
    assert (told.held, told.free, told.seen_at) == (2, 1, MORNING + timedelta(hours=4, minutes=10))
    assert selectors.stock_of(one.session_id) == ()


def test_a_second_call_sets_number_and_time_anew(counting: Shelf, opened: Any, clock: Any) -> None:
    one = opened()
    first = hold(one, "mug", 2, seconds=60)
    clock.shift(30)

    more = hold(one, "mug", 5)
    fewer = hold(one, "mug", 1, seconds=1)

    assert (more.hold_id, more.held_at, more.until) == (first.hold_id, MORNING, MORNING + 10 * MINUTE + 30 * SECOND)
    assert (fewer.hold_id, fewer.quantity, fewer.free) == (first.hold_id, 1, 9)
    assert fewer.until == MORNING + 31 * SECOND
    assert last_event(one)["kind"] == "hold.changed"
    assert len(state(one)["inventory"]["holds"]) == 1
    assert held() == {"mug": 1}
    is_sound(one)


@pytest.mark.parametrize(("seconds", "lasts"), [(None, 600), (1, 1), (600, 600)])
def test_they_are_held_for_as_long_as_asked_and_as_the_setting_says(
    counting: Shelf, opened: Any, clock: Any, seconds: Any, lasts: int
) -> None:
    assert hold(opened(), seconds=seconds).until == MORNING + timedelta(seconds=lasts)


def test_a_hold_never_outlives_its_session(counting: Shelf, opened: Any, clock: Any) -> None:
    """L6"""
    one = opened()
    clock.shift(25 * MINUTE)
    assert hold(one).until == one.expires_at == MORNING + 30 * MINUTE


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        ({"quantity": 0}, "/quantity"), ({"quantity": -1}, "/quantity"), ({"quantity": True}, "/quantity"),
        ({"quantity": "2"}, "/quantity"), ({"quantity": 10_001}, "/quantity"), ({"seconds": 0}, "/seconds"),
        ({"seconds": 601}, "/seconds"), ({"seconds": 1.5}, "/seconds"), ({"seconds": True}, "/seconds"),
        ({"item": ""}, "/item"), ({"item": "x" * 201}, "/item"), ({"item": "a\0b"}, "/item"), ({"item": 7}, "/item"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_refused_before_the_store_is_asked(
    counting: Shelf, opened: Any, facts: Any, place: str
) -> None:
    one = opened()
    before = everything_stored()
    with pytest.raises(InvalidValue, match=place):
        hold(one, **facts)
    assert everything_stored() == before
    assert counting.asked == []


def test_never_more_is_held_than_there_is(counting: Shelf, opened: Any) -> None:
    """X1"""
    one, two = opened(), opened()
    hold(one, "pot", 1)
    before = everything_stored()

    with pytest.raises(HoldRefused, match="Only 1 can be held") as refused:
        hold(two, "pot", 2)

    assert (refused.value.available, refused.value.status, refused.value.code) == (1, 409, "hold_refused")
    assert everything_stored() == before
    with pytest.raises(HoldRefused) as more:
        hold(one, "pot", 3)
    assert more.value.available == 2, "its own piece counts as free for it"
    assert hold(one, "pot", 2).free == 0


def test_what_is_gone_from_the_shop_cannot_be_held_and_what_is_held_stays_so(counting: Shelf, opened: Any) -> None:
    """A correction of the stock by hand takes nobody's hold away; it only lets nothing more be held."""
    one, two = opened(), opened()
    hold(one, "mug", 8)
    counting.stock["mug"] = 5

    with pytest.raises(HoldRefused) as refused:
        hold(two, "mug", 1)

    assert refused.value.available == 0
    assert hold(one, "mug", 7).free == 0, "fewer is always possible"


def test_what_is_not_counted_can_be_held_in_any_number(counting: Shelf, opened: Any) -> None:
    made = hold(opened(), "tea", 10_000)
    assert made.free is None
    assert hold(opened(), "tea", 10_000).free is None
    assert held() == {"tea": 20_000}


def test_an_item_that_there_is_not_is_not_found(counting: Shelf, opened: Any) -> None:
    with pytest.raises(ItemNotFound):
        hold(opened(), "sofa")
    assert held() == {}


def test_a_shop_that_does_not_count_holds_nothing(shop: Shelf, opened: Any, configure: Any) -> None:
    one = opened()
    with pytest.raises(HoldRefused, match="does not count"):
        hold(one)
    configure(STORE="")
    with pytest.raises(HoldRefused, match="does not count"):
        hold(one)
    configure(STORE="nowhere.Store")
    with pytest.raises(NoStore):
        hold(one)


def test_a_session_holds_a_hundred_items_at_most(counting: Shelf, opened: Any) -> None:
    one = opened()
    counting.stock |= {f"i{number}": 1 for number in range(101)}
    for number in range(100):
        hold(one, f"i{number}", 1)
    with pytest.raises(HoldRefused, match="at most 100"):
        hold(one, "i100", 1)
    hold(one, "i5", 1)


def test_holding_again_and_again_does_not_fill_the_session(counting: Shelf, opened: Any) -> None:
    """S7: what was held before stands in the history, not in the state."""
    one = opened()
    sizes = []
    for _ in range(4):
        hold(one)
        services.release_holds(one.session_id)
        sizes.append(len(state(one)["inventory"]["holds"]))
    assert sizes == [1, 1, 1, 1]
    assert Hold.objects.count() == 4


def test_the_version_that_it_is_based_on_can_be_named(counting: Shelf, opened: Any) -> None:
    """V3"""
    one = opened()
    with pytest.raises(VersionConflict):
        hold(one, expected_version=2)
    assert hold(one, expected_version=1).version == 2
    with pytest.raises(VersionConflict):
        services.release_holds(one.session_id, expected_version=1)
    assert held() == {"mug": 2}


def test_a_change_that_comes_between_holds_up_no_hold(
    counting: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened()
    real = CountingShop.stock

    def changing(*args: Any, **facts: Any) -> Any:
        if head(one).version == 1:
            services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
        return real(*args, **facts)

    monkeypatch.setattr(CountingShop, "stock", changing)
    assert hold(one).version == 3
    is_sound(one)


def test_sessions_that_take_no_changes_hold_nothing(counting: Shelf, opened: Any, clock: Any) -> None:
    """L3, L4, R5"""
    paused, kept, over, late, damaged = (opened() for _ in range(5))
    services.pause_session(paused.session_id)
    services.hand_over(kept.session_id, to=STAFF)
    services.end_session(over.session_id)
    Tamper(damaged.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(damaged.session_id))
    for one, error in (
        (paused, SessionPaused),
        (kept, SessionHeld),
        (over, SessionEnded),
        (damaged, SessionQuarantined),
    ):
        with pytest.raises(error):
            hold(one)
    clock.shift(30 * MINUTE)
    with pytest.raises(SessionExpired):
        hold(late)
    with pytest.raises(SessionNotFound):
        hold(uuid.uuid4())
    assert held() == {}


def test_staff_hold_for_a_session_that_they_have(counting: Shelf, opened: Any) -> None:
    one = opened()
    services.hand_over(one.session_id, to=STAFF)
    hold(one, actor=STAFF)
    assert last_event(one)["actor"] == "staff:7"


def test_another_merchants_pieces_are_others(counting: Shelf, opened: Any) -> None:
    """T6"""
    one, two = opened(merchant="north"), opened(merchant="south")
    hold(one, "pot", 2)
    assert hold(two, "pot", 2).free == 0
    assert selectors.held_by_others(two.session_id, ["pot"]) == {"pot": 0}
