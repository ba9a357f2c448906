"""manage.py expire_sessions: what the beat does, for those who have none (L1, L6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.models import Artifact, SessionKey
from tests.conftest import MORNING
from tests.management.running import run
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def overdue(opened: Any, clock: Any) -> list[Any]:
    """Five sessions whose deadline has passed, and then one that is live."""
    late = [opened().session_id for _ in range(5)]
    clock.move_to(MORNING + timedelta(minutes=31))
    return [*late, opened().session_id]


def test_it_ends_and_seals_all_that_is_overdue(overdue: list[Any]) -> None:
    status, printed, _ = run("expire_sessions")

    assert (status, printed) == (0, "5 ended, 0 sealed, 0 failed, 0 answers deleted\n")
    statuses = [selectors.read_head(one).status for one in overdue]
    assert statuses == [Status.ENDED] * 5 + [Status.ACTIVE]
    assert Artifact.objects.count() == 5


def test_it_goes_on_in_batches_until_nothing_is_left(overdue: list[Any]) -> None:
    status, printed, progress = run("expire_sessions", "--batch", "2")

    assert (status, printed) == (0, "5 ended, 0 sealed, 0 failed, 0 answers deleted\n")
    assert progress.splitlines() == [
        "2 ended, 0 sealed, 0 answers deleted so far",
        "4 ended, 0 sealed, 0 answers deleted so far",
        "5 ended, 0 sealed, 0 answers deleted so far",
    ]


def test_a_dry_run_counts_and_changes_nothing(overdue: list[Any]) -> None:
    before = everything_stored()

    assert run("expire_sessions", "--dry-run") == (0, "5 to expire, 0 to revoke, 0 to seal, 0 answers to delete\n", "")

    assert everything_stored() == before


def test_without_anything_to_do_it_says_so(opened: Any) -> None:
    opened()

    assert run("expire_sessions") == (0, "0 ended, 0 sealed, 0 failed, 0 answers deleted\n", "")


def test_what_fails_is_counted_and_holds_up_no_other(overdue: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """R5: the exit status tells whoever watches the job."""
    SessionKey.objects.filter(pk=overdue[0]).delete()

    status, printed, _ = run("expire_sessions", "--batch", "1")

    assert (status, printed) == (1, "4 ended, 0 sealed, 1 failed, 0 answers deleted\n")
    assert str(overdue[0]) in caplog.text


def test_it_seals_what_could_not_be_sealed(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """L6"""
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.sessions.try_to_seal", lambda _: False)
        services.end_session(opened().session_id)

    assert run("expire_sessions", "--dry-run")[1] == "0 to expire, 0 to revoke, 1 to seal, 0 answers to delete\n"
    assert run("expire_sessions")[:2] == (0, "0 ended, 1 sealed, 0 failed, 0 answers deleted\n")
    assert Artifact.objects.count() == 1


def test_it_deletes_answers_that_are_a_day_old(opened: Any, clock: Any) -> None:
    """V7"""
    head = selectors.read_head(opened().session_id)
    for number in range(25):
        services.run_once(head, lambda: None, operation="test", key=str(number), request=None)
    services.end_session(head.session_id)
    clock.shift(timedelta(hours=24))

    assert run("expire_sessions", "--dry-run")[1] == "0 to expire, 0 to revoke, 0 to seal, 25 answers to delete\n"
    assert run("expire_sessions", "--batch", "1")[:2] == (0, "0 ended, 0 sealed, 0 failed, 25 answers deleted\n")
    assert selectors.due_sessions().answers == 0
