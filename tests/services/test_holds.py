"""Pieces are held for a session for some minutes: never more than there are, and released at every end (X1, L6)."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import (
    CartProblem,
    HoldNotFound,
    HoldRefused,
    InvalidValue,
    ItemNotFound,
    KeyProblem,
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
from agent_sessions.selectors import _cache
from agent_sessions.services import Held
from agent_sessions.store import StoreContext
from tests.conftest import MORNING
from tests.faults.support import at_once
from tests.services.holding import held, hold, only_hold
from tests.services.succeeding import renew
from tests.shopping import variables
from tests.store.calling import call, head, last_event, state
from tests.store.shop import CountingShop, Shelf
from tests.stored import everything_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
STAFF = Actor("staff", "7")


def is_sound(*sessions: Any) -> None:
    for one in sessions:
        report = selectors.verify_session(getattr(one, "session_id", one))
        assert report.problems == []


# Placing


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


# What others see


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


# Letting go


def test_a_hold_can_be_released(counting: Shelf, opened: Any, clock: Any) -> None:
    one = opened()
    made = hold(one)
    hold(one, "pot", 1)
    clock.shift(MINUTE)

    released = services.release_holds(one.session_id, hold_id=made.hold_id)

    assert (released.holds, released.version) == (1, 4)
    row = Hold.objects.get(pk=made.hold_id)
    assert (row.released_at, row.released_because) == (MORNING + MINUTE, "released")
    assert state(one)["inventory"]["holds"][str(made.hold_id)]["released_at"] == "2026-03-02T10:01:00.000000Z"
    assert (last_event(one)["kind"], last_event(one)["params"]) == ("hold.released", {"holds": [str(made.hold_id)]})
    assert [change.text for change in selectors.compare(one.session_id, 3)] == ["Released 2 × mug at 10:01 UTC"]
    assert held() == {"pot": 1}
    assert [one.ref for one in SessionReference.objects.all()] == ["item:pot"]
    with pytest.raises(HoldNotFound):
        services.release_holds(one.session_id, hold_id=made.hold_id)
    is_sound(one)


def test_all_of_an_item_or_everything_can_be_released(counting: Shelf, opened: Any) -> None:
    one = opened()
    for item in ("mug", "plate", "pot"):
        hold(one, item, 1)
    assert services.release_holds(one.session_id, item="plate").holds == 1
    assert held() == {"mug": 1, "pot": 1}
    assert services.release_holds(one.session_id, actor=STAFF).holds == 2
    before = everything_stored()
    assert services.release_holds(one.session_id) == services.Released(0, head(one).version)
    assert everything_stored() == before
    is_sound(one)


def test_nobody_releases_another_sessions_hold(counting: Shelf, opened: Any) -> None:
    one, two = opened(), opened()
    made = hold(one)
    with pytest.raises(HoldNotFound):
        services.release_holds(two.session_id, hold_id=made.hold_id)
    assert services.release_holds(two.session_id, item="mug").holds == 0
    assert held() == {"mug": 2}


def test_an_agent_releases_nothing_of_a_paused_session_and_staff_do(counting: Shelf, opened: Any) -> None:
    """L3"""
    one = opened()
    hold(one)
    services.pause_session(one.session_id)
    with pytest.raises(SessionPaused):
        services.release_holds(one.session_id)
    assert services.release_holds(one.session_id, actor=STAFF).holds == 1
    is_sound(one)


def test_nothing_is_released_of_a_session_that_is_over(counting: Shelf, opened: Any) -> None:
    one = opened()
    services.end_session(one.session_id)
    with pytest.raises(SessionEnded):
        services.release_holds(one.session_id)


# The ends of a session


def ended_by_the_agent(one: Any, clock: Any) -> None:
    services.end_session(one.session_id)


def ended_by_its_deadline(one: Any, clock: Any) -> None:
    clock.move_to(one.expires_at)
    assert services.expire_sessions().ended >= 1


def ended_at_once_with_all(one: Any, clock: Any) -> None:
    assert services.revoke_all_sessions(reason="a laptop was stolen") >= 1


def ended_as_done(one: Any, clock: Any) -> None:
    services.end_session(one.session_id, reason=EndReason.COMPLETED)


def ended_while_paused(one: Any, clock: Any) -> None:
    services.pause_session(one.session_id)
    services.end_session(one.session_id)


@pytest.mark.parametrize(
    "end", [ended_by_the_agent, ended_by_its_deadline, ended_at_once_with_all, ended_as_done, ended_while_paused]
)
def test_every_end_releases_what_is_held(counting: Shelf, opened: Any, clock: Any, end: Any) -> None:
    """L6: in the transaction of the end, and the history says so before its last event."""
    one = opened()
    first, second = hold(one, "mug", 2), hold(one, "pot", 1)

    end(one, clock)

    assert held() == {}
    rows = {row.pk: (row.released_because, row.released_at) for row in Hold.objects.all()}
    assert {because for because, _ in rows.values()} == {"ended"}
    assert {kind for kind, _ in rows.values()} == {"ended"}
    kinds = [event["kind"] for event in selectors.events(one.session_id)]
    assert kinds[-2:] == ["hold.released", "session.ended"]
    entries = state(one)["inventory"]["holds"]
    assert all("released_at" in entries[str(made.hold_id)] for made in (first, second))
    assert selectors.stock_of(one.session_id)[0].held == 0
    is_sound(one)


def test_an_end_of_the_version_that_was_named_releases_too(counting: Shelf, opened: Any) -> None:
    """V3"""
    one = opened()
    made = hold(one)
    with pytest.raises(VersionConflict):
        services.end_session(one.session_id, expected_version=1)
    assert held() == {"mug": 2}
    services.end_session(one.session_id, expected_version=made.version)
    assert held() == {}


@pytest.mark.parametrize("goes_on", ["renewed", "transferred"])
def test_what_goes_on_as_another_session_keeps_what_is_held(
    counting: Shelf, opened: Any, clock: Any, goes_on: str
) -> None:
    """L2, T4"""
    one = opened(consumer="pseudonym-1")
    made = hold(one)
    call("cart.add", one, item_id="mug", quantity=2)
    gone = hold(one, "plate", 1)
    services.release_holds(one.session_id, hold_id=gone.hold_id)
    clock.shift(MINUTE)

    if goes_on == "renewed":
        successor = renew(one).opened
    else:
        grant = services.grant_transfer(one.session_id, actor=Actor("consumer"))
        successor = services.accept_transfer(grant.code, agent=selectors.read_head(one.session_id).agent).opened

    assert held() == {"mug": 2}
    row = Hold.objects.get(released_at__isnull=True)
    assert (row.pk, row.session_id, row.expires_at) == (made.hold_id, successor.session_id, made.until)
    assert list(state(successor)["inventory"]["holds"]) == [str(made.hold_id)]
    assert selectors.stock_of(successor.session_id)[0].held == 2
    assert [event["kind"] for event in selectors.events(one.session_id)].count("hold.released") == 1, "of the plate"
    assert hold(successor, "mug", 3).hold_id == made.hold_id
    services.end_session(successor.session_id)
    assert held() == {}
    is_sound(one, successor)


def test_a_branch_begins_without_what_its_parent_holds(counting: Shelf, opened: Any) -> None:
    """L3"""
    one = opened()
    hold(one, "pot", 2)
    branch = services.fork_session(one.session_id)
    assert "holds" not in state(branch).get("inventory", {})
    services.end_session(branch.session_id)
    assert held() == {"pot": 2}
    with pytest.raises(HoldRefused):
        hold(services.fork_session(one.session_id), "pot", 1)


def test_a_full_session_can_still_be_ended(counting: Shelf, opened: Any, configure: Any) -> None:
    """S7, L6: a session without room for one more time lets go what it holds all the same."""
    one = opened(state=variables(notes="x" * 900))
    hold(one)
    size = len(msgspec.json.encode(state(one)))
    configure(MAX_STATE_BYTES=size, MAX_SLICE_BYTES=size)
    services.end_session(one.session_id)
    assert held() == {}
    assert [event["kind"] for event in selectors.events(one.session_id)][-2:] == ["hold.released", "session.ended"]
    is_sound(one)


@pytest.mark.django_db(transaction=True)
def test_an_end_that_fails_releases_nothing(counting: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened()
    hold(one)
    before = everything_stored()
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.releasing.lower_held", _failing)
        with pytest.raises(RuntimeError):
            services.end_session(one.session_id)
    assert everything_stored() == before
    services.end_session(one.session_id)
    assert held() == {}


def _failing(*args: Any, **facts: Any) -> Any:
    raise RuntimeError


# Checkout and order


def handed(one: Any) -> Any:
    link = call("checkout", one).data["handoff_url"]
    return selectors.handoff_by_token(link.rsplit("/", 1)[1])


@pytest.fixture
def with_cart(counting: Shelf, opened: Any, clock: Any) -> Any:
    """A session that holds the two pots in its cart."""
    one = opened(consumer="pseudonym-1")
    call("cart.add", one, item_id="pot", quantity=2)
    hold(one, "pot", 2)
    return one


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_human_was_given_a_link_for_stays_held_until_they_order(
    with_cart: Any, opened: Any, configure: Any, ends: bool
) -> None:
    """X1, L6: also where the checkout ends the agent's session; the order releases it, as ordered."""
    configure(END_ON_HANDOFF=ends)
    handoff = handed(with_cart)
    assert held() == {"pot": 2}
    with pytest.raises(HoldRefused):
        hold(opened(), "pot", 1)

    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")

    assert held() == {}
    assert only_hold().released_because == "ordered"
    if not ends:
        assert [event["kind"] for event in selectors.events(with_cart.session_id)][-2:] == [
            "hold.ordered",
            "session.ended",
        ]
    is_sound(with_cart)


def test_what_is_not_ordered_is_released_at_its_own_deadline(with_cart: Any, clock: Any) -> None:
    """L6: long before the link is."""
    one = with_cart
    handoff = handed(one)
    clock.shift(10 * MINUTE)
    assert services.release_expired_holds() == 1
    assert held() == {}
    assert selectors.get_handoff(handoff.id).can_be_paid
    is_sound(one)


def test_giving_the_checkout_up_releases_what_was_kept_for_it(with_cart: Any) -> None:
    """C1"""
    handed(with_cart)
    services.give_up_checkout(with_cart.session_id, merchant="default", consumer="pseudonym-1")
    assert held() == {}
    assert only_hold().released_because == "released"
    is_sound(with_cart)


def test_a_live_session_that_gives_its_checkout_up_keeps_what_it_holds(with_cart: Any, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    handed(with_cart)
    services.give_up_checkout(with_cart.session_id, merchant="default")
    assert held() == {"pot": 2}


def test_an_order_that_rolls_back_leaves_what_is_held(with_cart: Any) -> None:
    handoff = handed(with_cart)
    with transaction.atomic():
        services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
        transaction.set_rollback(True)
    assert held() == {"pot": 2}


def test_a_hold_that_ends_while_the_human_pays_is_no_other_cart(with_cart: Any, configure: Any, clock: Any) -> None:
    """The version has moved; what was seen has not."""
    configure(END_ON_HANDOFF=False)
    hold(with_cart, "pot", 2, seconds=60)
    handoff = handed(with_cart)
    clock.shift(MINUTE)
    assert services.release_expired_holds() == 1
    assert head(with_cart).version == handoff.version + 1

    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")

    assert selectors.get_handoff(handoff.id).order_ref == "A-1"
    is_sound(with_cart)


def test_another_cart_is_not_paid_because_a_hold_has_ended_too(with_cart: Any, configure: Any, clock: Any) -> None:
    configure(END_ON_HANDOFF=False)
    hold(with_cart, "pot", 2, seconds=60)
    handoff = handed(with_cart)
    clock.shift(MINUTE)
    services.release_expired_holds()
    call("cart.add", with_cart, item_id="mug")
    with pytest.raises(VersionConflict):
        services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")


# The job


def test_the_job_releases_what_is_past_its_time_and_nothing_else(counting: Shelf, opened: Any, clock: Any) -> None:
    """X1"""
    one, two = opened(), opened()
    hold(one, "mug", 1, seconds=60)
    hold(two, "mug", 2, seconds=120)
    hold(two, "pot", 1, seconds=60)
    clock.shift(MINUTE)

    assert services.release_expired_holds() == 2

    assert held() == {"mug": 2}
    because = {(row.session_id, row.item): row.released_because for row in Hold.objects.all()}
    assert because == {
        (one.session_id, "mug"): "expired",
        (two.session_id, "mug"): "",
        (two.session_id, "pot"): "expired",
    }
    event = last_event(one)
    assert (event["kind"], event["actor"]) == ("hold.expired", "system")
    assert services.release_expired_holds() == 0
    is_sound(one, two)


@pytest.mark.parametrize("limit", [0, -1, True, None, "5"])
def test_the_job_wants_a_limit_that_makes_sense(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.release_expired_holds(limit=limit)


def test_the_job_takes_as_many_as_it_is_told_to(counting: Shelf, opened: Any, clock: Any) -> None:
    for _ in range(3):
        hold(opened(), seconds=1)
    clock.shift(SECOND)
    assert [services.release_expired_holds(limit=2) for _ in range(3)] == [2, 1, 0]


def test_the_job_releases_for_sessions_that_are_paused_overdue_or_damaged(
    counting: Shelf, opened: Any, clock: Any
) -> None:
    """R5: the goods do not wait for a session that nobody can write to."""
    paused, overdue, damaged = (opened() for _ in range(3))
    for one in (paused, overdue, damaged):
        hold(one, seconds=600)
    services.pause_session(paused.session_id)
    Tamper(damaged.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(damaged.session_id))
    clock.shift(31 * MINUTE)

    assert services.release_expired_holds() == 3

    assert held() == {}
    assert [last_event(one)["kind"] for one in (paused, overdue)] == ["hold.expired"] * 2
    assert last_event(damaged)["kind"] == "hold.placed", "what was found stays as it was found"
    services.expire_sessions()
    is_sound(paused, overdue)


def test_a_session_that_is_found_damaged_by_the_job_is_quarantined_and_its_pieces_are_free(
    counting: Shelf, opened: Any, clock: Any
) -> None:
    """R5"""
    one = opened()
    hold(one, seconds=1)
    Tamper(one.session_id).version(2, patch=b"altered")
    _cache.local.clear()
    clock.shift(SECOND)

    assert services.release_expired_holds() == 1

    assert held() == {}
    assert head(one).status is Status.QUARANTINED


def test_a_key_service_that_is_down_holds_up_no_other_and_loses_nothing(
    counting: Shelf, opened: Any, clock: Any, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A1: what cannot be recorded is done later."""
    one = opened()
    made = hold(one, seconds=1)
    clock.shift(SECOND)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("agent_sessions.conf.LocalKeyProvider.unwrap", _raising(KeyProblem("out of reach")))
        assert services.release_expired_holds() == 0
    assert str(made.hold_id) in caplog.text
    assert services.release_expired_holds() == 1
    is_sound(one)


def _raising(error: Exception) -> Any:
    def fail(*args: Any, **facts: Any) -> Any:
        raise error

    return fail


def test_a_clock_that_jumps_releases_nothing_twice_and_leaks_nothing(counting: Shelf, opened: Any, clock: Any) -> None:
    one, two = opened(), opened()
    hold(one, "mug", 2)
    clock.shift(timedelta(hours=-1))
    assert services.release_expired_holds() == 0
    hold(two, "mug", 3)  # by the clock as it is now
    assert held() == {"mug": 5}
    clock.shift(timedelta(hours=3))
    assert services.release_expired_holds() == 2
    clock.shift(timedelta(hours=-3))
    assert services.release_expired_holds() == 0
    assert held() == {}
    is_sound(one, two)


# Races


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
