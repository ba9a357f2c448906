"""Reads over many sessions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from agent_sessions.domain.lifecycle import LIVE, Status
from agent_sessions.models import IdempotencyRecord, Session, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors.legal_holds import held


@dataclass(frozen=True, slots=True)
class DueSessions:
    """What the expiry job has before it: numbers of sessions, and of recorded ``answers`` to delete."""

    overdue: int
    revoked: int
    unsealed: int
    answers: int = 0


def due_sessions() -> DueSessions:
    """Count what waits for ``expire_sessions``."""
    return DueSessions(overdue().count(), revoked().count(), unsealed().count(), old_answers().count())


def overdue() -> QuerySet[Session]:
    """Live sessions whose deadline has passed."""
    return _sessions().filter(status__in=[status.value for status in LIVE], expires_at__lte=timezone.now())


def revoked() -> QuerySet[Session]:
    """Live sessions whose token key was revoked."""
    revoked_keys = SiteKey.objects.filter(revoked_at__isnull=False)
    return _sessions().filter(status__in=[status.value for status in LIVE], token_key__in=revoked_keys)


def unsealed() -> QuerySet[Session]:
    """Ended sessions without an artifact."""
    return _sessions().filter(status=Status.ENDED.value, sealed_at__isnull=True)


def old_answers() -> QuerySet[IdempotencyRecord]:
    """Idempotency-Keys, with what they were answered, that are kept no longer (V7); none of a held session (A6)."""
    alias = _rows.write_connection().alias
    under_hold = held(Session.objects.filter(pk=OuterRef("session_id")))
    return IdempotencyRecord.objects.using(alias).filter(~Exists(under_hold), expires_at__lte=timezone.now())


def session_ids() -> Iterator[uuid.UUID]:
    """Yield the ids of all sessions, oldest first."""
    return ids_of(_sessions())


def ids_of(sessions: QuerySet[Session], *, chunk: int = 500) -> Iterator[uuid.UUID]:
    """Yield the ids of sessions, oldest first, a chunk per query, so that no cursor is open while each is dealt with.

    An open cursor would keep every other writer of SQLite waiting, and a transaction of PostgreSQL open.
    """
    ids = list(sessions.order_by("pk").values_list("pk", flat=True)[:chunk])
    while ids:
        yield from ids
        ids = list(sessions.filter(pk__gt=ids[-1]).order_by("pk").values_list("pk", flat=True)[:chunk])


def _sessions() -> QuerySet[Session]:
    return Session.objects.using(_rows.write_connection().alias)
