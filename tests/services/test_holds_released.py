"""What is held is let go: when it is asked for, at every end of a session, and by the job (X1, L6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import (
    HoldNotFound,
    HoldRefused,
    InvalidValue,
    KeyProblem,
    SessionEnded,
    SessionPaused,
    VersionConflict,
)
from agent_sessions.models import Hold, SessionReference
from agent_sessions.selectors import _cache
from tests.conftest import MORNING
from tests.services.holding import held, hold
from tests.services.sound import is_sound
from tests.services.succeeding import renew
from tests.shopping import variables
from tests.store.calling import call, head, last_event, state
from tests.store.shop import Shelf
from tests.stored import everything_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
STAFF = Actor("staff", "7")


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
