"""Reads of what a human was asked about a cart, and of what came of it (L5)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.approvals import OPEN, WAITING, ApprovalStatus
from agent_sessions.domain.lifecycle import LIVE, Status, is_expired
from agent_sessions.domain.shown_cart import Document, shown_cart
from agent_sessions.exceptions import ApprovalNotFound, ContentErased
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors._states import open_document
from agent_sessions.selectors.erasures import ErasedNote, erased
from agent_sessions.selectors.history import state_at_version

MAX_ATTEMPTS: Final = 5
"""Answers that do not fit; with the last of them the approval counts as rejected."""


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An approval as it stands now. Times are UTC, ``amount`` is in minor units.

    ``reason`` is why the agent paused, ``question`` what the consumer asked the staff when they left it to them,
    ``answer`` what was written with the answer; all are empty once they were erased, and ``erased`` says by which rule.
    ``version`` is the one whose cart was shown. ``decided_by`` is an actor's text: ``consumer``, ``staff:17``.
    """

    id: uuid.UUID
    session_id: uuid.UUID
    status: ApprovalStatus
    capability: str
    rule: str
    reason: str
    question: str
    answer: str
    version: int
    amount: int
    currency: str
    attempts_left: int
    requested_at: datetime
    expires_at: datetime
    opened_at: datetime | None
    decided_at: datetime | None
    decided_by: str
    used_at: datetime | None
    agent_name: str
    merchant: str
    consumer: str
    erased: ErasedNote | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody can still answer it."""
        return self.status in WAITING

    @property
    def time_left(self) -> timedelta:
        """How long it can still be answered or, once granted, used."""
        left = self.expires_at - timezone.now()
        return max(left, timedelta()) if self.status in OPEN else timedelta()

    @property
    def time_taken(self) -> timedelta | None:
        """From when the human first saw it to the answer; from the request if nobody had opened the link."""
        return None if self.decided_at is None else self.decided_at - (self.opened_at or self.requested_at)


def approval_by_token(token: str) -> ApprovalView:
    """Return the approval that a link's token stands for. Raises ApprovalNotFound and what ``get_approval`` raises."""
    row = stored_approvals().filter(token_digest=token_digest(token)).first()
    if row is None:
        raise ApprovalNotFound
    return _described(row, read_head(row.session_id))


def get_approval(approval_id: uuid.UUID) -> ApprovalView:
    """Return an approval as it stands now. Raises ApprovalNotFound, SessionDamaged, KeyProblem."""
    row = stored_approval(approval_id)
    return _described(row, read_head(row.session_id))


def waiting_approval(head: SessionHead) -> uuid.UUID | None:
    """Return the approval of the session that somebody can still answer, None if none waits."""
    now = timezone.now()
    if not head.is_live(now):
        return None
    rows = stored_approvals().filter(session_id=head.session_id, status__in=WAITING, expires_at__gt=now)
    return rows.order_by("-pk").values_list("pk", flat=True).first()


def approvals_of(session: SessionHead | uuid.UUID, *, limit: int = 20) -> list[ApprovalView]:
    """Return the session's approvals, newest first. Raises what ``get_approval`` raises; InvalidValue for the limit."""
    head = session if isinstance(session, SessionHead) else read_head(session)
    rows = stored_approvals().filter(session_id=head.session_id).order_by("-pk")[: _rows.checked_limit(limit)]
    return [_described(row, head) for row in rows]


def cart_of_approval(approval: ApprovalView) -> Document:
    """Return the cart that was asked about, as ``shown_cart`` tells it. Raises what ``state_at_version`` raises."""
    return shown_cart(state_at_version(approval.session_id, approval.version).state)


def stored_approval(approval_id: uuid.UUID) -> Approval:
    """Return the row. Raises ApprovalNotFound."""
    row = stored_approvals().filter(pk=approval_id).first()
    if row is None:
        raise ApprovalNotFound
    return row


def status_of(row: Approval, head: SessionHead, now: datetime) -> ApprovalStatus:
    """Tell where an approval stands whose session stands at ``head``, whether or not a job has come by."""
    status = ApprovalStatus(row.status)
    if status in OPEN and (is_expired(now, row.expires_at) or not head.is_live(now)):
        return ApprovalStatus.EXPIRED
    return status


def lapsed_approvals() -> QuerySet[Approval]:
    """Approvals whose window has passed and that nobody has closed; those of a session that is being ended are not."""
    now = timezone.now()
    live = Q(session__status__in=[status.value for status in LIVE], session__expires_at__gt=now)
    lapsed = stored_approvals().filter(status__in=OPEN, expires_at__lte=now)
    return lapsed.filter(live | Q(session__status=Status.ENDED.value))


def count_lapsed_approvals() -> int:
    """Count the approvals that wait for ``expire_approvals``."""
    return lapsed_approvals().count()


def lapsed_ids(*, chunk: int = 500) -> Iterator[uuid.UUID]:
    """Yield the ids of lapsed approvals, oldest first, a chunk per query, so that no cursor is open meanwhile."""
    rows = lapsed_approvals().order_by("pk").values_list("pk", flat=True)
    ids = list(rows[:chunk])
    while ids:
        yield from ids
        ids = list(rows.filter(pk__gt=ids[-1])[:chunk])


def body_place(approval_id: uuid.UUID) -> str:
    """Name the place that an approval's words are sealed at."""
    return f"approval {approval_id.hex}"


def opened_body(row: Approval, head: SessionHead) -> dict[str, str]:
    """Return an approval's reason, question and answer. Raises SessionDamaged, ContentErased, KeyProblem."""
    keys = head.data_keys()
    if row.body is None or not keys.has_personal:
        note = erased(head).get("personal", ErasedNote("personal"))
        raise ContentErased(row.session_id, rule=note.rule, at=note.at)
    body: dict[str, str] = open_document(keys, row.session_id, body_place(row.pk), 0, row.body)
    return body


def stored_approvals() -> QuerySet[Approval]:
    return Approval.objects.using(_rows.write_connection().alias)


def _described(row: Approval, head: SessionHead) -> ApprovalView:
    try:
        body = opened_body(row, head)
        note = None
    except ContentErased:
        body, note = {}, erased(head).get("personal", ErasedNote("personal"))
    return ApprovalView(
        id=row.pk,
        session_id=row.session_id,
        status=status_of(row, head, timezone.now()),
        capability=row.capability,
        rule=row.rule,
        reason=body.get("reason", ""),
        question=body.get("question", ""),
        answer=body.get("answer", ""),
        version=row.version,
        amount=row.amount,
        currency=row.currency,
        attempts_left=max(0, MAX_ATTEMPTS - row.attempts),
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        opened_at=row.opened_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        used_at=row.used_at,
        agent_name=head.agent_name,
        merchant=head.merchant,
        consumer=head.consumer,
        erased=note,
    )
