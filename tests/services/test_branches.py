"""A session is forked into branches that know nothing of each other, and one of them checks out (L3)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor, Agent, Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    CheckoutElsewhere,
    NotRelated,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionNotFound,
    SessionPaused,
    TooManySessions,
    VersionNotFound,
)
from agent_sessions.models import CheckoutHandoff, Session, SessionKey
from agent_sessions.services import OpenedSession
from tests.conftest import MORNING
from tests.faults.support import at_once
from tests.services.succeeding import NOW, is_dead, renew, running, wrong
from tests.shopping import variables
from tests.store.calling import call, head, last_event, quantities, state
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
CARRIED = (
    "merchant", "consumer", "agent_name", "agent_version", "agent_operator", "agent_key", "scope", "parent_request",
    "family", "caller", "bound_to", "kind",
)  # fmt: skip


@pytest.fixture
def shopped(shop: Any, opened: Any, clock: Any) -> Any:
    """A session of the MORNING: version 2 has a mug, version 3 two, version 4 a plate besides. Five minutes later."""
    one = opened(
        consumer="pseudonym-1", parent_request="req-77", purpose="a gift", caller="c", bound_to="b",
        scope=Scope(spend_cap=50_000, currency="EUR"),
    )  # fmt: skip
    for item in ("mug", "mug", "plate"):
        call("cart.add", one, item_id=item)
    clock.shift(5 * MINUTE)
    return one


def fork(one: OpenedSession, **facts: Any) -> OpenedSession:
    return services.fork_session(one.session_id, **facts)


# Branching


def test_a_branch_begins_as_the_session_is_and_goes_its_own_way(shopped: Any) -> None:
    """L3"""
    branch = fork(shopped)
    assert state(branch) == state(shopped)
    call("cart.remove", branch, item_id="plate")
    call("cart.add", shopped, item_id="pot")
    assert (quantities(branch), quantities(shopped)) == ({"mug": 2}, {"mug": 2, "plate": 1, "pot": 1})
    was, now = (Session.objects.get(pk=one.session_id) for one in (shopped, branch))
    assert [getattr(was, name) for name in CARRIED] == [getattr(now, name) for name in CARRIED]
    assert (now.origin, now.parent, now.parent_version) == ("fork", was.pk, 4)
    assert selectors.authenticate(branch.token).session_id == branch.session_id
    assert selectors.authenticate(shopped.token).session_id == shopped.session_id
    assert selectors.private_values(branch.session_id, 1)["purpose"] == "a gift"
    assert wrong(shopped, branch) == []


@pytest.mark.parametrize(("version", "holds"), [(1, {}), (2, {"mug": 1}), (3, {"mug": 2}), (4, {"mug": 2, "plate": 1})])
def test_from_any_version(shopped: Any, version: int, holds: dict[str, int]) -> None:
    branch = fork(shopped, from_version=version)
    assert quantities(branch) == holds
    assert Session.objects.get(pk=branch.session_id).parent_version == version
    assert wrong(shopped, branch) == []


@pytest.mark.parametrize("version", [0, 5, -1, "2", 10**20])
def test_not_from_one_that_there_is_not(shopped: Any, version: Any) -> None:
    before = everything_stored()
    with pytest.raises(VersionNotFound):
        fork(shopped, from_version=version)
    assert everything_stored() == before


def test_the_session_knows_of_its_branches_but_is_not_changed(shopped: Any) -> None:
    before = head(shopped)
    branch = fork(shopped, from_version=2)
    event = last_event(shopped)
    assert (event["kind"], event["actor"]) == ("session.forked", "agent")
    assert event["params"] == {"branch": str(branch.session_id), "from_version": 2}
    assert (head(shopped).version, head(shopped).head_seq) == (before.version, before.head_seq + 1)


@pytest.mark.parametrize(("minutes", "kind"), [(30, "standard"), (10, "quote")])
def test_a_branch_does_not_outlive_the_session(opened: Any, clock: Any, minutes: int, kind: str) -> None:
    """L1: or a deadline could be moved by forking."""
    one = opened(kind=kind)
    clock.shift(5 * MINUTE)
    assert fork(one).expires_at == MORNING + minutes * MINUTE == fork(fork(one)).expires_at


def test_a_branch_outlives_the_end_of_the_session(shopped: Any) -> None:
    branch = fork(shopped)
    services.end_session(shopped.session_id)
    call("cart.add", branch, item_id="mug")
    assert quantities(branch)["mug"] == 3


def test_branches_of_branches_are_of_one_family(shopped: Any) -> None:
    branch = fork(shopped)
    twig = fork(branch, agent=Agent("Wine expert"))
    assert head(twig).family == shopped.session_id
    assert (head(twig).agent, head(branch).agent.name) == (Agent("Wine expert"), "Shopping helper")


def test_what_belongs_to_the_one_session_stays_behind(shopped: Any) -> None:
    patch = {
        **running(),
        "inventory": {"holds": {"h": {"item": "mug", "quantity": 2, "held_at": NOW}}},
        "decisions": {"approvals": {"a": {"status": "granted"}}},
        "stale": {"parts": {"item:mug": {"kind": "item", "ref": "mug", "since": NOW}}},
    }
    services.change_session(shopped.session_id, expected_version=4, patch=patch, actor=Actor("staff"))
    for version in (3, 5):
        after = state(fork(shopped, from_version=version))
        assert "holds" not in after.get("inventory", {})
        assert "steps" not in after.get("recovery", {}), "the session goes on with what it has begun"
        assert after["stale"]["parts"].keys() == {"item:mug"}, "also in a branch of an older version"
        assert after.get("decisions", {}).get("approvals", {}).get("a", {}).get("status") != "granted"


@pytest.mark.parametrize("over", ["ended", "expired"])
def test_of_what_is_over_there_are_no_branches(shopped: Any, clock: Any, over: str) -> None:
    stale = head(shopped)
    if over == "ended":
        services.end_session(shopped.session_id)
    else:
        clock.move_to(MORNING + 30 * MINUTE)
    before = everything_stored()
    for one in (shopped.session_id, stale):
        with pytest.raises(SessionEnded if over == "ended" else SessionExpired, match="Open a new session to go on"):
            services.fork_session(one)
    assert everything_stored() == before


@pytest.mark.parametrize("stop", ["paused", "held"])
@pytest.mark.parametrize("remembered", [True, False])
def test_whoever_stops_the_agent_stops_its_branching(shopped: Any, stop: str, remembered: bool) -> None:
    stale = head(shopped)
    if stop == "paused":
        services.pause_session(shopped.session_id, actor=Actor("consumer"))
    else:
        services.hand_over(shopped.session_id, to=Actor("staff"), actor=Actor("staff"))
    with pytest.raises(SessionPaused if stop == "paused" else SessionHeld):
        services.fork_session(stale if remembered else shopped.session_id)
    assert Session.objects.count() == 1


def test_branches_count(shopped: Any) -> None:
    """T7: or a caller could have any number of sessions."""
    fork(shopped, max_sessions=2)
    before = everything_stored()
    with pytest.raises(TooManySessions):
        fork(shopped, max_sessions=2)
    assert everything_stored() == before


@pytest.mark.django_db(transaction=True)
def test_half_a_branch_is_none(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R3"""
    one = opened()
    before = everything_stored()

    def failing(*args: Any, **facts: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services._opening.Opening.store", failing)
        with pytest.raises(RuntimeError):
            fork(one)
    assert everything_stored() == before


@pytest.mark.django_db(transaction=True)
def test_branching_and_changing_at_once_hold_up_neither(opened: Any) -> None:
    one = opened()
    jobs: list[Any] = [lambda: fork(one)] * 3
    jobs.append(lambda: services.change_session(one.session_id, expected_version=1, patch=variables(a=1)))
    *branches, changed = at_once(jobs)
    assert all(isinstance(result, OpenedSession) for result in branches), branches
    assert isinstance(changed, services.Committed), changed
    assert wrong(one, *branches) == []


# One checks out


@pytest.fixture
def staying(configure: Any) -> None:
    """Sessions go on after the handoff."""
    configure(END_ON_HANDOFF=False)


@pytest.mark.parametrize("ends", [True, False])
def test_while_one_checks_out_the_others_do_not(shopped: Any, configure: Any, ends: bool) -> None:
    """L3"""
    configure(END_ON_HANDOFF=ends)
    Session.objects.update(consumer="")
    branch = fork(shopped)
    call("checkout", branch)
    with pytest.raises(CheckoutElsewhere) as refused:
        call("checkout", shopped)
    assert refused.value.session_id == branch.session_id
    assert head(shopped).is_live()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", [True, False])
def test_of_four_branches_that_check_out_at_once_one_does(shop: Any, opened: Any, configure: Any, ends: bool) -> None:
    """L3: exact under a race, also where nobody knows the consumer."""
    configure(END_ON_HANDOFF=ends)
    one = opened()
    call("cart.add", one, item_id="mug")
    branches = [one, fork(one), fork(one), fork(one, from_version=2)]

    results = at_once([lambda branch=branch: call("checkout", branch) for branch in branches])

    handed = [result for result in results if isinstance(result, services.Answer)]
    assert len(handed) == 1, results
    assert all(isinstance(result, CheckoutElsewhere) for result in results if result not in handed), results
    assert CheckoutHandoff.objects.filter(closed_at__isnull=True).count() == 1
    assert wrong(*branches) == []


def order(answer: services.Answer) -> None:
    handoff = selectors.handoff_by_token(answer.data["handoff_url"].rsplit("/", 1)[1])
    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")


def test_once_one_is_ordered_no_other_ever_is(staying: None, shopped: Any) -> None:
    branch = fork(shopped)
    order(call("checkout", branch))
    with pytest.raises(CheckoutElsewhere, match="has been ordered"):
        call("checkout", shopped)
    again = renew(shopped).opened
    with pytest.raises(CheckoutElsewhere, match="has been ordered"):
        call("checkout", again)


def test_what_was_given_up_frees_the_others(staying: None, shopped: Any) -> None:
    branch = fork(shopped)
    call("checkout", branch)
    services.end_session(branch.session_id, reason=EndReason.DELETED)
    assert call("checkout", shopped).data["handoff_url"]


def test_a_renewal_takes_over_the_right_to_check_out(staying: None, shopped: Any) -> None:
    first = call("checkout", shopped)
    again = renew(shopped).opened
    second = call("checkout", again)
    order(second)
    with pytest.raises(Exception, match="session has ended"):
        order(first)


# Comparing


def test_branches_are_compared_in_the_words_of_a_shop(shopped: Any) -> None:
    branch = fork(shopped, from_version=3)
    call("cart.add", branch, item_id="pot")
    told = [one.text for one in selectors.compare_sessions(shopped.session_id, branch.session_id)]
    assert "Removed 1 × Plate" in told
    assert "Added 1 × Pot at 40.00 EUR" in told
    assert [one.text for one in selectors.compare_sessions(branch.session_id, branch.session_id)] == []


def test_only_with_what_is_of_the_family(shopped: Any, opened: Any) -> None:
    with pytest.raises(NotRelated) as refused:
        selectors.compare_sessions(shopped.session_id, opened().session_id)
    assert (refused.value.code, refused.value.status) == ("not_related", 404)
    with pytest.raises(SessionNotFound):
        selectors.compare_sessions(shopped.session_id, uuid.uuid4())


def test_the_family_is_listed_with_what_each_would_cost(shopped: Any, clock: Any) -> None:
    branch = fork(shopped, from_version=3)
    clock.shift(1)
    twig = fork(branch, from_version=1)
    call("cart.add", twig, item_id="pot")
    services.end_session(branch.session_id)
    for one in (shopped, branch, twig):
        members = selectors.family(one.session_id)
        assert [member.session_id for member in members] == [shopped.session_id, branch.session_id, twig.session_id]
    told = [(m.origin, m.parent, m.parent_version, m.status.value, m.version, m.total) for m in members]
    assert told == [
        ("", None, None, "active", 4, (3400, "EUR")),
        ("fork", shopped.session_id, 3, "ended", 2, (2500, "EUR")),
        ("fork", branch.session_id, 1, "active", 2, (6500, "EUR")),
    ]


def test_what_was_erased_is_still_of_the_family(shopped: Any) -> None:
    branch = fork(shopped)
    services.end_session(branch.session_id)
    SessionKey.objects.filter(pk=branch.session_id).delete()
    assert [member.total for member in selectors.family(shopped.session_id)] == [(3400, "EUR"), None]


def test_a_session_of_its_own_is_a_family(opened: Any) -> None:
    one, other = opened(), opened()
    assert [member.session_id for member in selectors.family(one.session_id)] == [one.session_id]
    assert [member.session_id for member in selectors.relatives(other.session_id)] == [other.session_id]


def test_an_agent_does_not_learn_what_another_makes_of_what_it_had(shopped: Any) -> None:
    """T4: whoever takes over sees what it took over; whoever had it keeps its own branches and sees nothing new."""
    early = fork(shopped)
    given = services.grant_transfer(shopped.session_id, actor=Actor("consumer"))
    taken = services.accept_transfer(given.code, agent=Agent("Wine expert")).opened
    late = fork(taken)
    assert is_dead(shopped)

    def known(one: OpenedSession) -> set[uuid.UUID]:
        return {member.session_id for member in selectors.relatives(one.session_id)}

    assert known(early) == {shopped.session_id, early.session_id}
    everything = {one.session_id for one in (shopped, early, taken, late)}
    assert known(taken) == known(late) == everything
    assert {member.session_id for member in selectors.family(early.session_id)} == everything
    selectors.compare_sessions(taken.session_id, early.session_id, as_agent=True)
    with pytest.raises(NotRelated):
        selectors.compare_sessions(early.session_id, taken.session_id, as_agent=True)
    assert selectors.compare_sessions(early.session_id, taken.session_id) == ()
