"""The jobs about the shop: each is one bounded call, which says what it did (X1, X2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions.tasks import mark_stale_sessions, release_expired_holds
from tests.management.test_mark_stale_sessions import reported
from tests.management.test_release_expired_holds import due
from tests.services.holding import held
from tests.store.calling import counting, shop

pytestmark = pytest.mark.django_db
__all__ = ["counting", "due", "reported", "shop"]


def run(job: Any, **arguments: Any) -> Any:
    """Run a job as a worker would, and hand its result on as JSON does."""
    return json.loads(json.dumps(job.apply(kwargs=arguments).get()))


def test_holds_are_released_up_to_the_limit(due: None) -> None:
    assert run(release_expired_holds, limit=2) == {"released": 2, "remaining": True}
    assert run(release_expired_holds, limit=2) == {"released": 1, "remaining": False}
    assert run(release_expired_holds) == {"released": 0, "remaining": False}
    assert held() == {"pot": 1}


def test_changes_are_carried_up_to_the_limit(reported: list[Any]) -> None:
    assert run(mark_stale_sessions, limit=2) == {"changes": 1, "sessions": 2, "failed": 0, "remaining": True}
    assert run(mark_stale_sessions) == {"changes": 1, "sessions": 1, "failed": 0, "remaining": False}
