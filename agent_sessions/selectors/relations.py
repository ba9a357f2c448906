"""What a session has to do with others, for people who look after it: its family, its errand, its shopper's devices."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

import msgspec
from django.db.models import Q, QuerySet

from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.in_progress import live_sessions

MOST_READ: Final = 400
"""Members of a family that are read; of a larger one those that were opened before and after the session."""
MOST_OTHERS: Final = 5
"""Sessions of other families that are told, of the errand and of the devices each: the newest."""
_COLUMNS: Final = (
    "pk", "origin", "parent", "parent_version", "status", "end_reason", "agent_name", "merchant", "created_at",
    "expires_at",
)  # fmt: skip


class Relation(msgspec.Struct, frozen=True):
    """A session that has to do with another one. ``parent`` is what it came from, if from one. Times are UTC."""

    session_id: uuid.UUID
    origin: str
    parent: uuid.UUID | None
    parent_version: int | None
    status: str
    end_reason: str
    agent_name: str
    merchant: str
    created_at: datetime
    expires_at: datetime


class Relations(msgspec.Struct, frozen=True):
    """``family`` has the session itself and is in order of time; ``clipped``: there are more members than were read.

    ``errand`` are sessions of other families with the same parent request, at all merchants; ``devices`` other
    live sessions of the same shopper with this merchant; the newest first. ``more_errand`` and ``more_devices`` say
    that there are more.
    """

    family: tuple[Relation, ...]
    clipped: bool
    errand: tuple[Relation, ...]
    more_errand: bool
    devices: tuple[Relation, ...]
    more_devices: bool


def relations_of(head: SessionHead) -> Relations:
    """Return what the session has to do with others; three queries, two more for a family that is not read whole."""
    family, clipped = _family(head)
    errand: list[Relation] = []
    if head.parent_request:
        errand = _newest(_sessions().filter(parent_request=head.parent_request), head)
    devices: list[Relation] = []
    if head.consumer:
        devices = _newest(live_sessions(head.merchant, head.consumer), head)
    told = {one.session_id for one in errand}
    return Relations(
        tuple(family),
        clipped,
        tuple(errand[:MOST_OTHERS]),
        len(errand) > MOST_OTHERS,
        tuple(one for one in devices[:MOST_OTHERS] if one.session_id not in told),
        len(devices) > MOST_OTHERS,
    )


def of_family(sessions: QuerySet[Session], family: uuid.UUID) -> QuerySet[Session]:
    """Narrow sessions to those of a family: its first one, and what came from that."""
    return sessions.filter(Q(pk=family) | Q(family=family, parent__isnull=False))


def _family(head: SessionHead) -> tuple[list[Relation], bool]:
    """Return the members at the session's own merchant, or of very many those near to it in time, and no others."""
    members = of_family(_sessions(), head.family).filter(merchant=head.merchant)
    found = _read(members.order_by("-pk"), MOST_READ + 1)
    if len(found) <= MOST_READ:
        return found[::-1], False
    before = _read(members.filter(pk__lte=head.session_id).order_by("-pk"), MOST_READ // 2)[::-1]
    after = _read(members.filter(pk__gt=head.session_id).order_by("pk"), MOST_READ // 2)
    return [*before, *after], True


def _newest(sessions: QuerySet[Session], head: SessionHead) -> list[Relation]:
    """Return the newest sessions of other families, one more than are told."""
    return _read(sessions.exclude(family=head.family).order_by("-pk"), MOST_OTHERS + 1)


def _read(sessions: QuerySet[Session], limit: int) -> list[Relation]:
    return [Relation(*row) for row in sessions.values_list(*_COLUMNS)[:limit]]


def _sessions() -> QuerySet[Session]:
    return Session.objects.using(_rows.write_connection().alias)
