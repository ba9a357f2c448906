"""The job that puts sessions into the log (A4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors
from agent_sessions.tasks import sequence_log

pytestmark = pytest.mark.django_db


def test_it_takes_what_the_limit_allows_and_says_what_is_left(opened: Any) -> None:
    for _ in range(3):
        opened()

    assert sequence_log(limit=2) == {"leaves": 2, "waiting": 0, "remaining": True}
    assert sequence_log(limit=2) == {"leaves": 2, "waiting": 0, "remaining": False}
    state = selectors.log_state()
    assert state is not None
    assert (state.size, state.unsequenced) == (5, 0)
