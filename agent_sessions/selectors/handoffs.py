"""Reads of what was handed to a human."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.lifecycle import EndReason, Status, is_expired
from agent_sessions.exceptions import HandoffClosed, HandoffNotFound
from agent_sessions.models import CheckoutHandoff
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.history import state_at_version
from agent_sessions.selectors.in_progress import unconfirmed
from agent_sessions.store.handoffs import PAYABLE, Handoff, HandoffStatus

SESSION_KEY = "agent_sessions_handoff"
"""Where the human's Django session keeps the id of the handoff they came by."""


def handoff_by_token(token: str) -> Handoff:
    """Return the handoff that a link's token stands for. Raises HandoffNotFound and what ``get_handoff`` raises."""
    row = _rows_of_handoffs().filter(token_digest=token_digest(token)).first()
    if row is None:
        raise HandoffNotFound
    return _described(row)


def get_handoff(handoff_id: uuid.UUID) -> Handoff:
    """Return a handoff as it stands now.

    Raises HandoffNotFound, SessionQuarantined, SessionDamaged, ContentErased, KeyProblem.
    """
    return _described(stored_handoff(handoff_id))


def handoff_of_request(request: HttpRequest) -> Handoff | None:
    """Return the handoff by which this human came, or None. Raises what ``get_handoff`` raises."""
    kept = request.session.get(SESSION_KEY) if hasattr(request, "session") else None
    if kept is None:
        return None
    try:
        return get_handoff(uuid.UUID(kept))
    except HandoffNotFound:
        return None


def remember_handoff(request: HttpRequest, handoff_id: uuid.UUID) -> None:
    """Let ``handoff_of_request`` find it in this human's Django session from now on."""
    if hasattr(request, "session"):
        request.session[SESSION_KEY] = str(handoff_id)


def stored_handoff(handoff_id: uuid.UUID) -> CheckoutHandoff:
    """Return the row. Raises HandoffNotFound."""
    row = _rows_of_handoffs().filter(pk=handoff_id).first()
    if row is None:
        raise HandoffNotFound
    return row


def status_of(row: CheckoutHandoff, head: SessionHead) -> HandoffStatus:
    """Tell what has become of a handoff, whose session stands at ``head``."""
    now = timezone.now()
    if row.order_ref:
        return HandoffStatus.ORDERED
    if row.replaced_at is not None:
        return HandoffStatus.REPLACED
    if row.given_up_at is not None:
        return HandoffStatus.GIVEN_UP
    if is_expired(now, row.expires_at):
        return HandoffStatus.EXPIRED
    if head.status is Status.ENDED:
        # Completed without an order: the handoff itself has ended the session (END_ON_HANDOFF).
        return HandoffStatus.OPEN if head.end_reason == EndReason.COMPLETED else HandoffStatus.ENDED
    if not head.is_live(now):
        return HandoffStatus.ENDED
    return HandoffStatus.OPEN if head.version == row.version else HandoffStatus.CHANGED


def handoff_to_resend(head: SessionHead) -> CheckoutHandoff:
    """Return the session's last handoff, if a human may be given another link for it: it is open, or has run out.

    Raises HandoffNotFound if the session has none; HandoffClosed if it was ordered, given up, or ended otherwise.
    """
    rows = _rows_of_handoffs().filter(session_id=head.session_id, replaced_at__isnull=True)
    row = rows.order_by("-created_at", "-pk").first()
    if row is None:
        raise HandoffNotFound
    status = status_of(row, head)
    if status is HandoffStatus.EXPIRED and not (head.is_live() or head.end_reason == EndReason.COMPLETED):
        status = HandoffStatus.ENDED
    if status not in (*PAYABLE, HandoffStatus.EXPIRED):
        raise HandoffClosed(status.value, row.order_ref)
    return row


def _described(row: CheckoutHandoff) -> Handoff:
    head = read_head(row.session_id)
    status = status_of(row, head)
    version = head.version if status is HandoffStatus.CHANGED else row.version
    state = state_at_version(head, version).state
    if status is HandoffStatus.CHANGED:
        handed = state_at_version(head, row.version).state
        if handed.get("shopping") == state.get("shopping"):
            status = HandoffStatus.OPEN  # what has changed is not what is paid for
    return Handoff(
        id=row.pk,
        session_id=row.session_id,
        status=status,
        handed_version=row.version,
        version=version,
        state=state,
        agent_name=head.agent_name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        order_ref=row.order_ref,
        others=tuple(device.agent_name for device in unconfirmed(row, head)) if status in PAYABLE else (),
    )


def _rows_of_handoffs() -> QuerySet[CheckoutHandoff]:
    return CheckoutHandoff.objects.using(_rows.write_connection().alias)
