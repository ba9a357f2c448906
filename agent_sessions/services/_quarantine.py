"""Closing a damaged session to readers and writers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from django.db import InternalError, transaction
from django.utils import timezone

from agent_sessions.crypto.keys import WrappedKeyBroken
from agent_sessions.domain.lifecycle import LIVE, Status
from agent_sessions.exceptions import ContentErased, SessionDamaged, SessionQuarantined
from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.signals import session_damaged

logger = logging.getLogger("agent_sessions")
_NO_KEY: Final = "its data key is missing or was altered"


@contextmanager
def closing_damaged(session_id: uuid.UUID) -> Iterator[None]:
    """Quarantine the session if what is done inside finds it damaged; outside of the transaction that this undoes."""
    try:
        yield
    except SessionQuarantined:
        raise
    except SessionDamaged as damage:
        with suppress(InternalError):  # PostgreSQL has given up the caller's transaction, and takes nothing more in it
            quarantine(session_id, damage.problem)
        raise
    except ContentErased:
        # Only ended sessions are erased; a live one without a key has lost it.
        quarantine(session_id, _NO_KEY, only=LIVE)
        raise
    except WrappedKeyBroken:
        quarantine(session_id, _NO_KEY)
        raise


def quarantine(session_id: uuid.UUID, problem: str, *, only: Collection[Status] = tuple(Status)) -> bool:
    """Close a damaged session of a status in ``only`` and raise the alarm; return whether it was open before.

    The chain gets no event: one more link could bury what is to be examined, so the evidence stays as it was found.
    """
    alias = _rows.write_connection().alias
    closed = (
        Session.objects.using(alias)
        .filter(pk=session_id, status__in=[status.value for status in only])
        .exclude(status=Status.QUARANTINED.value)
        .update(status=Status.QUARANTINED.value, quarantined_at=timezone.now())
    )
    if closed:
        logger.error("Session %s is quarantined: %s", session_id, problem)
        alarm = partial(session_damaged.send_robust, Session, session_id=session_id, problem=problem)
        transaction.on_commit(alarm, using=alias, robust=True)
    return bool(closed)
