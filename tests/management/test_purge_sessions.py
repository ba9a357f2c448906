"""manage.py purge_sessions: what the beat does, with a report by rule (A5)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management.base import CommandError

from agent_sessions import services
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import SessionBusy
from agent_sessions.models import Session
from agent_sessions.services import retention as purging
from tests.conftest import MORNING
from tests.management.running import run
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

PERSONAL = "personal (personal, 30 days after the end): "
LOG = "decision_log (content, 396 days after the end): "
ORDER = "order_evidence (content, 400 days after the order): "
NOTHING = "0 erased, 0 held back, 0 failed, 0 in quarantine; next due: none"


@pytest.fixture
def due(opened: Any, clock: Any) -> list[Any]:
    """Three sessions that ended 30 days ago, the first one under hold."""
    ids = [opened().session_id for _ in range(3)]
    for one in ids:
        services.end_session(one)
    services.place_legal_hold(scope="session", session_id=ids[0], matter="M", actor=Actor("staff", "1"))
    clock.move_to(MORNING + timedelta(days=30))
    return ids


def test_it_reports_by_rule_what_it_erased(due: list[Any]) -> None:
    status, printed, progress = run("purge_sessions")
    assert (status, progress) == (0, "personal: 2 erased so far\n")
    assert printed.splitlines() == [
        f"{PERSONAL}2 erased, 1 held back, 0 failed, 0 in quarantine; next due: none",
        f"{LOG}0 erased, 0 held back, 0 failed, 0 in quarantine; next due: 2027-04-02 10:00 UTC",
        f"{ORDER}{NOTHING}",
    ]
    assert Session.objects.filter(personal_erased_at=None).get().pk == due[0]


def test_a_dry_run_counts_and_changes_nothing(due: list[Any]) -> None:
    before = everything_stored()
    status, printed, progress = run("purge_sessions", "--dry-run")
    assert (status, progress) == (0, "")
    assert printed.splitlines()[0] == f"{PERSONAL}2 to erase, 1 held back, 0 failed, 0 in quarantine; next due: none"
    assert everything_stored() == before


def test_a_limit_leaves_the_rest(due: list[Any]) -> None:
    run("purge_sessions", "--limit", "1")
    assert Session.objects.filter(personal_erased_at=None).count() == 2


def test_it_rests_after_each_batch(due: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(purging, "BATCH", 1)
    monkeypatch.setattr("time.sleep", rests.append)
    ticks = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    run("purge_sessions", "--pause", "0.5")
    assert rests == [0.5, 0.5]


def test_what_fails_is_counted(due: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """R5: the exit status tells whoever watches the job."""

    def failing(*_: Any, **__: Any) -> None:
        raise SessionBusy("Session")

    monkeypatch.setattr(purging, "erase_all", failing)
    status, printed, _ = run("purge_sessions")
    assert status == 1
    assert printed.splitlines()[0].startswith(f"{PERSONAL}0 erased, 1 held back, 2 failed")


def test_a_wrong_rule_is_told_in_a_sentence(configure: Any) -> None:
    configure(RETENTION={"personal": {"maximum_days": -1}})
    with pytest.raises(CommandError, match="/RETENTION/personal/maximum_days"):
        run("purge_sessions")
