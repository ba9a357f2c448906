"""However a session ends, it ends once, for good, and with its artifact sealed (L1, L6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import InvalidValue, SessionEnded, SessionExpired
from agent_sessions.models import Artifact
from tests.conftest import MORNING
from tests.shopping import variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def end_facts(session_id: Any) -> dict[str, Any]:
    """What the last event says of the end."""
    last = selectors.events(session_id)[-1]
    assert last["kind"] == "session.ended"
    facts: dict[str, Any] = last["params"]
    return facts


@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.DELETED, EndReason.REVOKED])
def test_an_end_is_recorded_and_sealed(opened: Any, clock: Any, reason: EndReason) -> None:
    """L6: by whatever reason somebody ends it."""
    one = opened(state=variables(a=1))
    clock.move_to(MORNING + 5 * MINUTE)

    made = services.end_session(one.session_id, reason=reason, actor=Actor("staff", "7"), call=Call("session.end"))

    session = selectors.get_session(one.session_id)
    assert (session.status, session.end_reason, session.ended_at) == ("ended", reason.value, MORNING + 5 * MINUTE)
    assert session.sealed_at == MORNING + 5 * MINUTE
    assert Artifact.objects.filter(pk=one.session_id).exists()
    assert (made.version, made.seq, made.kind) == (2, 2, "session.ended")
    assert end_facts(one.session_id) == {
        "end_reason": reason.value,
        "ended_at": format_time(MORNING + 5 * MINUTE),
    }
    assert selectors.events(one.session_id)[-1]["actor"] == "staff:7"
    assert selectors.verify_session(one.session_id).ok


def test_expiry_is_recorded_as_of_the_deadline(opened: Any, clock: Any) -> None:
    """L1, L6: however late the job comes by."""
    one = opened()
    clock.move_to(MORNING + 95 * MINUTE)

    services.expire_session(one.session_id)

    session = selectors.get_session(one.session_id)
    assert (session.status, session.end_reason) == ("ended", "expired")
    assert session.ended_at == one.expires_at == MORNING + 30 * MINUTE
    assert session.sealed_at == MORNING + 95 * MINUTE
    assert end_facts(one.session_id) == {"end_reason": "expired", "ended_at": format_time(one.expires_at)}
    event = selectors.events(one.session_id)[-1]
    assert (event["timestamp"], event["actor"]) == (format_time(MORNING + 95 * MINUTE), "system")


def test_by_default_an_agent_deletes(opened: Any) -> None:
    one = opened()

    services.end_session(one.session_id)

    assert selectors.read_head(one.session_id).end_reason == "deleted"
    assert selectors.events(one.session_id)[-1]["actor"] == "agent"


def test_the_history_stays_readable_and_the_state_as_it_was(opened: Any) -> None:
    """V2, L6"""
    one = opened(state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(a=2))
    services.add_message(one.session_id, role="user", content="bye")
    services.end_session(one.session_id)

    assert selectors.current_state(one.session_id).state == variables(a=2)
    assert selectors.state_at_version(one.session_id, 1).state == variables(a=1)
    assert [turn.content for turn in selectors.messages(one.session_id)] == ["bye"]
    assert [version.kind for version in selectors.versions(one.session_id)] == [
        "session.created",
        "state.changed",
        "session.ended",
    ]


def test_a_second_end_is_refused_and_changes_nothing(opened: Any) -> None:
    """L6"""
    one = opened()
    services.end_session(one.session_id, reason=EndReason.COMPLETED)
    artifact = services.get_artifact(one.session_id)
    before = everything_stored()

    for reason in (EndReason.COMPLETED, EndReason.DELETED, EndReason.REVOKED):
        with pytest.raises(SessionEnded, match="has ended \\(completed\\)"):
            services.end_session(one.session_id, reason=reason)
    with pytest.raises(SessionEnded):
        services.expire_session(one.session_id)

    assert everything_stored() == before
    assert services.get_artifact(one.session_id) == artifact


def test_nobody_else_decides_that_a_session_expires(opened: Any) -> None:
    """L1"""
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.end_session(one.session_id, reason=EndReason.EXPIRED)

    assert refusal.value.path == "/reason"
    assert everything_stored() == before


@pytest.mark.parametrize("early", [timedelta(seconds=0.5), 29 * MINUTE])
def test_a_live_session_does_not_expire(opened: Any, clock: Any, early: timedelta) -> None:
    """L1"""
    one = opened()
    clock.move_to(one.expires_at - early)
    before = everything_stored()

    with pytest.raises(InvalidValue, match="live until 2026-03-02T10:30:00"):
        services.expire_session(one.session_id)

    assert everything_stored() == before


def test_a_deadline_that_came_first_cannot_be_checked_out_any_more(opened: Any, clock: Any) -> None:
    """L1: completed after the deadline would be an order without authority."""
    one = opened()
    head = selectors.authenticate(one.token)
    clock.move_to(one.expires_at)

    for session in (head, one.session_id):
        with pytest.raises(SessionExpired):
            services.end_session(session, reason=EndReason.COMPLETED)

    services.expire_session(one.session_id)
    assert selectors.read_head(one.session_id).end_reason == "expired"


def test_a_session_ends_at_whatever_version_it_has(opened: Any) -> None:
    """L6: with a head from before the last change."""
    one = opened()
    head = selectors.authenticate(one.token)
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    made = services.end_session(head)

    assert made.version == 3
    assert selectors.read_head(one.session_id).status is Status.ENDED
    assert selectors.verify_session(one.session_id).ok


def test_other_sessions_go_on(opened: Any) -> None:
    """L7"""
    one, other = opened(), opened()

    services.end_session(one.session_id)

    assert selectors.authenticate(other.token).is_live()
    services.change_session(other.session_id, expected_version=1, patch=variables(a=1))
