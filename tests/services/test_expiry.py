"""What the job does every minute: ends what is over, seals what has ended, and is held up by nothing (L1, L6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import Artifact, SessionKey
from agent_sessions.selectors import DueSessions
from agent_sessions.services import Expired, OpenedSession
from tests.conftest import MORNING
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def statuses(*sessions: OpenedSession) -> list[Status]:
    return [selectors.read_head(one.session_id).status for one in sessions]


def test_it_ends_and_seals_the_sessions_whose_deadline_has_passed(opened: Any, configure: Any, clock: Any) -> None:
    """L1, L6: those and no others."""
    configure(TTL={"quote": 600})
    quote, standard = opened(kind="quote"), opened()
    clock.move_to(MORNING + 10 * MINUTE)

    assert services.expire_sessions() == Expired(ended=1, sealed=0, failed=0)

    assert statuses(quote, standard) == [Status.ENDED, Status.ACTIVE]
    assert Artifact.objects.get().session_id == quote.session_id


def test_a_second_run_has_nothing_to_do(opened: Any, clock: Any) -> None:
    opened()
    clock.move_to(MORNING + 30 * MINUTE)
    services.expire_sessions()
    before = everything_stored()

    assert services.expire_sessions() == Expired(ended=0, sealed=0, failed=0)

    assert everything_stored() == before


def test_it_works_in_rounds(opened: Any, clock: Any) -> None:
    """L6: bounded, and complete in the end."""
    for _ in range(5):
        opened()
    clock.move_to(MORNING + 31 * MINUTE)

    rounds = [services.expire_sessions(limit=2) for _ in range(4)]

    assert [done.ended for done in rounds] == [2, 2, 1, 0]
    assert Artifact.objects.count() == 5


def test_a_session_that_fails_holds_up_no_other(opened: Any, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """R5: however many fail, and however small the rounds."""
    broken = [opened() for _ in range(2)]
    clock.move_to(MORNING + MINUTE)
    sound = opened()
    SessionKey.objects.filter(pk__in=[one.session_id for one in broken]).delete()
    clock.move_to(MORNING + 40 * MINUTE)

    done = services.expire_sessions(limit=1)

    assert (done.ended, done.failed) == (1, 2)
    assert statuses(sound) == [Status.ENDED]
    assert str(broken[0].session_id) in caplog.text


def test_it_ends_what_an_interrupted_revocation_left(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3"""
    sessions = [opened() for _ in range(2)]
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="a laptop was stolen")
    assert statuses(*sessions) == [Status.ACTIVE] * 2

    assert services.expire_sessions().ended == 2

    assert {selectors.read_head(one.session_id).end_reason for one in sessions} == {"revoked"}


def test_what_waits_for_the_job_can_be_counted(opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """O2"""
    ended, _overdue = opened(), opened()
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.sessions.try_to_seal", lambda _: False)
        services.end_session(ended.session_id)
    clock.move_to(MORNING + 30 * MINUTE)
    with monkeypatch.context() as patched:
        revoked = opened()
        patched.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="a laptop was stolen")
    opened()

    assert revoked.expires_at > MORNING + 30 * MINUTE
    assert selectors.due_sessions() == DueSessions(overdue=1, revoked=2, unsealed=1)
    services.expire_sessions()
    assert selectors.due_sessions() == DueSessions(overdue=0, revoked=0, unsealed=0)


@pytest.mark.parametrize("limit", [0, -1, True, "all"])
def test_a_run_without_a_sensible_limit_is_refused(opened: Any, clock: Any, limit: Any) -> None:
    one = opened()
    clock.move_to(MORNING + 30 * MINUTE)

    with pytest.raises(InvalidValue, match="1 or more"):
        services.expire_sessions(limit=limit)

    assert selectors.read_head(one.session_id).end_reason == ""
