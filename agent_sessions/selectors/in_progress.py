"""What a consumer has going on with a merchant, over all devices and agents (C1, C2)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.domain.lifecycle import LIVE, EndReason, Status
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.models import CheckoutHandoff, DeviceConfirmation, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.history import current_state, state_at_version
from agent_sessions.store.cart import cart_fingerprint
from agent_sessions.types import State

MAX_DEVICES: Final = 50


@dataclass(frozen=True, slots=True)
class InProgress:
    """A live session of the consumer, or one whose checkout is still to be paid.

    ``state`` is None where it cannot be read. ``checkout_until`` (UTC) is set while a checkout of it is in progress,
    and ``handoff_id`` is that one's.
    """

    head: SessionHead
    state: State | None
    checkout_until: datetime | None
    handoff_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """Another agent that is active for the same consumer: its live session.

    What goes on from that one, such as its renewal, is of the same ``family`` and still the same device.
    """

    session_id: uuid.UUID
    family: uuid.UUID
    agent_name: str


@dataclass(frozen=True, slots=True)
class AskedConfirmation:
    """A checkout elsewhere that the consumer is asked about on this device; ``answer`` is empty while it is open."""

    session_id: uuid.UUID
    agent_name: str
    asked_at: datetime
    answer: str


def in_progress(merchant: str, consumer: str) -> list[InProgress]:
    """Return what a consumer has going on, the latest first, at most 50; nothing for nobody."""
    if not consumer:
        return []
    checkouts = {row.session_id: row for row in _checkouts(merchant, consumer)}
    ids = list(live_sessions(merchant, consumer).order_by("-created_at").values_list("pk", flat=True)[:MAX_DEVICES])
    ids += [session_id for session_id in checkouts if session_id not in ids]
    found = []
    for session_id in ids:
        head = read_head(session_id)
        row = checkouts.get(session_id)
        # Ended otherwise than by handing over, its link is worth nothing, though nobody has closed it yet.
        if row is not None and not (head.is_live() or head.end_reason == EndReason.COMPLETED):
            row = None
        if head.is_live() or row is not None:
            until, handoff_id = (None, None) if row is None else (row.expires_at, row.pk)
            found.append(InProgress(head, _state(head), until, handoff_id))
    return found


def count_in_progress(merchant: str, consumer: str, *, besides: uuid.UUID) -> int:
    """Return how many sessions of a consumer are in progress ``besides`` one; no content is read."""
    if not consumer:
        return 0
    payable = _checkouts(merchant, consumer).filter(
        session__status=Status.ENDED.value, session__end_reason=EndReason.COMPLETED.value
    )
    return live_sessions(merchant, consumer).exclude(pk=besides).count() + payable.count()


def other_devices(head: SessionHead, *, but: Collection[uuid.UUID] = ()) -> list[Device]:
    """Return the other agents that are active for the session's consumer: live sessions that are not of its family.

    At most 50, oldest first, without those of the families in ``but``.
    """
    if not head.consumer:
        return []
    others = live_sessions(head.merchant, head.consumer).exclude(family__in=[head.family, *but]).order_by("created_at")
    return [Device(*row) for row in others.values_list("pk", "family", "agent_name")[:MAX_DEVICES]]


def confirmations_asked(head: SessionHead) -> list[AskedConfirmation]:
    """Return the checkouts on other devices that the consumer is, or was, asked about on this one."""
    if not head.consumer:
        return []
    rows = DeviceConfirmation.objects.using(_rows.write_connection().alias).filter(device__family=head.family)
    rows = rows.filter(session__in=_checkouts(head.merchant, head.consumer).values("session_id"))
    columns = rows.order_by("asked_at").values_list("session_id", "session__agent_name", "asked_at", "answer")
    return list({row[0]: AskedConfirmation(*row) for row in columns}.values())


def unconfirmed(row: CheckoutHandoff, head: SessionHead) -> list[Device]:
    """Return the active devices on which the consumer has not confirmed this checkout's cart."""
    if not other_devices(head):
        return []
    answered = DeviceConfirmation.objects.using(_rows.write_connection().alias).filter(
        session_id=head.session_id, answer=DeviceConfirmation.Answer.CONFIRMED, fingerprint=fingerprint_of(row, head)
    )
    confirmed = set(answered.values_list("device__family", flat=True))
    # What was said in person about this cart, which is what the rows are for, counts for all devices.
    return [] if confirmed and row.confirmed_at is not None else other_devices(head, but=confirmed)


def fingerprint_of(row: CheckoutHandoff, head: SessionHead) -> str:
    """Return the fingerprint of the cart that a checkout is about: the session's now, or when it ended with that."""
    version = head.version if head.is_live() else row.version
    return cart_fingerprint(state_at_version(head, version).state)


def live_sessions(merchant: str, consumer: str) -> QuerySet[Session]:
    """Return a consumer's live sessions with a merchant, in no order."""
    return Session.objects.using(_rows.write_connection().alias).filter(
        merchant=merchant,
        consumer=consumer,
        status__in=[status.value for status in LIVE],
        expires_at__gt=timezone.now(),
        token_key__revoked_at__isnull=True,
    )


def _checkouts(merchant: str, consumer: str) -> QuerySet[CheckoutHandoff]:
    rows = CheckoutHandoff.objects.using(_rows.write_connection().alias)
    return rows.filter(merchant=merchant, consumer=consumer, closed_at__isnull=True, expires_at__gt=timezone.now())


def _state(head: SessionHead) -> State | None:
    """Return what the session holds; what is damaged or erased holds up no overview."""
    try:
        return current_state(head).state
    except AgentSessionsError:
        return None
