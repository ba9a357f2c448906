"""The job with a real worker, a real beat and Redis between them: it runs, and a killed worker's work is done (L6)."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine as clocks

from agent_sessions.audit.events import ENDED
from agent_sessions.models import Artifact, AuditEvent
from agent_sessions.services import OpenedSession
from tests.faults.support import half_done
from tests.tasks.processes import Jobs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not os.environ.get("BROKER_URL"), reason="it needs Redis: set BROKER_URL, as redis://127.0.0.1:6379/15"
    ),
]

MANY = 150
"""Sessions: ending them takes long enough to be killed at it."""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with Jobs(tmp_path) as jobs:
        yield jobs


@pytest.fixture
def overdue(opened: Callable[..., OpenedSession]) -> Callable[[int], list[uuid.UUID]]:
    """Open so many sessions, an hour ago, whose deadline was half an hour ago."""

    def open_some(number: int) -> list[uuid.UUID]:
        with clocks.travel(datetime.now(UTC) - timedelta(hours=1)):
            return [opened().session_id for _ in range(number)]

    return open_some


def ended() -> int:
    return AuditEvent.objects.filter(kind=ENDED).count()


def sealed() -> int:
    return Artifact.objects.count()


def assert_each_ended_once(sessions: list[uuid.UUID]) -> None:
    ends = AuditEvent.objects.filter(kind=ENDED).values_list("session_id", flat=True)
    assert sorted(ends) == sorted(sessions)
    assert [problem for one in sessions for problem in half_done(one)] == []


def test_the_beat_and_a_worker_end_and_seal_what_is_overdue(
    jobs: Jobs, overdue: Callable[[int], list[uuid.UUID]], opened: Callable[..., OpenedSession]
) -> None:
    jobs.worker()
    jobs.beat()
    sessions = overdue(1)
    live = opened()

    jobs.until(lambda: sealed() == 1)

    assert_each_ended_once(sessions)
    assert half_done(live.session_id) == []


def test_when_a_worker_is_killed_the_next_run_ends_the_rest_and_nothing_twice(
    jobs: Jobs, overdue: Callable[[int], list[uuid.UUID]]
) -> None:
    """Two jobs at a time, so that they also get in each other's way."""
    sessions = overdue(MANY)
    worker = jobs.worker(processes=2)
    jobs.beat()
    jobs.until(lambda: ended() > 0)
    worker.kill()
    assert ended() < MANY, "It was killed too late to show anything."

    jobs.worker(processes=2)
    jobs.until(lambda: sealed() == MANY)

    assert_each_ended_once(sessions)


def test_a_job_whose_process_was_killed_runs_again_by_itself(
    jobs: Jobs, overdue: Callable[[int], list[uuid.UUID]]
) -> None:
    """As when the system runs out of memory: nobody but the worker is there to start it again."""
    sessions = overdue(MANY)
    worker = jobs.worker()
    (process,) = worker.pool()
    jobs.send("agent_sessions.expire_sessions")
    jobs.until(lambda: ended() > 0)
    os.kill(process, signal.SIGKILL)

    jobs.until(lambda: sealed() == MANY)

    assert "WorkerLostError" in jobs.log(), "It was killed too late to show anything."
    assert_each_ended_once(sessions)
