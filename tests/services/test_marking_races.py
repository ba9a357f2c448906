"""No change of the shop is missed or marked twice, whatever comes between the store and the job (X2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions import services
from agent_sessions.exceptions import (
    KeyProblem,
)
from agent_sessions.models import StoreChange
from agent_sessions.selectors import _cache
from agent_sessions.services import Marked, branches, documents, marking
from agent_sessions.services.marking import LEASE
from agent_sessions.store import StoreContext
from tests.conftest import SHOPPING_AGENT
from tests.faults.support import at_once
from tests.services.sound import is_sound
from tests.services.staling import parts, with_item
from tests.shopping import variables
from tests.store.calling import call, head, state
from tests.store.shop import Shelf, Shop
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


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
