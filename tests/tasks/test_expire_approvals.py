"""The job that closes approvals: one bounded call, which says what it did (L5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions.tasks import expire_approvals
from tests.management.test_expire_approvals import lapsed, statuses
from tests.store.calling import shop

pytestmark = pytest.mark.django_db
__all__ = ["lapsed", "shop"]


def run(**arguments: Any) -> Any:
    """Run the job as a worker would, and hand its result on as JSON does."""
    return json.loads(json.dumps(expire_approvals.apply(kwargs=arguments).get()))


def test_it_stops_at_its_limit_and_says_whether_anything_remains(lapsed: Any) -> None:
    assert run(limit=2) == {"expired": 2, "remaining": True}
    assert run(limit=2) == {"expired": 1, "remaining": False}
    assert run() == {"expired": 0, "remaining": False}
    assert statuses() == ["expired", "expired", "expired", "pending"]
