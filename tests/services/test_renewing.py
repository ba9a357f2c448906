"""Before its deadline a session goes on as another one, with prices and stock validated anew (L2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.domain.identity import Actor, Scope
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import (
    InvalidValue,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionPaused,
    StepRefused,
    TooManySessions,
    VersionConflict,
)
from agent_sessions.models import Approval, Session, SessionReference
from agent_sessions.services import OpenedSession
from tests.conftest import MORNING, SHOPPING_AGENT
from tests.faults.support import at_once
from tests.services.succeeding import NOW, is_dead, make_busy, renew, running, wrong
from tests.shopping import basket, line, variables
from tests.store.calling import call, head, quantities, state
from tests.store.shop import Shop
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
CARRIED = (
    "merchant", "consumer", "agent_name", "agent_version", "agent_operator", "agent_key", "scope", "parent_request",
    "family", "caller", "bound_to",
)  # fmt: skip


@pytest.fixture
def shopped(shop: Any, opened: Any, clock: Any) -> Any:
    """A session of the MORNING with two mugs; it is five minutes later."""
    scope = Scope(("cart.add", "checkout"), 50_000, "EUR", MORNING + timedelta(days=3))
    one = opened(
        consumer="pseudonym-1", parent_request="req-77", purpose="a gift", caller="c", bound_to="somewhere", scope=scope
    )
    call("cart.add", one, item_id="mug", quantity=2)
    services.add_message(one.session_id, role="user", content="Two mugs, please")
    clock.shift(5 * MINUTE)
    return one


def test_it_goes_on_with_a_new_token_and_a_new_deadline(shopped: Any, clock: Any) -> None:
    """L2"""
    before = state(shopped)
    renewed = renew(shopped)
    opened = renewed.opened

    assert opened.session_id != shopped.session_id
    assert opened.expires_at == MORNING + 35 * MINUTE
    assert selectors.authenticate(opened.token).session_id == opened.session_id
    assert is_dead(shopped)
    assert state(opened) == before == renewed.state
    assert renewed.changes == ()
    was, now = (Session.objects.get(pk=one.session_id) for one in (shopped, opened))
    assert [getattr(was, name) for name in CARRIED] == [getattr(now, name) for name in CARRIED]
    assert (now.kind, now.version, now.status) == ("standard", 1, "active")
    assert (now.origin, now.parent, now.parent_version, now.family) == ("renewal", was.pk, 2, was.pk)
    assert selectors.private_values(opened.session_id, 1) == {"purpose": "a gift", "consumer": "pseudonym-1"}
    assert wrong(shopped, opened) == []
    call("cart.add", opened, item_id="plate")


def test_the_predecessor_ends_and_says_what_goes_on_in_its_place(shopped: Any) -> None:
    opened = renew(shopped).opened
    session = Session.objects.get(pk=shopped.session_id)
    assert (session.status, session.end_reason, session.version) == ("ended", "renewed", 3)
    end: Any = selectors.events(shopped.session_id)[-1]
    assert (end["kind"], end["actor"], end["params"]["successor"]) == ("session.ended", "agent", str(opened.session_id))
    first: Any = selectors.events(opened.session_id)[0]
    lineage = {name: first["params"][name] for name in ("origin", "parent", "parent_version", "family")}
    assert lineage == {
        "origin": "renewal", "parent": str(shopped.session_id), "parent_version": 2, "family": str(shopped.session_id),
    }  # fmt: skip
    assert verify_artifact(services.get_artifact(shopped.session_id)).ok
    with pytest.raises(SessionEnded):
        services.change_session(shopped.session_id, expected_version=3, patch=variables(a=1))


def test_prices_and_stock_are_validated_anew_and_the_answer_says_what_changed(shop: Any, shopped: Any) -> None:
    call("cart.add", shopped, item_id="pot")
    shop.prices["mug"] = 1300
    shop.stock["pot"] = 0
    shop.asked.clear()

    renewed = renew(shopped)

    assert [one.text for one in renewed.changes] == ["Mug: price 12.50 → 13.00 EUR", "Quote 65.00 → 26.00 EUR"]
    assert [(one["code"], one["line"], one["message"]) for one in renewed.problems] == [
        ("out_of_stock", "pot", "Only 0 left.")
    ]
    assert quantities(renewed.opened) == {"mug": 2, "pot": 1}, "what is gone stays until it is taken out"
    assert state(renewed.opened)["shopping"]["lines"]["mug"]["unit_price"] == 1300
    assert wrong(shopped, renewed.opened) == []


def test_the_store_is_told_for_whom(shop: Any, shopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = Shop.price

    def price(self: Any, lines: Any, vouchers: Any, *, ctx: Any) -> Any:
        asked.append(ctx.consumer)
        return real(self, lines, vouchers, ctx=ctx)

    monkeypatch.setattr(Shop, "price", price)
    renew(shopped)
    assert asked == ["pseudonym-1"]


def test_what_belongs_to_the_one_session_stays_behind(shopped: Any) -> None:
    patch = {
        "inventory": {"holds": {"h": {"item": "mug", "quantity": 2, "held_at": NOW}}},
        "decisions": {"approvals": {"a": {"status": "granted"}}},
        "stale": {
            "parts": {
                "item:mug": {"kind": "item", "ref": "mug", "since": NOW},
                "consumer:x": {"kind": "consumer", "ref": "x", "since": NOW},
            }
        },
    }
    services.change_session(shopped.session_id, expected_version=2, patch=patch, actor=Actor("staff"))
    renewed = renew(shopped)
    after = state(renewed.opened)
    assert "holds" not in after.get("inventory", {})
    assert after["decisions"]["approvals"]["a"]["status"] == "void"
    assert not after.get("stale", {}).get("parts"), "the store was just asked"
    assert renewed.changes, "and the agent is told"


def test_whoever_was_asked_is_asked_no_more(counting: Any, opened: Any) -> None:
    """L5, L6: the human is told that it is over, and nothing is bought on the strength of what they said before."""
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    make_busy(one)
    renewed = renew(one)
    assert Approval.objects.get().status == "expired"
    after = state(renewed.opened)
    assert {note["status"] for note in after["decisions"]["approvals"].values()} == {"expired"}
    assert "approval" not in after.get("checkout", {})
    assert "A human is no longer needed: approval" in [change.text for change in renewed.changes]
    assert wrong(one, renewed.opened) == []
    services.request_approval(renewed.opened.session_id, reason="The same again")
    services.end_session(renewed.opened.session_id)
    assert wrong(one, renewed.opened) == []


@pytest.mark.parametrize("tentative", [False, True])
def test_what_was_committed_stays_committed(shopped: Any, tentative: bool) -> None:
    """V6"""
    services.commit_session(shopped.session_id)
    if tentative:
        call("cart.add", shopped, item_id="plate")
    opened = renew(shopped).opened
    assert head(opened).committed_version == (0 if tentative else 1)
    assert wrong(shopped, opened) == []


def test_its_dependencies_are_known_from_the_start(shopped: Any) -> None:
    """X2"""
    opened = renew(shopped).opened
    refs = SessionReference.objects.filter(session_id=opened.session_id).values_list("ref", flat=True)
    assert set(refs) == {"item:mug"}
    left = SessionReference.objects.filter(session_id=shopped.session_id).values_list("ref", flat=True)
    assert set(left) == {"past-item:mug"}


@pytest.mark.parametrize(("kind", "minutes"), [("payment", 180), ("consumer", 24 * 60), ("quote", 10)])
def test_it_may_become_one_of_another_kind(shopped: Any, clock: Any, kind: str, minutes: int) -> None:
    """L1"""
    opened = renew(shopped, kind=kind).opened
    assert (head(opened).kind, opened.expires_at) == (kind, MORNING + (5 + minutes) * MINUTE)


def test_a_kind_that_there_is_not_is_refused(shopped: Any) -> None:
    with pytest.raises(InvalidValue, match="/kind"):
        renew(shopped, kind="forever")
    assert head(shopped).is_live()


def test_the_scope_bounds_the_new_deadline(opened: Any, clock: Any) -> None:
    one = opened(scope=Scope(expires_at=MORNING + 40 * MINUTE))
    clock.shift(20 * MINUTE)
    again = renew(one).opened
    assert again.expires_at == MORNING + 40 * MINUTE


def test_three_days_are_many_renewals(shopped: Any, clock: Any) -> None:
    one = renew(shopped, kind="consumer").opened
    for _ in range(3):
        clock.shift(timedelta(hours=20))
        one = renew(one).opened
    assert head(one).family == shopped.session_id
    assert one.expires_at == MORNING + timedelta(days=3), "as long as the scope holds"
    assert quantities(one) == {"mug": 2}
    origins = [member.origin for member in selectors.family(one.session_id)]
    assert origins == ["", "renewal", "renewal", "renewal", "renewal"]


def test_until_the_deadline_and_not_at_it(shopped: Any, clock: Any) -> None:
    clock.move_to(MORNING + 30 * MINUTE)
    before = everything_stored()
    with pytest.raises(SessionExpired):
        renew(shopped)
    assert everything_stored() == before
    clock.move_to(MORNING + 30 * MINUTE - timedelta(microseconds=1))
    assert renew(shopped).opened.expires_at > MORNING + 59 * MINUTE


def test_the_deadline_can_pass_while_the_store_thinks(
    shop: Any, shopped: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write decides, not the look before it."""
    clock.move_to(MORNING + 29 * MINUTE)
    slow_store(monkeypatch, lambda: clock.shift(2 * MINUTE))
    with pytest.raises(SessionExpired):
        renew(shopped)
    assert Session.objects.count() == 1


def slow_store(monkeypatch: pytest.MonkeyPatch, meanwhile: Any) -> list[int]:
    """Have something happen while the store is asked for the first time; returns how often it was asked."""
    real, asked = Shop.price, []

    def price(self: Any, lines: Any, vouchers: Any, *, ctx: Any) -> Any:
        quote = real(self, lines, vouchers, ctx=ctx)
        asked.append(len(lines))
        if len(asked) == 1:
            meanwhile()
        return quote

    monkeypatch.setattr(Shop, "price", price)
    return asked


def test_a_change_that_comes_between_goes_along(shopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_store(
        monkeypatch,
        lambda: services.change_session(
            shopped.session_id, expected_version=2, patch=basket(plate={**line("Plate"), "item": "plate"})
        ),
    )
    renewed = renew(shopped)
    assert quantities(renewed.opened) == {"mug": 2, "plate": 1}
    assert asked == [1, 2]
    assert head(renewed.opened).parent_request == "req-77"
    assert Session.objects.get(pk=renewed.opened.session_id).parent_version == 3
    assert Session.objects.count() == 2
    assert wrong(shopped, renewed.opened) == []


def test_but_not_where_a_version_was_named(shopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """V3"""
    with pytest.raises(VersionConflict) as refused:
        renew(shopped, expected_version=1)
    assert [change.text for change in refused.value.changes][:1] == ["Added 2 × Mug at 12.50 EUR"]
    slow_store(
        monkeypatch, lambda: services.change_session(shopped.session_id, expected_version=2, patch=variables(a=1))
    )
    with pytest.raises(VersionConflict):
        renew(shopped, expected_version=2)
    assert Session.objects.count() == 1
    assert head(shopped).is_live()


def test_what_is_only_added_meanwhile_holds_up_nothing(shopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_store(
        monkeypatch, lambda: services.add_message(shopped.session_id, role="user", content="And hurry up")
    )
    renew(shopped, expected_version=2)
    assert asked == [1]


@pytest.mark.parametrize("stop", ["paused", "held"])
@pytest.mark.parametrize("late", [False, True])
def test_whoever_stops_the_agent_stops_its_renewal(
    shopped: Any, monkeypatch: pytest.MonkeyPatch, stop: str, late: bool
) -> None:
    """Also in the very last moment: neither makes a version."""

    def stopping() -> None:
        if stop == "paused":
            services.pause_session(shopped.session_id, actor=Actor("consumer"))
        else:
            services.hand_over(shopped.session_id, to=Actor("staff"), actor=Actor("staff"))

    if late:
        slow_store(monkeypatch, stopping)
    else:
        stopping()
    with pytest.raises(SessionPaused if stop == "paused" else SessionHeld):
        renew(shopped)
    assert Session.objects.count() == 1
    assert wrong(shopped) == []


def test_no_step_is_lost_that_runs(shopped: Any) -> None:
    """R2: its outcome would have no session to be written to."""
    services.change_session(shopped.session_id, expected_version=2, patch=running())
    with pytest.raises(StepRefused) as refused:
        renew(shopped)
    assert (refused.value.status, refused.value.step) == (409, "payment")
    assert head(shopped).is_live()


def test_the_number_of_sessions_refuses_no_renewal(shop: Any, clock: Any) -> None:
    """T7: it takes the place that it leaves."""
    facts: Any = {"agent": SHOPPING_AGENT, "caller": "c", "max_sessions": 2}
    one, other = services.open_session(**facts), services.open_session(**facts)
    again = renew(one).opened
    with pytest.raises(TooManySessions):
        services.open_session(**facts)
    services.end_session(again.session_id)
    services.open_session(**facts)
    assert head(other).is_live()


def test_an_empty_cart_is_not_priced(shop: Any, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_store(monkeypatch, lambda: None)
    renew(opened(state=variables(a=1)))
    assert asked == []


def test_a_site_without_a_store_renews_too(opened: Any, configure: Any) -> None:
    configure(STORE="")
    one = opened(state=basket(l1=line()))
    assert quantities(renew(one).opened) == {"l1": 1}


def test_a_store_that_fails_costs_nothing(shop: Any, shopped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **facts: Any) -> Any:
        raise RuntimeError("the store is out of order")

    before = everything_stored()
    monkeypatch.setattr("tests.store.shop.Shop.price", broken)
    with pytest.raises(RuntimeError):
        renew(shopped)
    assert everything_stored() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["end_for_successor", "store"])
def test_half_a_renewal_is_none(shop: Any, opened: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """R3"""
    one = opened()
    call("cart.add", one, item_id="mug")
    before = everything_stored()
    place = (
        "agent_sessions.services.succession.end_for_successor"
        if step == "end_for_successor"
        else "agent_sessions.services._opening.Opening.store"
    )

    def failing(*args: Any, **facts: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(place, failing)
        with pytest.raises(RuntimeError):
            renew(one)
    assert everything_stored() == before
    assert wrong(one) == []
    assert quantities(renew(one).opened) == {"mug": 1}


@pytest.mark.django_db(transaction=True)
def test_a_renewal_that_the_database_locks_out_is_repeated_as_a_whole(
    shop: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent_sessions.services._opening import Opening

    one = opened()
    tried: list[int] = []
    real = Opening.store

    def locked_at_first(self: Any) -> Any:
        tried.append(1)
        if len(tried) == 1:
            raise OperationalError("database is locked")
        return real(self)

    monkeypatch.setattr(Opening, "store", locked_at_first)
    again = renew(one).opened
    assert (len(tried), Session.objects.count()) == (2, 2)
    assert wrong(one, again) == []


@pytest.mark.django_db(transaction=True)
def test_of_six_renewals_at_once_one_goes_on(shop: Any, opened: Any) -> None:
    """Never two successors, and never none."""
    one = opened()
    call("cart.add", one, item_id="mug")

    results = at_once([lambda: renew(one)] * 6)

    won = [result for result in results if isinstance(result, services.Renewed)]
    assert len(won) == 1, results
    assert all(isinstance(result, SessionEnded) for result in results if result not in won), results
    assert Session.objects.filter(family=one.session_id, status=Status.ACTIVE.value).count() == 1
    assert wrong(one, won[0].opened) == []


@pytest.mark.django_db(transaction=True)
def test_between_a_renewal_and_changes_none_is_lost_that_was_acknowledged(shop: Any, opened: Any) -> None:
    """R3: what the agent was told is stored is in the successor."""
    one = opened()
    jobs: list[Any] = [lambda: renew(one)]
    jobs += [lambda: call("cart.add", one, item_id="plate")] * 5

    renewed, *added = at_once(jobs)

    assert isinstance(renewed, services.Renewed), renewed
    acknowledged = [result for result in added if isinstance(result, services.Answer)]
    assert all(isinstance(result, SessionEnded) for result in added if result not in acknowledged), added
    assert quantities(renewed.opened) == ({"plate": len(acknowledged)} if acknowledged else {})
    assert wrong(one, renewed.opened) == []


def test_the_conversation_of_the_past_stays_where_it_was(shopped: Any) -> None:
    opened: OpenedSession = renew(shopped).opened
    assert selectors.messages(opened.session_id) == []
    assert [turn.content for turn in selectors.messages(shopped.session_id)] == ["Two mugs, please"]
    assert [one.session_id for one in selectors.ancestors(head(opened))] == [shopped.session_id]
