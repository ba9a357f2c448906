"""Reads of what the shop has reported as changed, and of who depends on it (X2)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.domain.references import CONSUMER
from agent_sessions.models import Session, SessionReference, StoreChange
from agent_sessions.selectors import _rows

KEPT: Final = timedelta(days=1)
"""How long a change is kept after every session was dealt with."""


def open_changes() -> QuerySet[StoreChange]:
    """Changes that were reported and not yet carried into all sessions that depend on them."""
    return StoreChange.objects.using(_alias()).filter(done_at__isnull=True)


def count_open_changes() -> int:
    """Count the changes that wait for ``mark_stale``."""
    return open_changes().count()


def old_changes() -> QuerySet[StoreChange]:
    """Changes that were done with a day ago."""
    return StoreChange.objects.using(_alias()).filter(done_at__lte=timezone.now() - KEPT)


def dependants(change: StoreChange, limit: int) -> list[uuid.UUID]:
    """Return the next live sessions that depend on what has changed, in the order of their ids."""
    kind, _, name = change.ref.partition(":")
    sessions = Session.objects.using(_alias()).filter(
        merchant=change.merchant, status__in=[status.value for status in LIVE], expires_at__gt=timezone.now()
    )
    if change.after_session is not None:
        sessions = sessions.filter(pk__gt=change.after_session)
    if kind == CONSUMER:
        sessions = sessions.filter(consumer=name)
    else:
        told = SessionReference.objects.filter(ref=change.ref)
        if change.after_session is not None:
            told = told.filter(session_id__gt=change.after_session)
        sessions = sessions.filter(pk__in=told.values("session_id"))
    return list(sessions.order_by("pk").values_list("pk", flat=True)[:limit])


def _alias() -> str:
    return _rows.write_connection().alias
