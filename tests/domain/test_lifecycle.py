from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent_sessions.domain.lifecycle import EndReason, Status, is_expired

DEADLINE = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("microseconds", "expired"), [(-1, False), (0, True), (1, True)], ids=["before", "at", "after"]
)
def test_a_session_is_expired_from_its_deadline_on(microseconds, expired):
    assert is_expired(DEADLINE + timedelta(microseconds=microseconds), DEADLINE) is expired


def test_stored_words():
    assert [str(status) for status in Status] == ["active", "paused", "quarantined", "ended"]
    assert [f"{reason}" for reason in EndReason] == [
        "completed", "deleted", "expired", "revoked", "renewed", "transferred",
    ]  # fmt: skip
