"""What changes in the shop is carried into the sessions that depend on it, and into no others (X2)."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.exceptions import (
    CartProblem,
    InvalidValue,
    KeyProblem,
    NoStore,
    SessionEnded,
    SessionPaused,
    StaleCart,
    VersionConflict,
)
from agent_sessions.models import Session, SessionVersion, StoreChange
from agent_sessions.selectors import _cache
from agent_sessions.services import Marked, branches, documents, marking
from agent_sessions.services.marking import LEASE
from agent_sessions.services.staleness import connect_failures, connect_store
from agent_sessions.store import CapabilityCall, Outcome, StoreContext, repriced
from agent_sessions.store.cart import SessionCart
from agent_sessions.store.offer import offer
from tests.conftest import MORNING, SHOPPING_AGENT
from tests.faults.support import at_once
from tests.shopping import variables
from tests.store.calling import call, head, last_event, state
from tests.store.shop import Shelf, Shop
from tests.tampering import Tamper
from tests.test_checks import findings

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def parts(session: Any) -> dict[str, Any]:
    found: dict[str, Any] = state(session).get("stale", {}).get("parts", {})
    return found


def with_item(opened: Any, item: str = "mug", **facts: Any) -> Any:
    one = opened(**facts)
    call("cart.add", one, item_id=item)
    return one


def is_sound(*sessions: Any) -> None:
    for one in sessions:
        assert selectors.verify_session(one.session_id).problems == []


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


# Stopped, twice at once, and failing


class Killed(BaseException):
    pass


def test_a_run_that_is_killed_is_gone_on_with_where_it_stopped(
    shop: Shelf, opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: once its claim is over; what is marked is not marked twice."""
    sessions = sorted((with_item(opened) for _ in range(4)), key=lambda one: one.session_id)
    services.report_change("item", ["mug"], "price")
    real, seen = marking._mark, []

    def dying(session_id: Any, changes: Any) -> bool:
        if len(seen) == 2:
            raise Killed
        seen.append(session_id)
        return real(session_id, changes)

    with monkeypatch.context() as patched:
        patched.setattr(marking, "_mark", dying)
        with pytest.raises(Killed):
            services.mark_stale()
    assert [len(parts(one)) for one in sessions] == [1, 1, 0, 0]

    assert services.mark_stale() == Marked(0, 0, 0, False), "another run may still be at it"
    clock.shift(LEASE)
    assert services.mark_stale() == Marked(1, 2, 0, False)
    assert [len(parts(one)) for one in sessions] == [1] * 4
    assert [head(one).version for one in sessions] == [3] * 4
    is_sound(*sessions)


def test_a_claim_from_a_clock_that_was_set_back_keeps_nobody_waiting(shop: Shelf, opened: Any, clock: Any) -> None:
    one = with_item(opened)
    services.report_change("item", ["mug"], "price")
    StoreChange.objects.update(claimed_until=timezone.now() + timedelta(days=300))
    assert services.mark_stale().sessions == 1
    assert len(parts(one)) == 1


def test_a_run_whose_claim_was_taken_over_stops(
    shop: Shelf, opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = with_item(opened)
    services.report_change("item", ["mug"], "price")
    real = marking._mark
    inner: list[Marked] = []

    def slow(session_id: Any, changes: Any) -> bool:
        if not inner:
            clock.shift(LEASE + SECOND)
            inner.append(Marked(0, 0, 0, False))
            inner.append(services.mark_stale())
        return real(session_id, changes)

    monkeypatch.setattr(marking, "_mark", slow)
    assert services.mark_stale() == Marked(0, 0, 0, False)
    assert inner[-1] == Marked(1, 1, 0, False)
    assert head(one).version == 3


@pytest.mark.django_db(transaction=True)
def test_runs_at_once_mark_each_session_once(shop: Shelf, opened: Any) -> None:
    sessions = [with_item(opened) for _ in range(6)]
    for what in ("price", "stock"):
        services.report_change("item", ["mug"], what)
    results = at_once([services.mark_stale] * 3)
    assert all(isinstance(one, Marked) for one in results), results
    services.mark_stale()
    assert [parts(one)["item:mug"]["what"] for one in sessions] == ["price, stock"] * 6
    assert not StoreChange.objects.filter(done_at__isnull=True).exists()
    is_sound(*sessions)


def test_what_could_not_be_marked_is_tried_again_and_holds_up_no_other(
    shop: Shelf, opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R5, X2: a key service that is out of reach loses no change."""
    one, two = with_item(opened), with_item(opened)
    services.report_change("item", ["mug"], "price")
    real = marking._mark_once

    def failing(session_id: Any, changes: Any) -> bool:
        if session_id == one.session_id:
            raise KeyProblem("out of reach")
        return real(session_id, changes)

    with monkeypatch.context() as patched:
        patched.setattr(marking, "_mark_once", failing)
        assert services.mark_stale() == Marked(1, 1, 1, False)
    assert str(one.session_id) in caplog.text
    assert (len(parts(one)), len(parts(two))) == (0, 1)
    assert services.mark_stale().changes == 0, "not at once"
    clock.shift(LEASE)
    assert services.mark_stale() == Marked(1, 1, 0, False)
    assert len(parts(one)) == 1


def test_a_session_that_is_damaged_or_full_holds_up_no_other(shop: Shelf, opened: Any, configure: Any) -> None:
    """R5"""
    damaged, full, good = with_item(opened), with_item(opened), with_item(opened)
    Tamper(damaged.session_id).version(2, patch=b"altered")
    _cache.local.clear()
    services.change_session(full.session_id, expected_version=2, patch=variables(a="x" * 5000))
    services.report_change("item", ["mug"], "price")
    configure(MAX_STATE_BYTES=5000)
    assert services.mark_stale() == Marked(1, 1, 0, False)
    assert len(parts(good)) == 1


# Between the store and the job


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_reported_and_carried_while_an_item_is_added_is_not_missed(
    shop: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: the price was read before, the job came by, and only then did the session depend on the item."""
    one = opened()
    real = Shop.price

    def overtaken(self: Any, lines: Any, vouchers: Any, *, ctx: StoreContext) -> Any:
        quote = real(self, lines, vouchers, ctx=ctx)
        if not StoreChange.objects.exists():
            shop.prices["mug"] += 100
            services.report_change("item", ["mug"], "price")
            assert services.mark_stale() == Marked(1, 0, 0, False)
        return quote

    monkeypatch.setattr(Shop, "price", overtaken)
    call("cart.add", one, item_id="mug")
    assert parts(one).keys() == {"item:mug"}
    is_sound(one)


def test_what_is_taken_out_while_the_job_looks_is_not_marked(
    shop: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: a mark is of the state that was looked at."""
    one = with_item(opened)
    services.report_change("item", ["mug"], "price")
    real = marking._new_parts

    def overtaken(*args: Any) -> Any:
        found = real(*args)
        if head(one).version == 2:
            call("cart.remove", one, item_id="mug")
        return found

    monkeypatch.setattr(marking, "_new_parts", overtaken)
    assert services.mark_stale() == Marked(1, 0, 0, False)
    assert parts(one) == {}


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_carried_while_a_branch_is_made_is_not_missed(
    shop: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2, L3: the parent was marked after its state was read and before the branch was there."""
    one = with_item(opened)
    real = branches.prepare_from

    def overtaken(*args: Any, **facts: Any) -> Any:
        services.report_change("item", ["mug"], "price")
        assert services.mark_stale() == Marked(1, 1, 0, False)
        return real(*args, **facts)

    monkeypatch.setattr(branches, "prepare_from", overtaken)
    branch = services.fork_session(one.session_id)
    assert parts(branch).keys() == parts(one).keys() == {"item:mug"}
    is_sound(one, branch)


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_carried_while_a_document_is_taken_over_is_not_missed(
    shop: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2, C3"""
    document = services.export_state(with_item(opened).session_id)
    real = documents.open_session

    def overtaken(**facts: Any) -> Any:
        services.report_change("item", ["mug"], "price")
        services.mark_stale()
        return real(**facts)

    monkeypatch.setattr(documents, "open_session", overtaken)
    imported = services.import_state(document, agent=SHOPPING_AGENT, ctx=StoreContext())
    assert parts(imported.opened).keys() == {"item:mug"}


@pytest.mark.django_db(transaction=True)
def test_who_adds_an_item_after_its_change_was_dealt_with_has_read_it_fresh(
    shop: Shelf, opened: Any, clock: Any
) -> None:
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    clock.shift(SECOND)
    one = with_item(opened)
    services.mark_stale()
    assert parts(one) == {}


def test_a_mark_that_comes_between_has_the_store_asked_again(
    shop: Shelf, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: prices that were read before the mark never clear it."""
    one = with_item(opened)
    real = Shop.price

    def overtaken(self: Any, lines: Any, vouchers: Any, *, ctx: StoreContext) -> Any:
        quote = real(self, lines, vouchers, ctx=ctx)
        if not StoreChange.objects.exists():
            shop.prices["mug"] += 100
            services.report_change("item", ["mug"], "price")
            services.mark_stale()
        return quote

    monkeypatch.setattr(Shop, "price", overtaken)
    call("cart.add", one, item_id="plate")
    assert parts(one) == {}
    assert state(one)["shopping"]["lines"]["mug"]["unit_price"] == 1350


# Checkout and validating again


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


# Connecting a store


class Reporting(Shop):
    emit: Any = None

    def connect(self, emit: Any) -> None:
        type(self).emit = emit


class Failing(Shop):
    def connect(self, emit: Any) -> None:
        raise RuntimeError("the password is hunter2")


class Reading(Shop):
    def connect(self, emit: Any) -> None:
        StoreChange.objects.count()


def test_a_store_that_can_is_given_what_to_report_with(shop: Shelf, opened: Any, configure: Any) -> None:
    """X2: and connecting asks no database."""
    configure(STORE=f"{__name__}.Reporting")
    with CaptureQueriesContext(connection) as captured:
        connect_store()
    assert len(captured) == 0
    one = with_item(opened)
    Reporting.emit("item", ["mug"], "price")
    services.mark_stale()
    assert len(parts(one)) == 1


@pytest.mark.parametrize("store", ["", "tests.store.shop.Shop", "nowhere.Store"])
def test_a_store_that_cannot_report_or_be_made_keeps_nobody_from_starting(configure: Any, store: str) -> None:
    configure(STORE=store)
    connect_store()
    assert connect_failures == {}


def test_a_connect_that_fails_is_told_by_a_system_check(
    configure: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O3"""
    monkeypatch.setattr("agent_sessions.services.staleness.connect_failures", {})
    path = f"{__name__}.Failing"
    configure(STORE=path, SITE="https://shop.example")
    assert findings() == []
    connect_store()
    (finding,) = findings()
    assert (finding.id, finding.is_serious()) == ("agent_sessions.E014", True)
    assert "RuntimeError" in finding.msg
    assert "hunter2" not in f"{finding.msg}{finding.hint}{caplog.text}"
