"""Handing a session's cart to a human who pays for it (contract items 22 and 46)."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import HandoffClosed, InvalidValue, SessionEnded, VersionConflict
from agent_sessions.models import CheckoutHandoff
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, lock_head
from agent_sessions.selectors.handoffs import status_of, stored_handoff
from agent_sessions.services.sessions import check_text, end_session
from agent_sessions.store.handoffs import HandoffStatus

CONSUMER = Actor("consumer")


@dataclass(frozen=True, slots=True)
class Link:
    """Where the human pays; whoever has the address may. ``expires_at`` is UTC."""

    url: str
    expires_at: datetime


def make_link(session_id: uuid.UUID, *, version: int, session_expires_at: datetime) -> Link:
    """Make the link to pay for what the cart holds at ``version``; it replaces every earlier one of the session.

    In the transaction of the call that hands over, so that neither is there without the other.
    """
    now = timezone.now()
    expires_at = now + settings.handoff_ttl
    if not settings.end_on_handoff:
        expires_at = min(expires_at, session_expires_at)
    token = secrets.token_urlsafe(32)
    handoffs = CheckoutHandoff.objects.using(_alias())
    handoffs.filter(session_id=session_id, replaced_at__isnull=True, order_ref="").update(replaced_at=now)
    handoffs.create(
        session_id=session_id, version=version, token_digest=token_digest(token), created_at=now, expires_at=expires_at
    )
    return Link(settings.site + reverse("agent_sessions:handoff", args=[token]), expires_at)


def note_handoff_opened(handoff_id: uuid.UUID) -> None:
    """Keep when the human first opened the link. Raises HandoffNotFound."""
    unopened = CheckoutHandoff.objects.using(_alias()).filter(pk=handoff_id, opened_at__isnull=True)
    if not unopened.update(opened_at=timezone.now()):
        stored_handoff(handoff_id)


def complete_handoff(handoff_id: uuid.UUID, *, version: int, order_ref: str, actor: Actor = CONSUMER) -> None:
    """Note that the human has ordered what they saw at ``version``; end the session if it is still live.

    Call it in the transaction that makes the order: then both are there or neither. One session leads to one order.

    Raises HandoffClosed if it cannot be paid any more (ordered, expired, replaced, ended), VersionConflict if the
    agent has changed the cart since ``version``, HandoffNotFound, InvalidValue.
    """
    check_text("/order_ref", order_ref, 100)
    if not order_ref:
        raise InvalidValue("/order_ref", "Send the reference by which the shop finds the order, such as its number.")
    if type(version) is not int:
        raise InvalidValue("/version", "Send the number of the version that the human saw.")
    row = stored_handoff(handoff_id)
    with transaction.atomic(using=_alias()):
        # The session first, as the agent's calls do it: who locks in one order never waits for each other in a circle.
        head = lock_head(row.session_id)
        row.refresh_from_db()
        _require_open(row, head)
        if head.is_live():
            call = Call(capability="checkout", params={"order": order_ref})
            try:
                end_session(head, reason=EndReason.COMPLETED, expected_version=version, actor=actor, call=call)
            except SessionEnded as too_late:  # its deadline has just passed, or its token was revoked
                raise HandoffClosed(HandoffStatus.ENDED.value) from too_late
        elif version != row.version:
            raise VersionConflict(head.session_id, expected=version, current=row.version)
        row.order_ref, row.ordered_at = order_ref, timezone.now()
        row.save(update_fields=["order_ref", "ordered_at"], using=_alias())


def _require_open(row: CheckoutHandoff, head: SessionHead) -> None:
    status = status_of(row, head)
    if status not in (HandoffStatus.OPEN, HandoffStatus.CHANGED):
        raise HandoffClosed(status.value, row.order_ref)


def _alias() -> str:
    return _rows.write_connection().alias
