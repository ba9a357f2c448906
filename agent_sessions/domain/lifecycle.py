"""Where a session is in its life, and which other session it came from."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What a session takes: changes (active), only being resumed or ended (paused), nothing until someone has looked
    (quarantined), or readers only (ended).
    """

    ACTIVE = "active"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    ENDED = "ended"


LIVE: Final = (Status.ACTIVE, Status.PAUSED)
"""Sessions whose token is good and whose deadline runs."""


class EndReason(StrEnum):
    """Why a session ended.

    Checked out, ended by the agent, past its deadline, its key revoked, or another session goes on in its place: its
    renewal, or that of the agent it was transferred to.
    """

    COMPLETED = "completed"
    DELETED = "deleted"
    EXPIRED = "expired"
    REVOKED = "revoked"
    RENEWED = "renewed"
    TRANSFERRED = "transferred"


class Origin(StrEnum):
    """How a session came from another one."""

    FORK = "fork"
    RENEWAL = "renewal"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which session, at which version, this one came from. ``family`` is the id of the first of them all."""

    origin: Origin
    parent: uuid.UUID
    parent_version: int
    family: uuid.UUID


def is_expired(now: datetime, expires_at: datetime) -> bool:
    """Tell whether the deadline has passed; at it, it has (contract item 17). Both are aware."""
    return now >= expires_at
