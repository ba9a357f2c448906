"""When the jobs run: ``app.conf.beat_schedule = {**BEAT_SCHEDULE}``.

A plain dict that needs no Celery to be imported and no scheduler but the one that Celery brings.
"""

from __future__ import annotations

from typing import Any, Final

_EVERY: Final = {
    "expire_sessions": 60.0,
    "resolve_unknown_steps": 60.0,
    "expire_approvals": 60.0,
    "release_expired_holds": 60.0,
    "purge_sessions": 60.0,
    "finish_erasures": 600.0,
    "remind_of_reviews": 60.0,
    "rewrap_keys": 60.0,
    "sequence_log": 10.0,
    "mark_stale_sessions": 10.0,
}

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    f"agent_sessions.{job}": {
        "task": f"agent_sessions.{job}",
        "schedule": seconds,
        # Dropped when the next one is due, so that a worker that was away has one job before it and not hundreds.
        "options": {"expires": seconds},
    }
    for job, seconds in _EVERY.items()
}
"""Job → Celery's entry for it; times in seconds."""
