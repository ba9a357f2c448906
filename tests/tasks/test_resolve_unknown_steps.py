"""The job and the command that find out what became of steps: one bounded call each (R2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.tasks import resolve_unknown_steps
from tests.management.running import run
from tests.services import working
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def crashed(opened: Any, configure: Any, clock: Any) -> list[Any]:
    """Three sessions whose notice was cut off a minute ago, and one in which it is being sent."""
    configure(STEPS=working.PATH)
    sessions = [opened().session_id for _ in range(3)]
    for session_id in sessions:
        services.start_step(session_id, "notice")
    clock.shift(60)
    services.start_step(opened().session_id, "notice")
    return sessions


def test_the_job_deals_with_them_up_to_its_limit(crashed: list[Any]) -> None:
    done = [resolve_unknown_steps.apply(kwargs={"limit": 2}).get() for _ in range(3)]
    assert [json.loads(json.dumps(one))["escalated"] for one in done] == [2, 1, 0]
    assert [selectors.checkpoints(one)[0].outcome for one in crashed] == ["unknown"] * 3


def test_the_command_goes_on_in_batches_until_nothing_is_left(crashed: list[Any]) -> None:
    status, printed, progress = run("resolve_unknown_steps", "--batch", "2")
    assert (status, printed) == (0, "0 asked, 3 escalated, 0 left, 0 late, 0 failed\n")
    assert progress == "2 so far\n"


def test_a_dry_run_counts_and_changes_nothing(crashed: list[Any]) -> None:
    before = everything_stored()
    assert run("resolve_unknown_steps", "--dry-run") == (0, "3 of unknown outcome\n", "")
    assert everything_stored() == before


def test_what_fails_is_told_by_the_exit_status(crashed: list[Any], configure: Any) -> None:
    configure(STEPS="tests.services.working.nowhere")
    status, printed, _ = run("resolve_unknown_steps")
    assert (status, printed) == (1, "0 asked, 0 escalated, 0 left, 0 late, 3 failed\n")
