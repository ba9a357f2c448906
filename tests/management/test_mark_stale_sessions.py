"""manage.py mark_stale_sessions: what the beat does, for those who have none (X2)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.exceptions import KeyProblem
from agent_sessions.services import marking
from tests.management.running import run
from tests.store.calling import call, shop, state
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
__all__ = ["shop"]


@pytest.fixture
def reported(shop: Any, opened: Any) -> list[Any]:
    """Three sessions with a mug, whose price has changed, and one with a plate, whose has not."""
    sessions = [opened() for _ in range(4)]
    for one, item in zip(sessions, ("mug", "mug", "mug", "plate"), strict=True):
        call("cart.add", one, item_id=item)
    services.report_change("item", ["mug", "pot"], "price")
    return sessions


def test_it_carries_all_changes_in_batches(reported: list[Any]) -> None:
    status, printed, progress = run("mark_stale_sessions", "--batch", "2")
    assert (status, printed) == (0, "2 changes, 3 sessions marked, 0 failed\n")
    assert progress == "1 changes, 2 sessions so far\n"
    assert ["stale" in state(one) for one in reported] == [True, True, True, False]
    assert run("mark_stale_sessions")[1] == "0 changes, 0 sessions marked, 0 failed\n"


def test_a_dry_run_counts_and_changes_nothing(reported: list[Any]) -> None:
    before = everything_stored()
    assert run("mark_stale_sessions", "--dry-run") == (0, "2 changes to carry into sessions\n", "")
    assert everything_stored() == before


def test_the_exit_status_tells_whoever_watches_the_job(reported: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any) -> bool:
        raise KeyProblem("out of reach")

    monkeypatch.setattr(marking, "_mark_once", failing)
    assert run("mark_stale_sessions")[:2] == (1, "2 changes, 0 sessions marked, 3 failed\n")
