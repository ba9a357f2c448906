"""Another agent takes a session over: only because a person allowed it, once, within minutes (T4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor, Agent, Scope
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import (
    ActorRefused,
    InvalidValue,
    SessionEnded,
    SessionHeld,
    StepRefused,
    TooManySessions,
    TransferRefused,
)
from agent_sessions.models import Session, TransferGrant
from agent_sessions.services import transfers
from tests.conftest import MORNING
from tests.faults.support import at_once
from tests.services.succeeding import NOW, is_dead, make_busy, renew, running, wrong
from tests.shopping import variables
from tests.store.calling import call, head, quantities, state
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
CONSUMER, STAFF = Actor("consumer"), Actor("staff", "17")
SPECIALIST = Agent("Wine expert", "3.0", "Cellar Ltd", "ed25519:k2")


@pytest.fixture
def shopped(shop: Any, opened: Any, clock: Any) -> Any:
    """A session of the MORNING with two mugs; it is five minutes later."""
    one = opened(
        consumer="pseudonym-1", parent_request="req-77", purpose="a gift", caller="c1", bound_to="b1",
        kind="quote", scope=Scope(("cart.add",)),
    )  # fmt: skip
    call("cart.add", one, item_id="mug", quantity=2)
    clock.shift(5 * MINUTE)
    return one


def grant(one: Any, actor: Actor = CONSUMER) -> services.Grant:
    return services.grant_transfer(one.session_id, actor=actor)


def accept(code: str, agent: Agent = SPECIALIST, **facts: Any) -> services.Transferred:
    return services.accept_transfer(code, agent=agent, **facts)


# How it goes


def test_the_second_agent_gets_the_session_and_the_first_is_out(shopped: Any, clock: Any) -> None:
    """T4: the same state, consumer, scope, merchant and deadline; a new owner and a new token."""
    before = state(shopped)
    given = grant(shopped)
    clock.shift(MINUTE)
    transferred = accept(given.code, caller="c2", bound_to="b2", max_sessions=3)
    opened = transferred.opened

    assert transferred.predecessor == shopped.session_id
    assert selectors.authenticate(opened.token).agent == SPECIALIST
    assert is_dead(shopped)
    assert state(opened) == before
    assert opened.expires_at == MORNING + 10 * MINUTE, "a deadline is hard"
    now = Session.objects.get(pk=opened.session_id)
    assert (now.kind, now.consumer, now.parent_request, now.scope) == (
        "quote", "pseudonym-1", "req-77", {"capabilities": ["cart.add"]},
    )  # fmt: skip
    assert (now.caller, now.bound_to) == ("c2", "b2")
    assert (now.origin, now.parent, now.parent_version, now.family) == (
        "transfer", shopped.session_id, 2, shopped.session_id,
    )  # fmt: skip
    was = Session.objects.get(pk=shopped.session_id)
    assert (was.status, was.end_reason) == ("ended", "transferred")
    assert wrong(shopped, opened) == []
    call("cart.add", opened, item_id="plate")


def test_the_history_says_who_allowed_it(shopped: Any) -> None:
    opened = accept(grant(shopped, STAFF).code).opened
    granted, ended = (event for event in selectors.events(shopped.session_id) if event["seq"] > 2)  # type: ignore[index,call-overload,operator]
    assert (granted["kind"], granted["actor"]) == ("transfer.granted", "staff:17")  # type: ignore[index,call-overload]
    assert granted["params"] == {"expires_at": "2026-03-02T10:10:00.000000Z"}  # type: ignore[index,call-overload]
    assert (ended["kind"], ended["actor"]) == ("session.ended", "staff:17")  # type: ignore[index,call-overload]
    assert ended["params"]["successor"] == str(opened.session_id)  # type: ignore[index,call-overload]


def test_the_code_is_stored_as_a_digest_only(shopped: Any) -> None:
    code = grant(shopped).code
    assert len(code) >= 43
    assert not is_stored(code)


def test_to_a_specialist_and_back(shop: Any, shopped: Any) -> None:
    """Back again is a second transfer, which the consumer allows too."""
    specialist = accept(grant(shopped).code).opened
    call("cart.add", specialist, item_id="plate")
    with pytest.raises(TransferRefused):
        accept("anything", agent=Agent("Shopping helper"))
    back = accept(grant(specialist).code, agent=Agent("Shopping helper")).opened
    assert quantities(back) == {"mug": 2, "plate": 1}
    assert [one.origin for one in selectors.family(back.session_id)] == ["", "transfer", "transfer"]
    assert is_dead(specialist)
    assert wrong(shopped, specialist, back) == []


# Who may allow it


@pytest.mark.parametrize("actor", [AGENT, Actor("agent", "consumer"), SYSTEM])
def test_no_agent_allows_it_itself(shopped: Any, actor: Actor) -> None:
    before = everything_stored()
    with pytest.raises(ActorRefused) as refused:
        grant(shopped, actor)
    assert (refused.value.code, refused.value.status) == ("actor_refused", 403)
    assert everything_stored() == before


@pytest.mark.parametrize(
    ("held_by", "granting", "may"),
    [(CONSUMER, CONSUMER, True), (CONSUMER, STAFF, True), (STAFF, STAFF, True), (STAFF, CONSUMER, False)],
)
def test_while_a_person_has_it_they_allow_it(shopped: Any, held_by: Actor, granting: Actor, may: bool) -> None:
    services.hand_over(shopped.session_id, to=held_by)
    if not may:
        with pytest.raises(SessionHeld):
            grant(shopped, granting)
        return
    opened = accept(grant(shopped, granting).code).opened
    assert head(opened).held_by == "", "the new agent goes on"
    assert wrong(shopped, opened) == []


def test_of_what_has_ended_nothing_is_allowed(shopped: Any, clock: Any) -> None:
    services.end_session(shopped.session_id)
    with pytest.raises(SessionEnded):
        grant(shopped)


# What is refused, and that all of it looks the same


def refusals(code: str, **facts: Any) -> tuple[str, dict[str, object]]:
    with pytest.raises(TransferRefused) as refused:
        accept(code, **facts)
    assert (refused.value.code, refused.value.status) == ("transfer_refused", 403)
    return refused.value.message, refused.value.details


def test_every_refusal_is_the_same(shopped: Any, opened: Any, clock: Any) -> None:
    """No oracle: whoever tries learns nothing of what was wrong, and what to do next."""
    used = grant(shopped)
    specialist = accept(used.code).opened
    replaced = grant(specialist)
    late = grant(specialist)
    told = [
        refusals("never made"),
        refusals(""),
        refusals("ü\0\ud800"),
        refusals(used.code),
        refusals(replaced.code),
        refusals(late.code, consumer="pseudonym-2"),
    ]
    clock.shift(5 * MINUTE - timedelta(microseconds=1))
    other = opened()
    of_ended = grant(other)
    services.end_session(other.session_id)
    told.append(refusals(of_ended.code))
    clock.shift(timedelta(microseconds=1))
    told.append(refusals(late.code))
    assert len(set(map(repr, told))) == 1, told
    assert "Ask the consumer for a new one" in told[0][0]


def test_it_is_good_until_its_time_is_over(shopped: Any, clock: Any, configure: Any) -> None:
    configure(TRANSFER_GRANT_TTL=60)
    given = grant(shopped)
    assert given.expires_at == MORNING + 6 * MINUTE
    clock.move_to(given.expires_at - timedelta(microseconds=1))
    assert accept(given.code)


def test_its_time_can_pass_while_it_is_used(shopped: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write decides, not the look before it."""
    real = transfers.prepare_from

    def slow(*args: Any, **facts: Any) -> Any:
        clock.move_to(given.expires_at)
        return real(*args, **{**facts, "until": None})

    given = grant(shopped)
    monkeypatch.setattr(transfers, "prepare_from", slow)
    Session.objects.update(expires_at=MORNING + 60 * MINUTE)
    refusals(given.code)
    assert Session.objects.count() == 1


def test_an_old_code_tells_nothing_of_its_session(shopped: Any, clock: Any, configure: Any) -> None:
    configure(TRANSFER_GRANT_TTL=60)
    given = grant(shopped)
    services.change_session(shopped.session_id, expected_version=2, patch=running())
    clock.shift(MINUTE)
    refusals(given.code)


def test_the_consumer_has_to_be_the_sessions_own(shopped: Any) -> None:
    given = grant(shopped)
    refusals(given.code, consumer="pseudonym-2")
    assert accept(given.code, consumer="pseudonym-1")


def test_a_session_that_expired_is_not_taken_over(shopped: Any, clock: Any) -> None:
    given = grant(shopped)
    clock.move_to(MORNING + 10 * MINUTE)
    refusals(given.code)


def test_nor_one_that_was_renewed_meanwhile(shopped: Any) -> None:
    given = grant(shopped)
    renew(shopped)
    refusals(given.code)


def test_nor_one_that_is_damaged(shopped: Any) -> None:
    given = grant(shopped)
    Session.objects.filter(pk=shopped.session_id).update(status=Status.QUARANTINED.value)
    refusals(given.code)


@pytest.mark.parametrize("how", ["paused", "taken over"])
def test_whoever_stops_the_agent_withdraws_what_was_allowed(shopped: Any, how: str) -> None:
    given = grant(shopped)
    if how == "paused":
        services.pause_session(shopped.session_id, actor=STAFF)
    else:
        services.hand_over(shopped.session_id, to=STAFF, actor=STAFF)
    refusals(given.code)
    assert not TransferGrant.objects.exists()
    assert head(shopped).is_live()


@pytest.mark.parametrize("how", ["paused", "handed over"])
def test_the_agent_does_not_withdraw_it(shopped: Any, how: str) -> None:
    given = grant(shopped)
    if how == "paused":
        services.pause_session(shopped.session_id)
    else:
        services.hand_over(shopped.session_id, to=CONSUMER)
    opened = accept(given.code).opened
    assert (head(opened).status, head(opened).held_by) == (Status.ACTIVE, "")
    assert wrong(shopped, opened) == []


def test_what_the_staff_has_is_not_taken_from_them(shopped: Any) -> None:
    given = grant(shopped)
    services.hand_over(shopped.session_id, to=Actor("staff"))
    refusals(given.code)
    services.take_back(shopped.session_id, actor=AGENT)
    assert accept(given.code)


# What keeps the code good


def test_a_step_that_runs_is_waited_for(shopped: Any) -> None:
    given = grant(shopped)
    services.change_session(shopped.session_id, expected_version=2, patch=running())
    with pytest.raises(StepRefused):
        accept(given.code)
    services.change_session(
        shopped.session_id, expected_version=3, patch={"recovery": {"steps": {"payment": {"outcome": "failed"}}}}
    )
    assert accept(given.code)


def test_an_agent_with_too_many_sessions_can_come_again(shopped: Any, opened: Any) -> None:
    """T7"""
    other = opened(caller="c2")
    given = grant(shopped)
    before = everything_stored()
    with pytest.raises(TooManySessions):
        accept(given.code, caller="c2", max_sessions=1)
    assert everything_stored() == before
    services.end_session(other.session_id)
    assert accept(given.code, caller="c2", max_sessions=1)


def test_the_same_caller_takes_the_place_that_it_leaves(shopped: Any) -> None:
    """T7: from one device to another of the same agent."""
    assert accept(grant(shopped).code, caller="c1", max_sessions=1)


def test_an_agent_that_cannot_be_is_refused(shopped: Any) -> None:
    given = grant(shopped)
    with pytest.raises(InvalidValue):
        accept(given.code, bound_to="b", agent=Agent("x" * 201))
    assert accept(given.code)


def test_what_belongs_to_the_one_session_stays_behind(shopped: Any) -> None:
    patch = {"inventory": {"holds": {"h": {"item": "mug", "quantity": 2, "held_at": NOW}}}, "agent": {"a": 1}}
    services.change_session(shopped.session_id, expected_version=2, patch=patch)
    after = state(accept(grant(shopped).code).opened)
    assert "holds" not in after.get("inventory", {})
    assert after["agent"] == {"a": 1}


@pytest.mark.parametrize("standing", ["", "paused", "held"])
def test_whatever_it_was_doing_it_goes_on_cleanly(counting: Any, opened: Any, standing: str) -> None:
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    given = grant(one)
    make_busy(one)
    if standing == "paused":
        services.pause_session(one.session_id)
    elif standing == "held":
        services.hand_over(one.session_id, to=CONSUMER)
    taken = accept(given.code).opened
    assert (head(taken).status, head(taken).held_by, head(taken).committed_version) == (Status.ACTIVE, "", 1)
    call("cart.add", taken, item_id="plate")
    services.request_approval(taken.session_id, reason="The same again")
    assert wrong(one, taken) == []


# Races and halves


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["end_for_successor", "store", "use"])
def test_half_a_transfer_is_none(shop: Any, opened: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """R3"""
    one = opened()
    given = grant(one)
    before = everything_stored()
    places = {
        "end_for_successor": "agent_sessions.services.succession.end_for_successor",
        "store": "agent_sessions.services._opening.Opening.store",
        "use": "django.db.models.query.QuerySet.update",
    }

    def failing(*args: Any, **facts: Any) -> Any:
        raise OperationalError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(places[step], failing)
        with pytest.raises(OperationalError):
            accept(given.code)
    assert everything_stored() == before
    assert wrong(one) == []
    assert accept(given.code)


@pytest.mark.django_db(transaction=True)
def test_of_six_agents_with_one_code_one_gets_the_session(opened: Any) -> None:
    """T4: exact under a race."""
    one = opened()
    given = grant(one)

    results = at_once([lambda n=n: accept(given.code, Agent(f"agent {n}")) for n in range(6)])

    won = [result for result in results if isinstance(result, services.Transferred)]
    assert len(won) == 1, results
    assert all(isinstance(result, TransferRefused) for result in results if result not in won), results
    assert Session.objects.filter(status=Status.ACTIVE.value).count() == 1
    assert wrong(one, won[0].opened) == []


@pytest.mark.django_db(transaction=True)
def test_the_first_agent_either_changed_it_before_or_not_at_all(opened: Any) -> None:
    """No acknowledged change is lost, and none comes after."""
    for _ in range(3):
        one = opened()
        given = grant(one)
        changed, transferred = at_once(
            [
                lambda one=one: services.change_session(one.session_id, expected_version=1, patch=variables(a=1)),
                lambda given=given: accept(given.code),
            ]
        )
        assert isinstance(transferred, services.Transferred), transferred
        after = state(transferred.opened).get("agent", {})
        assert after == ({"a": 1} if isinstance(changed, services.Committed) else {}), changed
        assert wrong(one, transferred.opened) == []


@pytest.mark.django_db(transaction=True)
def test_of_grants_made_at_once_the_last_is_good(opened: Any) -> None:
    one = opened()
    results = at_once([lambda: grant(one)] * 4)
    assert all(isinstance(result, services.Grant) for result in results), results
    assert TransferGrant.objects.filter(used_at__isnull=True).count() == 1
    taken = at_once([lambda given=given: accept(given.code) for given in results])
    assert [type(result) for result in taken].count(services.Transferred) == 1, taken
