"""What is stale is not sold before it was looked at again (X2)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import (
    CartProblem,
    NoStore,
    SessionEnded,
    SessionPaused,
    StaleCart,
    VersionConflict,
)
from agent_sessions.services import Marked
from agent_sessions.store import CapabilityCall, Outcome, StoreContext
from tests.faults.support import at_once
from tests.services.sound import is_sound
from tests.services.staling import parts, with_item
from tests.store.calling import call, head, last_event, state
from tests.store.shop import Shelf, Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def marked(shop: Shelf, opened: Any, clock: Any) -> Any:
    """A session whose mug has become dearer, and says so."""
    one = with_item(opened)
    shop.prices["mug"] = 1450
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    return one


def test_checkout_refuses_what_is_stale_and_says_what_to_do(marked: Any) -> None:
    """X2"""
    before = head(marked).version
    with pytest.raises(StaleCart, match="Revalidate") as refused:
        call("checkout", marked)
    assert (refused.value.code, refused.value.status) == ("stale_cart", 409)
    assert refused.value.details["parts"] == [
        {"kind": "item", "ref": "mug", "since": "2026-03-02T10:00:00.000000Z", "what": "price"}
    ]
    assert (head(marked).version, last_event(marked)["params"]) == (before, {"code": "stale_cart"})


def test_revalidating_tells_old_and_new_and_lets_checkout_through(marked: Any) -> None:
    """X2"""
    done = services.revalidate(marked.session_id)

    assert [change.text for change in done.changes] == [
        "Mug: price 12.50 → 14.50 EUR",
        "Quote 12.50 → 14.50 EUR",
    ]
    assert done.problems == ()
    assert (done.version, head(marked).version) == (4, 4)
    event = last_event(marked)
    assert (event["kind"], event["params"]) == ("cart.revalidated", {"changes": 2, "parts": 1, "problems": 0})
    assert parts(marked) == {}
    assert call("checkout", marked).data["changes"] == []
    is_sound(marked)


def test_what_the_store_has_against_the_cart_is_told_and_holds_up_checkout_only(marked: Any, shop: Shelf) -> None:
    shop.stock["mug"] = 0
    done = services.revalidate(marked.session_id)
    assert [problem["code"] for problem in done.problems] == ["out_of_stock"]
    assert parts(marked) == {}
    with pytest.raises(CartProblem):
        call("checkout", marked)


def test_a_call_that_prices_the_cart_validates_what_it_prices(marked: Any, opened: Any, shop: Shelf) -> None:
    """X2: one place, whatever capability it is."""
    services.report_change("consumer", ["pseudonym-1"], "loyalty")
    other = with_item(opened, consumer="pseudonym-1")
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    assert parts(other).keys() == {"item:mug", "consumer:pseudonym-1"}

    call("cart.add", other, item_id="plate")

    assert parts(other).keys() == {"consumer:pseudonym-1"}, "nobody was asked about that"
    with pytest.raises(StaleCart):
        call("checkout", other, instructions="ring twice")
    services.revalidate(other.session_id)
    call("checkout", other, instructions="ring twice")


def test_a_capability_that_leaves_the_cart_alone_leaves_it_stale(marked: Any, own: Any) -> None:
    def wrap(call: CapabilityCall) -> Outcome:
        return Outcome({}, patch={"agent": {"wrapped": True}})

    own("gift.wrap", wrap, requires_session=True)
    call("gift.wrap", marked)
    assert parts(marked).keys() == {"item:mug"}


def test_an_empty_cart_can_be_revalidated(shop: Shelf, opened: Any) -> None:
    one = opened(consumer="pseudonym-1")
    services.report_change("consumer", ["pseudonym-1"], "address")
    services.mark_stale()
    assert services.revalidate(one.session_id).changes == ()
    assert parts(one) == {}
    assert services.revalidate(one.session_id).version == 4, "with nothing to validate it is a version all the same"


def test_revalidating_looks_at_the_stock_too(counting: Shelf, opened: Any, clock: Any) -> None:
    """X1: what is free besides what is held."""
    one, two = with_item(opened, "pot"), opened()
    services.place_hold(two.session_id, item="pot", quantity=1)
    services.place_hold(one.session_id, item="mug", quantity=1)
    counting.stock["mug"] = 7
    del counting.stock["plate"]
    services.revalidate(one.session_id)
    seen = {key: entry["available"] for key, entry in state(one)["inventory"]["stock"].items()}
    assert seen == {"pot": 1, "mug": 6}
    del counting.stock["mug"]
    services.revalidate(one.session_id)
    assert state(one)["inventory"]["stock"].keys() == {"pot"}


def test_revalidating_is_based_on_what_is_there_when_it_is_written(
    marked: Any, shop: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V3"""
    with pytest.raises(VersionConflict):
        services.revalidate(marked.session_id, expected_version=1)
    real, times = Shop.price, []

    def overtaken(self: Any, lines: Any, vouchers: Any, *, ctx: StoreContext) -> Any:
        times.append(len(lines))
        if len(times) == 1:
            call("cart.add", marked, item_id="plate")
        return real(self, lines, vouchers, ctx=ctx)

    monkeypatch.setattr(Shop, "price", overtaken)
    services.revalidate(marked.session_id)
    assert state(marked)["shopping"]["lines"].keys() == {"mug", "plate"}
    assert times[-1] == 2


def test_who_may_not_change_the_session_revalidates_nothing(marked: Any, configure: Any) -> None:
    services.pause_session(marked.session_id)
    with pytest.raises(SessionPaused):
        services.revalidate(marked.session_id)
    services.resume_session(marked.session_id)
    configure(STORE="")
    with pytest.raises(NoStore):
        services.revalidate(marked.session_id)
    services.end_session(marked.session_id)
    with pytest.raises(SessionEnded):
        services.revalidate(marked.session_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(3))
def test_a_mark_and_a_checkout_that_meet_never_sell_what_is_stale_unseen(
    shop: Shelf, opened: Any, configure: Any, round_: int
) -> None:
    """X2: marked first, the checkout is refused; handed over first, the mark comes after."""
    configure(END_ON_HANDOFF=False)
    one = with_item(opened)
    services.report_change("item", ["mug"], "price")
    gate = threading.Barrier(2)

    def check_out() -> Any:
        gate.wait(30)
        return call("checkout", one)

    def mark() -> Any:
        gate.wait(30)
        return services.mark_stale()

    handed, marking = at_once([check_out, mark])

    assert isinstance(marking, Marked), marking
    kinds = [event["kind"] for event in selectors.events(one.session_id)]
    if isinstance(handed, StaleCart):
        assert "checkout.handed_over" not in kinds
    else:
        assert not isinstance(handed, Exception), handed
        assert kinds.index("checkout.handed_over") < kinds.index("session.marked_stale")
    assert parts(one).keys() == {"item:mug"}
    is_sound(one)
