"""Paused, a session is not changed by anybody; resumed, it goes on exactly where it was (L3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import (
    InvalidValue,
    NotPaused,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionPaused,
    VersionConflict,
)
from agent_sessions.models import Session
from tests.conftest import MORNING
from tests.faults.support import at_once, half_done
from tests.shopping import basket, line, variables
from tests.store.calling import call, head, last_event
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

CONSUMER, STAFF = Actor("consumer"), Actor("staff", "17")


@pytest.fixture
def one(opened: Callable[..., Any], clock: Any) -> Any:
    """A session at version 2, opened in the MORNING."""
    session = opened()
    services.change_session(session.session_id, expected_version=1, patch=basket(l1=line()))
    return session


def test_it_goes_on_exactly_where_it_was(one: Any, clock: Any) -> None:
    """L3: what was based on the version before the pause is based on the current one after it."""
    before = selectors.current_state(one.session_id)
    services.pause_session(one.session_id, reason="The consumer is on the train")
    clock.shift(600)
    services.resume_session(one.session_id)

    assert selectors.current_state(one.session_id) == before
    now = head(one)
    assert (now.status, now.paused_at, now.version) == (Status.ACTIVE, None, 2)
    assert services.change_session(one.session_id, expected_version=2, patch=variables(a=1)).version == 3
    assert half_done(one.session_id) == []


def test_a_pause_stands_in_the_history_and_its_reason_is_sealed(one: Any) -> None:
    made = services.pause_session(one.session_id, reason="The consumer is on the train", actor=CONSUMER)
    event = last_event(one)
    assert (event["kind"], event["actor"], event["seq"]) == ("session.paused", "consumer", made.seq)
    assert event["params"] == {"paused_at": "2026-03-02T10:00:00.000000Z"}
    assert selectors.private_values(one.session_id, made.seq) == {"note": "The consumer is on the train"}
    assert not is_stored("on the train")
    assert (head(one).status, head(one).paused_at) == (Status.PAUSED, MORNING)
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("actor", [AGENT, SYSTEM, CONSUMER, STAFF])
@pytest.mark.parametrize("remembered", [True, False])
def test_nobody_changes_it(one: Any, actor: Actor, remembered: bool) -> None:
    """Whether or not the writer remembers it as it was before."""
    stale = head(one)
    services.pause_session(one.session_id)
    before = everything_stored()
    with pytest.raises(SessionPaused) as refused:
        services.change_session(
            stale if remembered else one.session_id, expected_version=2, patch=variables(a=1), actor=actor
        )
    assert (refused.value.code, refused.value.status) == ("session_paused", 409)
    assert everything_stored() == before


def test_capabilities_that_change_are_refused_and_those_that_read_answer(shop: Any, one: Any) -> None:
    services.pause_session(one.session_id)
    with pytest.raises(SessionPaused):
        call("cart.add", one, item_id="mug")
    refusal = last_event(one)
    assert (refusal["kind"], refusal["params"], refusal["response_status"]) == (
        "capability.refused", {"code": "session_paused"}, 409,
    )  # fmt: skip
    assert call("cart.view", one).data["cart_size"] == 1
    assert head(one).version == 2
    assert half_done(one.session_id) == []


def test_what_is_said_is_still_added(one: Any) -> None:
    services.pause_session(one.session_id)
    services.add_message(one.session_id, role="user", content="I am back in ten minutes")
    services.record_event(one.session_id, kind="cart.viewed")
    assert [turn.content for turn in selectors.messages(one.session_id)] == ["I am back in ten minutes"]
    assert half_done(one.session_id) == []


def test_its_deadline_goes_on(one: Any, clock: Any) -> None:
    """L1: hard, whatever the session does."""
    services.pause_session(one.session_id)
    assert head(one).expires_at == MORNING + timedelta(minutes=30)
    clock.move_to(MORNING + timedelta(minutes=30))
    with pytest.raises(SessionExpired):
        services.resume_session(one.session_id)
    assert services.expire_sessions().ended == 1
    assert (head(one).end_reason, head(one).ended_at) == ("expired", MORNING + timedelta(minutes=30))
    assert services.get_artifact(one.session_id)
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("reason", [EndReason.DELETED, EndReason.COMPLETED, EndReason.REVOKED])
def test_it_can_be_ended(one: Any, reason: EndReason) -> None:
    services.pause_session(one.session_id)
    services.end_session(one.session_id, reason=reason)
    assert (head(one).status, head(one).end_reason) == (Status.ENDED, reason.value)
    with pytest.raises(SessionEnded):
        services.resume_session(one.session_id)
    assert half_done(one.session_id) == []


def test_twice_is_told(one: Any) -> None:
    services.pause_session(one.session_id)
    with pytest.raises(SessionPaused, match="Resume it"):
        services.pause_session(one.session_id)
    services.resume_session(one.session_id)
    with pytest.raises(NotPaused) as refused:
        services.resume_session(one.session_id)
    assert (refused.value.code, refused.value.status) == ("not_paused", 409)


@pytest.mark.parametrize("pausing", [CONSUMER, STAFF])
@pytest.mark.parametrize("resuming", [CONSUMER, STAFF])
def test_what_a_person_has_paused_a_person_resumes(one: Any, pausing: Actor, resuming: Actor) -> None:
    services.pause_session(one.session_id, actor=pausing)
    with pytest.raises(SessionPaused, match=rf"by a person \({pausing.kind}\)") as refused:
        services.resume_session(one.session_id)
    assert "staff:17" not in refused.value.message, "which of the staff is nobody's business"
    services.resume_session(one.session_id, actor=resuming)
    assert head(one).status is Status.ACTIVE
    # The last pause counts.
    services.pause_session(one.session_id)
    services.resume_session(one.session_id)
    assert half_done(one.session_id) == []


def test_a_person_resumes_what_the_agent_has_paused(one: Any) -> None:
    services.pause_session(one.session_id)
    services.resume_session(one.session_id, actor=CONSUMER)
    assert head(one).status is Status.ACTIVE


def test_an_agent_neither_pauses_nor_resumes_what_a_person_has(one: Any) -> None:
    services.pause_session(one.session_id)
    services.hand_over(one.session_id, to=STAFF, actor=STAFF)
    with pytest.raises(SessionHeld):
        services.resume_session(one.session_id)
    services.resume_session(one.session_id, actor=STAFF)
    with pytest.raises(SessionHeld):
        services.pause_session(one.session_id)
    services.pause_session(one.session_id, actor=STAFF)
    assert half_done(one.session_id) == []


def test_only_of_the_version_that_was_named(one: Any) -> None:
    """V3"""
    with pytest.raises(VersionConflict):
        services.pause_session(one.session_id, expected_version=1)
    services.pause_session(one.session_id, expected_version=2)
    with pytest.raises(VersionConflict):
        services.resume_session(one.session_id, expected_version=3)
    services.resume_session(one.session_id, expected_version=2)


@pytest.mark.parametrize("reason", ["x" * 1001, 7, None, "a\0b"])
def test_a_reason_that_cannot_be_kept_is_refused(one: Any, reason: Any) -> None:
    before = everything_stored()
    with pytest.raises(InvalidValue):
        services.pause_session(one.session_id, reason=reason)
    assert everything_stored() == before


@pytest.mark.django_db(transaction=True)
def test_of_four_that_pause_at_once_one_does_and_no_change_slips_in(opened: Any) -> None:
    one = opened()
    jobs: list[Any] = [lambda: services.pause_session(one.session_id)] * 4
    jobs += [lambda: services.change_session(one.session_id, expected_version=1, patch=variables(a=1))]

    results = at_once(jobs)

    paused = [result for result in results[:4] if isinstance(result, services.Committed)]
    assert len(paused) == 1, results
    assert all(isinstance(result, SessionPaused) for result in results[:4] if result not in paused), results
    changed = results[4]
    assert isinstance(changed, SessionPaused) or changed.seq < paused[0].seq
    assert Session.objects.get(pk=one.session_id).status == "paused"
    assert half_done(one.session_id) == []
