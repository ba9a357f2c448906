"""What changes in the shop is carried into the sessions that depend on it, and into no others (X2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.exceptions import (
    InvalidValue,
    StaleCart,
)
from agent_sessions.models import Session, SessionVersion, StoreChange
from agent_sessions.services import Marked
from agent_sessions.store import StoreContext, repriced
from agent_sessions.store.cart import SessionCart
from agent_sessions.store.offer import offer
from tests.conftest import MORNING
from tests.services.sound import is_sound
from tests.services.staling import parts, with_item
from tests.store.calling import call, head, last_event, state
from tests.store.shop import Shelf
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


# Reporting


def test_a_report_is_rows_and_no_more(clock: Any, django_assert_num_queries: Any) -> None:
    """X2: cheap, however many sessions there are; the same twice in one report is one thing."""
    with django_assert_num_queries(1):
        assert services.report_change("item", ["mug", "pot", "mug"], "price") == 2
    rows = StoreChange.objects.order_by("id").values_list("merchant", "ref", "what", "reported_at", "done_at")
    assert list(rows) == [
        ("default", "item:mug", "price", MORNING, None),
        ("default", "item:pot", "price", MORNING, None),
    ]
    assert services.report_change("item", [], "price") == 0


def test_a_report_rolls_back_with_the_change_that_it_is_about() -> None:
    with transaction.atomic():
        services.report_change("item", ["mug"], "price")
        transaction.set_rollback(True)
    assert not StoreChange.objects.exists()


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        (("thing", ["mug"], "price"), "/kind"), (("item", [""], "price"), "/ids"), (("item", ["a\0"], "price"), "/ids"),
        (("item", [7], "price"), "/ids"), (("item", ["mug"], "x" * 33), "/what"), (("item", ["mug"], None), "/what"),
    ],
)  # fmt: skip
def test_a_report_that_says_nothing_is_refused(facts: Any, place: str) -> None:
    with pytest.raises(InvalidValue, match=place):
        services.report_change(*facts)
    assert not StoreChange.objects.exists()


# Marking


def test_just_the_affected_parts_of_just_the_affected_sessions_are_marked(shop: Shelf, opened: Any, clock: Any) -> None:
    """X2"""
    affected, other, empty = with_item(opened), with_item(opened, "plate"), opened()
    call("cart.add", affected, item_id="plate")
    before = {one.session_id: head(one) for one in (other, empty)}
    clock.shift(MINUTE)
    services.report_change("item", ["mug"], "price")
    clock.shift(MINUTE)

    assert services.mark_stale() == Marked(1, 1, 0, False)

    assert parts(affected) == {
        "item:mug": {"kind": "item", "ref": "mug", "since": "2026-03-02T10:01:00.000000Z", "what": "price"}
    }
    event = last_event(affected)
    assert (event["kind"], event["actor"], event["params"]) == ("session.marked_stale", "system", {"parts": 1})
    assert {one: head(one) for one in before} == before
    assert [one.text for one in selectors.compare(affected.session_id, 3)] == [
        "Stale: item mug (price) since 2026-03-02 10:01 UTC"
    ]
    is_sound(affected)


def test_of_a_thousand_sessions_the_three_are_found_and_the_others_untouched(opened: Any) -> None:
    """X2: the cost is that of the three."""
    line = {"item": "mug", "quantity": 1, "unit_price": 1250, "currency": "EUR"}
    affected = [opened(state={"shopping": {"lines": {"l": line}}}) for _ in range(3)]
    template = Session.objects.get(pk=affected[0].session_id)
    many(template, 997)
    services.report_change("item", ["mug"], "price")
    before = Session.objects.exclude(pk__in=[one.session_id for one in affected]).count()

    with CaptureQueriesContext(connection) as captured:
        assert services.mark_stale().sessions == 3

    told = [query["sql"] for query in captured if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert before == 997
    assert len(told) <= 10 + 3 * 10, "\n".join(told)
    assert SessionVersion.objects.count() == 6
    assert Session.objects.filter(version=2).count() == 3


def many(template: Session, number: int) -> None:
    """Sessions of which only the row matters here."""
    rows = []
    for _ in range(number):
        row = Session.objects.get(pk=template.pk) if not rows else rows[-1]
        values = {field.attname: getattr(row, field.attname) for field in Session._meta.concrete_fields}
        identity = new_id()
        rows.append(Session(**{**values, "id": identity, "family": identity, "token_digest": identity.bytes * 2}))
    Session.objects.bulk_create(rows)


def test_a_voucher_and_a_customer_record_are_marked_too(shop: Shelf, opened: Any) -> None:
    """X2"""
    one = with_item(opened, consumer="pseudonym-1")
    other = with_item(opened, consumer="pseudonym-2")
    apply_voucher(one)
    services.report_change("voucher", ["WELCOME"], "withdrawn")
    services.report_change("consumer", ["pseudonym-1"], "loyalty")
    assert services.mark_stale().changes == 2
    assert parts(one).keys() == {"voucher:WELCOME", "consumer:pseudonym-1"}
    assert parts(other) == {}


def apply_voucher(one: Any) -> None:
    store = offer().store
    assert store is not None
    patch = repriced(SessionCart(state(one), store, StoreContext()), vouchers=["WELCOME"])
    services.change_session(one.session_id, expected_version=head(one).version, patch=patch)


def test_an_id_that_no_key_can_hold_is_found_by_its_digest(opened: Any) -> None:
    item = "x" * 300
    one = opened(
        state={"shopping": {"lines": {"l": {"item": item, "quantity": 1, "unit_price": 1, "currency": "EUR"}}}}
    )
    services.report_change("item", [item], "price")
    services.mark_stale()
    (key,) = parts(one)
    assert key.startswith("item:sha256:")


def test_what_a_session_holds_is_marked_and_what_it_has_released_is_not(counting: Shelf, opened: Any) -> None:
    one, two = opened(), opened()
    for session in (one, two):
        services.place_hold(session.session_id, item="mug", quantity=1)
    services.release_holds(two.session_id)
    services.report_change("item", ["mug"], "stock")
    services.mark_stale()
    assert (parts(one).keys(), parts(two)) == ({"item:mug"}, {})


def test_another_merchants_sessions_are_not_touched(shop: Shelf, opened: Any) -> None:
    """T6"""
    one, two = with_item(opened, merchant="north"), with_item(opened, merchant="south")
    services.report_change("item", ["mug"], "price", merchant="north")
    services.mark_stale()
    assert (len(parts(one)), len(parts(two))) == (1, 0)


def test_a_part_gathers_what_has_changed_since_the_first_time(shop: Shelf, opened: Any, clock: Any) -> None:
    one = with_item(opened)
    for what in ("price", "stock", "price", ""):
        clock.shift(MINUTE)
        services.report_change("item", ["mug"], what)
    assert services.mark_stale() == Marked(4, 1, 0, False)
    assert parts(one)["item:mug"]["what"] == "price, stock"
    assert parts(one)["item:mug"]["since"] == "2026-03-02T10:01:00.000000Z"
    clock.shift(MINUTE)
    services.report_change("item", ["mug"], "picture")
    services.mark_stale()
    assert parts(one)["item:mug"]["what"] == "price, stock, picture"
    assert parts(one)["item:mug"]["since"] == "2026-03-02T10:01:00.000000Z"


def test_several_changes_make_one_version_of_a_session(shop: Shelf, opened: Any) -> None:
    """V1: a nightly import of a catalogue does not bury a session in versions."""
    one = with_item(opened)
    for item in ("plate", "pot"):
        call("cart.add", one, item_id=item)
    services.report_change("item", ["plate", "pot", "mug", "sofa"], "price")
    version = head(one).version
    assert services.mark_stale() == Marked(4, 1, 0, False)
    assert head(one).version == version + 1
    assert len(parts(one)) == 3


def test_sessions_that_are_over_are_left_alone(shop: Shelf, opened: Any, clock: Any) -> None:
    over, late, damaged = with_item(opened), with_item(opened), with_item(opened)
    services.end_session(over.session_id)
    Tamper(damaged.session_id).session(agent_version="elsewhere")
    services.quarantine_damaged(selectors.verify_session(damaged.session_id))
    clock.shift(30 * MINUTE)
    services.report_change("item", ["mug"], "price")
    assert services.mark_stale() == Marked(1, 0, 0, False)
    assert services.expire_session(late.session_id).version == 3


def test_a_paused_session_misses_nothing(shop: Shelf, opened: Any) -> None:
    """X2, L3: it goes on where it was, and with what is so."""
    one = with_item(opened)
    services.pause_session(one.session_id)
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    services.resume_session(one.session_id)
    with pytest.raises(StaleCart):
        call("checkout", one)
    is_sound(one)


def test_a_session_that_a_person_has_is_marked(shop: Shelf, opened: Any) -> None:
    """L4"""
    one = with_item(opened)
    services.hand_over(one.session_id, to=Actor("consumer"))
    services.report_change("item", ["mug"], "price")
    assert services.mark_stale().sessions == 1


def test_the_limit_bounds_a_run_and_the_next_one_goes_on(shop: Shelf, opened: Any) -> None:
    sessions = [with_item(opened) for _ in range(5)]
    services.report_change("item", ["mug"], "price")
    services.report_change("item", ["pot"], "price")
    assert [services.mark_stale(limit=2) for _ in range(3)] == [
        Marked(1, 2, 0, True),
        Marked(0, 2, 0, True),
        Marked(1, 1, 0, False),
    ]
    assert [len(parts(one)) for one in sessions] == [1] * 5


def test_the_changes_of_a_whole_catalogue_that_concern_nobody_are_few_queries(shop: Shelf, opened: Any) -> None:
    """X2: a nightly import."""
    one = with_item(opened)
    services.report_change("item", [*(f"sku-{number}" for number in range(3000)), "mug"], "price")
    with CaptureQueriesContext(connection) as captured:
        assert services.mark_stale() == Marked(3001, 1, 0, False)
    assert len(captured) < 30
    assert parts(one).keys() == {"item:mug"}


def test_the_changes_of_one_run_are_bounded_too(shop: Shelf, opened: Any) -> None:
    one = with_item(opened, consumer="pseudonym-1")
    services.report_change("consumer", [f"pseudonym-{number}" for number in (2, 3, 1)], "loyalty")
    assert [services.mark_stale(limit=1) for _ in range(3)] == [
        Marked(1, 0, 0, True),
        Marked(1, 0, 0, True),
        Marked(0, 1, 0, True),
    ]
    assert services.mark_stale(limit=1) == Marked(1, 0, 0, False)
    assert len(parts(one)) == 1


@pytest.mark.parametrize("limit", [0, -1, True, None])
def test_a_limit_has_to_make_sense(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.mark_stale(limit=limit)


def test_what_is_done_is_kept_for_a_day(opened: Any, clock: Any) -> None:
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    clock.shift(timedelta(days=1) - SECOND)
    services.mark_stale()
    assert StoreChange.objects.count() == 1
    clock.shift(SECOND)
    services.mark_stale()
    assert not StoreChange.objects.exists()
