"""Sessions that came from one another: branches, renewals, transfers (L2, L3, T4)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.lifecycle import Origin, Status
from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors._totals import Total, total_of
from agent_sessions.selectors.history import current_state

MOST = 100
"""Members of a family that are told, the oldest first."""


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A session of a family; of the first one ``origin`` is empty and ``parent`` None. Times are UTC.

    ``total`` is what its cart costs: None for an empty cart, and where that cannot be read.
    """

    session_id: uuid.UUID
    origin: str
    parent: uuid.UUID | None
    parent_version: int | None
    status: Status
    end_reason: str
    version: int
    agent_name: str
    created_at: datetime
    expires_at: datetime
    total: Total | None


def family(session: SessionHead | uuid.UUID) -> list[FamilyMember]:
    """Return all sessions that the session came from, and that came from the same first one, oldest first (L3).

    At most 100. Raises SessionNotFound.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    rows = Session.objects.using(_rows.write_connection().alias)
    of_family = Q(pk=head.family) | Q(family=head.family, parent__isnull=False)
    return [_member(one) for one in rows.filter(of_family).order_by("pk").values_list("pk", flat=True)[:MOST]]
