"""What a human says to an approval, and what happens to one that nobody answers (L5).

Whoever answers holds the session's row first, so of two answers, or of an answer and a change of the cart, one comes
first and the other is told so.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.approvals import OPEN, WAITING, ApprovalStatus, settled
from agent_sessions.domain.calls import (
    APPROVAL_ATTEMPT_FAILED,
    APPROVAL_ESCALATED,
    APPROVAL_EXPIRED,
    APPROVAL_GRANTED,
    APPROVAL_REJECTED,
    Call,
)
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.lifecycle import LIVE, Status
from agent_sessions.exceptions import (
    ActorRefused,
    AgentSessionsError,
    AnswerRefused,
    ApprovalClosed,
    ApprovalExpired,
    InvalidValue,
    SessionEnded,
)
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, lock_head, require_live, require_open
from agent_sessions.selectors._states import seal_document
from agent_sessions.selectors.approvals import (
    MAX_ATTEMPTS,
    body_place,
    lapsed_ids,
    opened_body,
    status_of,
    stored_approval,
    stored_approvals,
)
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import Changing, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._questions import public_facts, time_facts
from agent_sessions.services._texts import MAX_NOTE, check_text
from agent_sessions.services._write import RowChange
from agent_sessions.store.cart import cart_fingerprint
from agent_sessions.types import JSONValue, Patch

T = TypeVar("T")
logger = logging.getLogger("agent_sessions")

CONSUMER: Final = Actor("consumer")
FAILURES: Final = ("person", "total")
"""What does not fit about an answer: who gave it, or the total that they meant."""
_KINDS: Final = {
    ApprovalStatus.GRANTED: APPROVAL_GRANTED,
    ApprovalStatus.REJECTED: APPROVAL_REJECTED,
    ApprovalStatus.ESCALATED: APPROVAL_ESCALATED,
    ApprovalStatus.EXPIRED: APPROVAL_EXPIRED,
}


def grant_approval(approval_id: uuid.UUID, *, actor: Actor = CONSUMER) -> None:
    """Say yes to the cart that was asked about (L5). It holds once, for this cart, until the window is over.

    ``actor`` is the consumer, or staff. The session may be paused or with a person: the answer waits there for the
    agent.

    Raises ApprovalNotFound, ApprovalExpired if the window or the session has lapsed, ApprovalClosed if it was answered,
    escalated to staff, used, or the cart has changed, ActorRefused for an agent, SessionQuarantined, KeyProblem.
    """
    _answer(approval_id, ApprovalStatus.GRANTED, actor, "")


def reject_approval(approval_id: uuid.UUID, *, reason: str = "", actor: Actor = CONSUMER) -> None:
    """Say no, and why, in at most 1000 characters, sealed; the agent can read it. The cart is not checked out as it is.

    Raises what ``grant_approval`` raises, InvalidValue.
    """
    check_text("/reason", reason, MAX_NOTE)
    _answer(approval_id, ApprovalStatus.REJECTED, actor, reason)


def escalate_approval(approval_id: uuid.UUID, *, reason: str = "", actor: Actor = CONSUMER) -> None:
    """Leave the answer to the shop's staff: from now on only they can give it, until the same window is over.

    Raises what ``reject_approval`` raises.
    """
    check_text("/reason", reason, MAX_NOTE)
    _answer(approval_id, ApprovalStatus.ESCALATED, actor, reason)


def refuse_answer(approval_id: uuid.UUID, *, cause: str) -> AnswerRefused:
    """Count an answer of a consumer that did not fit and return the refusal of it; the fifth rejects the approval.

    ``cause`` is ``person`` (it came from somebody else than the session's consumer) or ``total`` (they agreed to
    another total than the one that was asked about). Raises what ``grant_approval`` raises.
    """
    if cause not in FAILURES:
        raise InvalidValue("/cause", f"Send one of {', '.join(FAILURES)}.")
    row = stored_approval(approval_id)

    def act() -> AnswerRefused:
        head, now = _held(row), timezone.now()
        _require_waiting(row, head, CONSUMER, now)
        row.attempts += 1
        left = MAX_ATTEMPTS - row.attempts
        call = Call(row.capability, params={**public_facts(row), "attempts": row.attempts, "cause": cause})
        commit(head, Draft(APPROVAL_ATTEMPT_FAILED, SYSTEM, call))
        row.save(update_fields=["attempts"], using=_rows.write_connection().alias)
        if left <= 0:
            head = lock_head(row.session_id)
            _decide(row, head, ApprovalStatus.REJECTED, SYSTEM, "Too many answers did not fit.", now=now)
        return AnswerRefused(row.pk, left)

    return _settle(row, act)


def note_approval_opened(approval_id: uuid.UUID) -> None:
    """Keep when a human first saw what they are asked; it counts as the beginning of their review (A2)."""
    waiting = stored_approvals().filter(pk=approval_id, opened_at__isnull=True, status__in=WAITING)
    waiting.update(opened_at=timezone.now())


def expire_approvals(*, limit: int = 500) -> int:
    """Close up to ``limit`` approvals whose window has passed, granted and unused ones too; return how many.

    Those of sessions that end are closed with them. Safe to run twice at once and to stop anywhere; one that fails is
    logged, does not count and holds up no other. Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many approvals one run deals with: a whole number, 1 or more.")
    expired = 0
    for approval_id in lapsed_ids():
        if expired == limit:
            break
        try:
            expired += _expire(approval_id)
        except AgentSessionsError:
            logger.exception("Approval %s could not be closed; the next run tries again.", approval_id)
    return expired


def close_approvals(head: SessionHead) -> int:
    """Close the approval that is open when its session ends; return the session's version then.

    In the transaction of the end, before it, by whoever holds the session's row.
    """
    version = head.version
    for row in stored_approvals().filter(session_id=head.session_id, status__in=OPEN):
        version = _decide(row, head, ApprovalStatus.EXPIRED, SYSTEM, now=timezone.now(), allowed=_if_ending)
        head = lock_head(head.session_id)
    return version


def _expire(approval_id: uuid.UUID) -> bool:
    row = stored_approval(approval_id)

    def act() -> bool:
        head, now = _held(row), timezone.now()
        if row.status not in OPEN or now < row.expires_at:
            return False
        if head.is_live(now):
            _decide(row, head, ApprovalStatus.EXPIRED, SYSTEM, now=now)
            return True
        closed = head.status is Status.ENDED  # its end has said so; what is not there yet is left to that
        return closed and bool(stored_approvals().filter(pk=row.pk).update(status=ApprovalStatus.EXPIRED.value))

    return _rows.in_transaction(f"Session {row.session_id}", act)


def _answer(approval_id: uuid.UUID, status: ApprovalStatus, actor: Actor, text: str) -> None:
    row = stored_approval(approval_id)

    def act() -> None:
        head, now = _held(row), timezone.now()
        _require_waiting(row, head, actor, now)
        if status is ApprovalStatus.ESCALATED and row.status == ApprovalStatus.ESCALATED:
            raise ApprovalClosed(row.pk, row.status)
        if cart_fingerprint(current_state(head).state) != row.fingerprint:
            raise ApprovalClosed(row.pk, ApprovalStatus.VOID.value)
        _decide(row, head, status, actor, text, now=now)

    _settle(row, act)


def _settle(row: Approval, act: Callable[[], T]) -> T:
    try:
        return _rows.in_transaction(f"Session {row.session_id}", act)
    except SessionEnded as lapsed:  # its token was revoked, or its deadline has just passed
        raise ApprovalExpired(row.pk) from lapsed


def _held(row: Approval) -> SessionHead:
    """Hold the session's row until the transaction ends, and read the approval as it is then."""
    head = lock_head(row.session_id)
    row.refresh_from_db(using=_rows.write_connection().alias)
    return head


def _require_waiting(row: Approval, head: SessionHead, actor: Actor, now: datetime) -> None:
    """Raise what keeps ``actor`` from answering, if anything does."""
    if actor.kind == "agent":
        raise ActorRefused
    require_open(head)
    status = status_of(row, head, now)
    if status is ApprovalStatus.EXPIRED:
        raise ApprovalExpired(row.pk)
    if status not in WAITING or (status is ApprovalStatus.ESCALATED and actor.kind == "consumer"):
        raise ApprovalClosed(row.pk, status.value)


def _decide(
    row: Approval,
    head: SessionHead,
    status: ApprovalStatus,
    actor: Actor,
    text: str = "",
    *,
    now: datetime,
    allowed: Changing | None = None,
) -> int:
    """Write what became of an approval: a version, its event, its row; return the version.

    The caller holds the session's row. ``allowed`` decides whether the session may be changed.
    """
    decided = status in (ApprovalStatus.GRANTED, ApprovalStatus.REJECTED)
    facts: Patch = {"decided_at": format_time(now)} if decided else {}
    patch = settled(str(row.pk), status, keep=True, **facts)
    params: Mapping[str, JSONValue] = {**public_facts(row), **time_facts(row, now if decided else None)}
    if row.attempts:
        params = {**params, "attempts": row.attempts}
    call = Call(row.capability, params=params, policy_rule=row.rule)
    draft = Draft(_KINDS[status], actor, call, patch=patch, private={"reason": text} if text else {})
    made = commit(head, draft, row=allowed or _if_live)
    row.status = status.value
    if decided:
        row.decided_at, row.decided_by = now, str(actor)
    if text:
        body = {**opened_body(row, head), "answer" if decided else "question": text}
        row.body = seal_document(head.data_keys(), head.session_id, body_place(row.pk), 0, body)
    row.save(update_fields=["status", "decided_at", "decided_by", "body"], using=_rows.write_connection().alias)
    return made.version


def _if_live(head: SessionHead, now: datetime) -> RowChange:
    """Let a human's answer in while the session is paused or with a person: neither is the agent's doing."""
    require_live(head, now)
    return RowChange({})


def _if_ending(head: SessionHead, now: datetime) -> RowChange:
    """Let the end of an approval in while its session is being ended, be that overdue or revoked."""
    if head.status not in LIVE:
        require_live(head, now)
    return RowChange({}, when_overdue=None)
