"""What a job does every minute: end the sessions that are over, seal those that have ended, and forget (L6, V7)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, SessionEnded
from agent_sessions.models import Caller, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors.sessions import ids_of, overdue, revoked, unsealed
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.artifacts import seal_artifact
from agent_sessions.services.idempotency import purge_idempotency_records
from agent_sessions.services.keys import revoke_token_key
from agent_sessions.services.sessions import end_session, expire_session

logger = logging.getLogger("agent_sessions")

CALLER_KEPT = timedelta(days=1)
ANSWERS_PER_SESSION = 10
"""So many more answers than sessions are dealt with in one run: there are several to each, and deleting is quick."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What one run of ``expire_sessions`` did: numbers of sessions, and how many answers it ``purged``."""

    ended: int
    sealed: int
    failed: int
    purged: int = 0


def expire_sessions(*, limit: int = 500) -> Expired:
    """End up to ``limit`` sessions past their deadline, and as many whose key was revoked; seal as many artifacts.

    Safe to run twice at once and to stop anywhere. A session that fails is logged and holds up no other. Up to
    ``limit`` callers who opened nothing for a day are forgotten, and ten times as many Idempotency-Keys with their
    answers that are a day old. Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many sessions one run deals with: a whole number, 1 or more.")
    late, late_failed = _each(overdue(), expire_session, limit)
    dead, dead_failed = _each(revoked(), _end_revoked, limit)
    sealed, unsealed_failed = _each(unsealed(), seal_artifact, limit)
    _forget_callers(limit)
    purged = purge_idempotency_records(limit=limit * ANSWERS_PER_SESSION)
    return Expired(late + dead, sealed, late_failed + dead_failed + unsealed_failed, purged)


def revoke_all_sessions(*, reason: str) -> int:
    """Answer a security event: every token worthless, every live session ended (T3). Return how many were ended.

    First the token key is revoked, in one statement: from there on no token is accepted and no change is written.
    Then the sessions that it made are ended and sealed one by one, so that when this returns no change that was in
    flight can come through any more. After an interruption ``end_revoked_sessions`` does the rest.

    ``reason`` is kept with the key and sealed in each session's last event, 1 to 200 characters.
    Raises InvalidValue, PaymentDataRefused, KeyProblem.
    """
    check_text("/reason", reason, 200)
    require_no_payment_data({"reason": reason})
    if not reason:
        raise InvalidValue("/reason", "Say in 1 to 200 characters why every session is revoked.")
    revoke_token_key(reason=reason)
    return end_revoked_sessions(note=reason)


def end_revoked_sessions(*, note: str = "") -> int:
    """End the live sessions whose token key was revoked; return how many. Safe to run twice at once."""
    return _each(revoked(), partial(_end_revoked, note=note), None)[0]


def _end_revoked(session_id: uuid.UUID, note: str = "") -> None:
    end_session(session_id, reason=EndReason.REVOKED, actor=SYSTEM, note=note)


def _forget_callers(limit: int) -> None:
    """Delete rows that only serve to count a caller's sessions one at a time: the next session makes it anew."""
    alias = _rows.write_connection().alias
    old = Caller.objects.using(alias).filter(seen_at__lt=timezone.now() - CALLER_KEPT)
    # The time is asked for again by the statement that deletes: who comes back meanwhile is kept.
    if some := list(old.values_list("pk", flat=True)[:limit]):
        old.filter(pk__in=some).delete()


def _each(sessions: QuerySet[Session], act: Callable[[uuid.UUID], object], limit: int | None) -> tuple[int, int]:
    """Do something to sessions until ``limit`` are done; return how many were, and how many failed.

    Those that fail do not count towards the limit: however many there are, they never keep the others waiting.
    """
    done = failed = 0
    for session_id in ids_of(sessions):
        if done == limit:
            break
        try:
            act(session_id)
            done += 1
        except SessionEnded:
            continue  # another run came first
        except AgentSessionsError:
            logger.exception("Session %s could not be ended or sealed; the next run tries again.", session_id)
            failed += 1
    return done, failed
