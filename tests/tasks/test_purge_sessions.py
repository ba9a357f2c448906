"""The jobs that purge and that remind of legal holds: one call, bounded, with counts (A5, A6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import services, tasks
from agent_sessions.domain.identity import Actor
from tests.conftest import MORNING

pytestmark = pytest.mark.django_db


def test_it_purges_up_to_its_limit(opened: Any, clock: Any) -> None:
    ids = [opened().session_id for _ in range(4)]
    for one in ids:
        services.end_session(one)
    services.place_legal_hold(scope="session", session_id=ids[0], matter="M", actor=Actor("staff", "1"))
    clock.move_to(MORNING + timedelta(days=30))

    assert tasks.purge_sessions(limit=2, pause=0) == {"erased": 2, "held": 1, "failed": 0, "remaining": True}
    assert tasks.purge_sessions(limit=2, pause=0) == {"erased": 1, "held": 1, "failed": 0, "remaining": False}
    assert tasks.purge_sessions(limit=2, pause=0) == {"erased": 0, "held": 1, "failed": 0, "remaining": False}


def test_it_reminds(clock: Any) -> None:
    services.place_legal_hold(scope="order", order_ref="A", matter="M", actor=Actor("staff", "1"))
    clock.shift(timedelta(days=180))
    assert [tasks.remind_of_reviews() for _ in range(2)] == [{"reminded": 1}, {"reminded": 0}]
