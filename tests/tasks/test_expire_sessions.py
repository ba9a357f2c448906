"""The job that Celery runs every minute: one bounded call, which says what it did (L1, L6)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.models import Artifact, SessionKey
from agent_sessions.tasks import expire_sessions
from tests.conftest import MORNING
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def run(**arguments: Any) -> Any:
    """Run the job as a worker would, and hand its result on as JSON does."""
    return json.loads(json.dumps(expire_sessions.apply(kwargs=arguments).get()))


@pytest.fixture
def overdue(opened: Any, clock: Any) -> list[Any]:
    """Four sessions whose deadline has passed, and then one that is live."""
    late = [opened().session_id for _ in range(4)]
    clock.move_to(MORNING + timedelta(minutes=31))
    return [*late, opened().session_id]


def test_it_ends_and_seals_what_is_overdue_and_says_how_many(overdue: list[Any]) -> None:
    assert run() == {"ended": 4, "sealed": 0, "failed": 0, "purged": 0, "remaining": False}

    statuses = [selectors.read_head(one).status for one in overdue]
    assert statuses == [Status.ENDED] * 4 + [Status.ACTIVE]
    assert Artifact.objects.count() == 4


def test_a_second_run_changes_nothing(overdue: list[Any]) -> None:
    run()
    before = everything_stored()

    assert run() == {"ended": 0, "sealed": 0, "failed": 0, "purged": 0, "remaining": False}

    assert everything_stored() == before


def test_it_stops_at_its_limit_and_says_whether_anything_remains(overdue: list[Any]) -> None:
    first, second, third = run(limit=2), run(limit=2), run(limit=2)

    assert (first["ended"], first["remaining"]) == (2, True)
    assert (second["ended"], second["remaining"]) == (2, False)
    assert (third["ended"], third["remaining"]) == (0, False)


def test_artifacts_beyond_the_limit_remain(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.sessions.try_to_seal", lambda _: False)
        for _ in range(3):
            services.end_session(opened().session_id)

    assert run(limit=2) == {"ended": 0, "sealed": 2, "failed": 0, "purged": 0, "remaining": True}
    assert run(limit=2) == {"ended": 0, "sealed": 1, "failed": 0, "purged": 0, "remaining": False}


def test_it_ends_what_an_interrupted_revocation_left(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3"""
    session_id = opened().session_id
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="a laptop was stolen")

    assert run()["ended"] == 1

    assert selectors.read_head(session_id).end_reason == "revoked"


def test_what_fails_is_counted_and_does_not_fail_the_job(overdue: list[Any]) -> None:
    """R5: nor does it remain for ever, so that whoever goes on until nothing remains comes to an end."""
    SessionKey.objects.filter(pk=overdue[0]).delete()

    assert run() == {"ended": 3, "sealed": 0, "failed": 1, "purged": 0, "remaining": False}


def test_answers_that_are_a_day_old_are_deleted_ten_for_each_session(opened: Any, clock: Any) -> None:
    """V7"""
    head = selectors.read_head(opened().session_id)
    for number in range(15):
        services.run_once(head, lambda: None, operation="test", key=str(number), request=None)
    services.end_session(head.session_id)
    clock.shift(timedelta(hours=24))

    assert run(limit=1) == {"ended": 0, "sealed": 0, "failed": 0, "purged": 10, "remaining": True}
    assert run(limit=1) == {"ended": 0, "sealed": 0, "failed": 0, "purged": 5, "remaining": False}
