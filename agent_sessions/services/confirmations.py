"""Before a payment the consumer is asked on every device that is active for them (C1, C2).

A checkout asks all other live sessions of the consumer. Each answers for its device: confirmed, or declined, which
gives the checkout up. Where the consumer pays in person, the page shows the others and their one answer counts for all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress

from django.db.models import F, QuerySet
from django.utils import timezone

from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import AgentSessionsError, DevicesUnconfirmed, HandoffNotFound
from agent_sessions.models import CheckoutHandoff, DeviceConfirmation, Hold, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, lock_head
from agent_sessions.selectors.handoffs import stored_handoff
from agent_sessions.selectors.in_progress import Device, fingerprint_of, other_devices, unconfirmed
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services.releasing import release_after_end

ASKED, CONFIRMED, DECLINED = "confirmation.asked", "confirmation.given", "confirmation.declined"
GIVEN_UP = "checkout.given_up"
CONSUMER = Actor("consumer")
Answer = DeviceConfirmation.Answer


def ask_devices(head: SessionHead, fingerprint: str) -> list[Device]:
    """Ask the consumer on all other active devices about this session's cart; in the transaction of the checkout.

    A device that has confirmed this very cart is not asked again; one that has declined it is. Return those that were
    asked.
    """
    rows = DeviceConfirmation.objects.using(_alias()).filter(session_id=head.session_id)
    rows.exclude(fingerprint=fingerprint, answer=Answer.CONFIRMED).delete()
    asked = other_devices(head, but=set(rows.values_list("device__family", flat=True)))
    now = timezone.now()
    DeviceConfirmation.objects.using(_alias()).bulk_create(
        DeviceConfirmation(
            session_id=head.session_id, device_id=device.session_id, fingerprint=fingerprint, asked_at=now
        )
        for device in asked
    )
    return asked


def tell_devices(head: SessionHead, asked: Iterable[Device]) -> None:
    """Let the history of each device say that it was asked, so that its agent hears of it. After the checkout."""
    for device in asked:
        with suppress(AgentSessionsError):  # it has ended meanwhile, or is closed: then it need not be told
            call = Call(params={"session": str(head.session_id)})
            commit(device.session_id, Draft(ASKED, Actor("system"), call))


def answer_confirmation(
    device: SessionHead, checkout: uuid.UUID, *, confirmed: bool, actor: Actor = AGENT, call: Call = NO_CALL
) -> None:
    """Say what the consumer said on this device about the checkout of another session.

    Declined gives the checkout up: nobody can pay it any more. Raises HandoffNotFound if this device was not asked, or
    the checkout is over, and what ``record_event`` raises.
    """
    told = Call(call.capability, call.method, params={"session": str(checkout)}, response_status=call.response_status)

    def write() -> None:
        commit(device, Draft(CONFIRMED if confirmed else DECLINED, actor, told))
        asked = DeviceConfirmation.objects.using(_alias()).filter(session_id=checkout, device__family=device.family)
        open_one = CheckoutHandoff.objects.using(_alias()).filter(session_id=checkout, closed_at__isnull=True)
        answer = Answer.CONFIRMED if confirmed else Answer.DECLINED
        if not open_one.exists() or not asked.update(answer=answer, answered_at=timezone.now()):
            raise HandoffNotFound
        if not confirmed and not _close(checkout, open_one):
            raise HandoffNotFound  # it has just been paid

    _rows.in_transaction(f"Session {device.session_id}", write)
    if not confirmed:
        _tell_given_up(checkout, Actor("system"), Call(params={"session": str(device.session_id)}))


def confirm_devices(handoff_id: uuid.UUID, *, actor: Actor = CONSUMER) -> None:
    """Take down that the consumer, who is about to pay in person, goes on with this cart and not with the others.

    Call it when the person has seen ``Handoff.others`` and sent the form. A checkout that is over stays as it is.
    Raises HandoffNotFound, SessionBusy.
    """
    session_id = stored_handoff(handoff_id).session_id

    def write() -> int | None:
        head = lock_head(session_id)
        row = stored_handoff(handoff_id)
        if row.closed_at is not None:
            return None
        fingerprint = fingerprint_of(row, head)
        now = timezone.now()
        rows = DeviceConfirmation.objects.using(_alias())
        ask_devices(head, fingerprint)
        others = [device.session_id for device in other_devices(head)]
        rows.filter(session_id=head.session_id, device_id__in=others).update(answer=Answer.CONFIRMED, answered_at=now)
        CheckoutHandoff.objects.using(_alias()).filter(pk=handoff_id).update(confirmed_at=now)
        return len(others)

    devices = _rows.in_transaction(f"Session {session_id}", write)
    if devices is not None:
        with suppress(AgentSessionsError):  # the handoff may have ended the session: then the row alone says it
            commit(session_id, Draft(CONFIRMED, actor, Call(params={"devices": devices})))


def require_confirmed(row: CheckoutHandoff, head: SessionHead) -> None:
    """Refuse a payment that the consumer has not confirmed for all active devices. Raises DevicesUnconfirmed.

    Who comes along after the consumer has confirmed in person does not hold up the payment that they are making.
    """
    missing = unconfirmed(row, head)
    if missing:
        raise DevicesUnconfirmed([device.agent_name or "an agent without a name" for device in missing])


def give_up_checkout(
    session_id: uuid.UUID, *, merchant: str, consumer: str = "", actor: Actor = AGENT, call: Call = NO_CALL
) -> None:
    """Give up the checkout that a session has in progress: its link can no longer be paid, another may begin.

    ``consumer`` is the one who wants that, from any of their agents; empty for the session itself. Raises
    HandoffNotFound if there is none in progress, or it is not theirs.
    """
    rows = CheckoutHandoff.objects.using(_alias()).filter(session_id=session_id, merchant=merchant)
    if consumer:
        rows = rows.filter(consumer=consumer)
    open_one = rows.filter(closed_at__isnull=True)
    if not _rows.in_transaction(f"Session {session_id}", lambda: _close(session_id, open_one)):
        raise HandoffNotFound
    _tell_given_up(session_id, actor, call)


def _tell_given_up(session_id: uuid.UUID, actor: Actor, call: Call) -> None:
    with suppress(AgentSessionsError):  # the handoff may have ended the session
        commit(session_id, Draft(GIVEN_UP, actor, call))


def _close(session_id: uuid.UUID, rows: QuerySet[CheckoutHandoff]) -> int:
    """Close a session's checkout and, if the session is over, let go what was held for it; return if it was open."""
    # The session first, as who pays and who hands over do it; but only if the checkout is there to be closed.
    Session.objects.using(_alias()).filter(pk__in=rows.values("session_id")).update(head_seq=F("head_seq"))
    now = timezone.now()
    closed = rows.update(closed_at=now, given_up_at=now)
    if closed:
        release_after_end(session_id, Hold.Because.RELEASED)
    return closed


def _alias() -> str:
    return _rows.write_connection().alias
