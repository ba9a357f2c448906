"""When the jobs run: ``app.conf.beat_schedule = {**BEAT_SCHEDULE}``.

A plain dict that needs no Celery to be imported and no scheduler but the one that Celery brings.
"""

from __future__ import annotations

from typing import Any

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "agent_sessions.expire_sessions": {
        "task": "agent_sessions.expire_sessions",
        "schedule": 60.0,
        # Dropped when the next one is due, so that a worker that was away has one job before it and not hundreds.
        "options": {"expires": 60.0},
    },
    "agent_sessions.resolve_unknown_steps": {
        "task": "agent_sessions.resolve_unknown_steps",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.expire_approvals": {
        "task": "agent_sessions.expire_approvals",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.release_expired_holds": {
        "task": "agent_sessions.release_expired_holds",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.purge_sessions": {
        "task": "agent_sessions.purge_sessions",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.finish_erasures": {
        "task": "agent_sessions.finish_erasures",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
    "agent_sessions.remind_of_reviews": {
        "task": "agent_sessions.remind_of_reviews",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.rewrap_keys": {
        "task": "agent_sessions.rewrap_keys",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "agent_sessions.sequence_log": {
        "task": "agent_sessions.sequence_log",
        "schedule": 10.0,
        "options": {"expires": 10.0},
    },
    "agent_sessions.mark_stale_sessions": {
        "task": "agent_sessions.mark_stale_sessions",
        "schedule": 10.0,
        "options": {"expires": 10.0},
    },
}
"""Job → Celery's entry for it; times in seconds."""
