"""What must be so of every session, whatever was done to it."""

from __future__ import annotations

from typing import Any

from agent_sessions import selectors


def is_sound(*sessions: Any) -> None:
    for one in sessions:
        report = selectors.verify_session(getattr(one, "session_id", one))
        assert report.problems == []
