"""manage.py release_expired_holds: what the beat does, for those who have none (X1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.management.running import run
from tests.services.holding import held, hold
from tests.store.calling import counting, shop
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
__all__ = ["counting", "shop"]


@pytest.fixture
def due(clock: Any, counting: Any, opened: Any) -> None:
    """Three holds past their deadline, and one that is not."""
    for _ in range(3):
        hold(opened(), "mug", 1, seconds=60)
    hold(opened(), "pot", 1)
    clock.shift(timedelta(minutes=1))


def test_it_releases_all_that_is_due_in_batches(due: None) -> None:
    printed = (0, "3 released\n", "2 released so far\n3 released so far\n")
    assert run("release_expired_holds", "--batch", "2") == printed
    assert held() == {"pot": 1}
    assert run("release_expired_holds")[:2] == (0, "0 released\n")


def test_a_dry_run_counts_and_changes_nothing(due: None) -> None:
    before = everything_stored()
    assert run("release_expired_holds", "--dry-run") == (0, "3 to release\n", "")
    assert everything_stored() == before
