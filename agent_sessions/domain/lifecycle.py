"""Where a session is in its life."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What a session takes: changes (active), nothing until someone has looked, or readers only (ended)."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a session ended: checked out, ended by the agent, past its deadline, or its key was revoked."""

    COMPLETED = "completed"
    DELETED = "deleted"
    EXPIRED = "expired"
    REVOKED = "revoked"


def is_expired(now: datetime, expires_at: datetime) -> bool:
    """Tell whether the deadline has passed; at it, it has (contract item 17). Both are aware."""
    return now >= expires_at
