"""Handing a session's cart to a human who pays for it (contract items 22 and 46)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import (
    CheckoutElsewhere,
    HandoffClosed,
    InvalidValue,
    SessionBusy,
    SessionEnded,
    VersionConflict,
)
from agent_sessions.models import CheckoutHandoff, Hold, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, lock_head, require_open
from agent_sessions.selectors.erasures import require_content
from agent_sessions.selectors.handoffs import handoff_to_resend, status_of, stored_handoff
from agent_sessions.selectors.history import state_at_version
from agent_sessions.selectors.in_progress import Device
from agent_sessions.services._commit import commit, in_any_standing
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import check_text, sealed_note
from agent_sessions.services.confirmations import CONSUMER, require_confirmed
from agent_sessions.services.releasing import release_after_end
from agent_sessions.services.sessions import end_session
from agent_sessions.signals import checkout_link_resent
from agent_sessions.store.handoffs import HandoffStatus
from agent_sessions.types import JSONValue

LINK_RESENT: Final = "checkout.link_resent"


@dataclass(frozen=True, slots=True)
class Link:
    """Where the human pays; whoever has the address may. ``expires_at`` is UTC.

    ``asked`` are the consumer's other active devices, on each of which they are asked to confirm it (C2).
    """

    url: str
    expires_at: datetime
    asked: tuple[Device, ...] = ()


@dataclass(slots=True)
class Resent:
    """A link that has taken the place of another. ``told`` says that the shop's own code was told, to send it.

    ``failed``: what it did with it raised an error, which is in the log.
    """

    url: str = field(repr=False)
    expires_at: datetime
    told: bool
    failed: bool = False


def make_link(head: SessionHead, *, version: int) -> Link:
    """Make the link to pay for what the cart holds at ``version``; it replaces every earlier one of the session.

    In the transaction of the call that hands over, so that neither is there without the other. Raises CheckoutElsewhere
    if the consumer, or another branch of the session, has a checkout in progress or has ordered.
    """
    now = timezone.now()
    expires_at = link_expires_at(head, now)
    token = secrets.token_urlsafe(32)
    handoffs = CheckoutHandoff.objects.using(_alias())
    handoffs.filter(session_id=head.session_id, closed_at__isnull=True).update(replaced_at=now, closed_at=now)
    _close_finished(head, now)
    try:
        with transaction.atomic(using=_alias()):
            handoffs.create(
                session_id=head.session_id,
                merchant=head.merchant,
                consumer=head.consumer,
                family=head.family,
                version=version,
                token_digest=token_digest(token),
                created_at=now,
                expires_at=expires_at,
            )
    except IntegrityError:
        raise _elsewhere(head) from None
    # Asked again after the row is there: one that was being ordered has kept the insert waiting.
    if _in_the_way(head).filter(ordered_at__isnull=False).exists():
        raise _elsewhere(head)
    return Link(settings.site + reverse("agent_sessions:handoff", args=[token]), expires_at)


def link_expires_at(head: SessionHead, now: datetime) -> datetime:
    """Return until when a link made now is good: no longer than its session, unless the handoff ends or ended that."""
    expires_at = now + settings.handoff_ttl
    outlives = settings.end_on_handoff or head.status is Status.ENDED
    return expires_at if outlives else min(expires_at, head.expires_at)


def resend_handoff(
    session: SessionHead | uuid.UUID,
    *,
    actor: Actor,
    note: str = "",
    expected_version: int | None = None,
    absolute: Callable[[str], str] = str,
    call: Call = NO_CALL,
) -> Resent:
    """Make another link to pay for what was handed over last; the one before it opens nothing any more.

    For somebody who has lost the link, or came after its time. It is told to whoever listens to the signal
    ``checkout_link_resent``, once it counts; nothing else keeps or logs it. ``absolute`` makes an address of a path
    where the setting SITE is empty. ``note`` says why, in at most 1000 characters, sealed.

    Raises HandoffNotFound, HandoffClosed (ordered, given up, ended), CheckoutElsewhere, VersionConflict, InvalidValue,
    PaymentDataRefused, ContentErased, SessionQuarantined, KeyProblem, SessionBusy.
    """
    session_id, private = id_of(session), sealed_note(note)

    def act() -> Resent:
        head = lock_head(session_id)
        require_open(head)
        row = handoff_to_resend(head)
        require_content(head)
        told: dict[str, JSONValue] = {"handed_version": row.version}
        draft = Draft(LINK_RESENT, actor, call, expected_version=expected_version, private=private)
        commit(head, draft, row=lambda now_head, _now: in_any_standing(now_head, told))
        link = make_link(head, version=row.version)
        resent = Resent(absolute(link.url), link.expires_at, checkout_link_resent.has_listeners(CheckoutHandoff))
        transaction.on_commit(partial(_tell, resent, session_id), using=_alias(), robust=True)
        return resent

    return _rows.in_transaction(f"Session {session_id}", act)


def _tell(resent: Resent, session_id: uuid.UUID) -> None:
    answers = checkout_link_resent.send_robust(
        CheckoutHandoff, session_id=session_id, url=resent.url, expires_at=resent.expires_at
    )
    resent.failed = any(isinstance(answer, Exception) for _, answer in answers)


def _close_finished(head: SessionHead, now: datetime) -> None:
    """Close the checkouts in the way of this session's that nobody can pay any more: no job has come by to do it."""
    sessions = Session.objects.exclude(end_reason=EndReason.COMPLETED.value).filter(
        Q(status=Status.ENDED.value) | Q(expires_at__lte=now)
    )
    finished = _in_the_way(head).filter(Q(expires_at__lte=now) | Q(session__in=sessions))
    finished.filter(closed_at__isnull=True).update(closed_at=now)


def _elsewhere(head: SessionHead) -> CheckoutElsewhere:
    other = _in_the_way(head).order_by("-order_ref", "-created_at").first()
    if other is None:
        raise SessionBusy(f"Session {head.session_id}")  # it was closed between the two statements
    return CheckoutElsewhere(other.session_id, None if other.order_ref else other.expires_at)


def _in_the_way(head: SessionHead) -> QuerySet[CheckoutHandoff]:
    """The checkouts beside which this session can have none: in progress, or ordered by its own family."""
    same_consumer = Q(merchant=head.merchant, consumer=head.consumer) & ~Q(consumer="")
    rows = CheckoutHandoff.objects.using(_alias()).exclude(session_id=head.session_id)
    return rows.filter(
        Q(closed_at__isnull=True) & (Q(family=head.family) | same_consumer)
        | Q(family=head.family, ordered_at__isnull=False)
    )


def note_handoff_opened(handoff_id: uuid.UUID) -> None:
    """Keep when the human first opened the link. Raises HandoffNotFound."""
    unopened = CheckoutHandoff.objects.using(_alias()).filter(pk=handoff_id, opened_at__isnull=True)
    if not unopened.update(opened_at=timezone.now()):
        stored_handoff(handoff_id)


def complete_handoff(handoff_id: uuid.UUID, *, version: int, order_ref: str, actor: Actor = CONSUMER) -> None:
    """Note that the human has ordered what they saw at ``version``; end the session if it is still live.

    Call it in the transaction that makes the order: then both are there or neither. One session leads to one order.

    Raises HandoffClosed if it cannot be paid any more (ordered, expired, replaced, given up, ended), VersionConflict if
    the agent has changed the cart since ``version``, DevicesUnconfirmed, HandoffNotFound, InvalidValue.
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
        require_confirmed(row, head)
        # Before the end, which releases what is held as ordered because this says so.
        row.order_ref = order_ref
        row.ordered_at = row.closed_at = timezone.now()
        row.save(update_fields=["order_ref", "ordered_at", "closed_at"], using=_alias())
        _note_ordered(head, row.ordered_at)
        if head.is_live():
            call = Call(capability="checkout", params={"order": order_ref})
            seen = _same_cart_now(row, head, version)
            try:
                end_session(head, reason=EndReason.COMPLETED, expected_version=seen, actor=actor, call=call)
            except SessionEnded as too_late:  # its deadline has just passed, or its token was revoked
                raise HandoffClosed(HandoffStatus.ENDED.value) from too_late
        elif version != row.version:
            raise VersionConflict(head.session_id, expected=version, current=row.version)
        else:
            release_after_end(head.session_id, Hold.Because.ORDERED)


def _note_ordered(head: SessionHead, ordered_at: datetime) -> None:
    """Start the clock of order evidence for all sessions of the family; those to come inherit it (A5)."""
    members = Session.objects.using(_alias()).filter(Q(pk=head.family) | Q(family=head.family, parent__isnull=False))
    # Locked first: a branch that is being opened is seen by the statement after that.
    list(members.select_for_update().order_by("pk").values_list("pk"))
    members.filter(ordered_at__isnull=True).update(ordered_at=ordered_at)


def _same_cart_now(row: CheckoutHandoff, head: SessionHead, seen: int) -> int:
    """Return the current version if it has the cart that the human saw: a hold that has ended is no other cart."""
    if row.version <= seen < head.version:
        before, now = (state_at_version(head, number).state.get("shopping") for number in (seen, head.version))
        return head.version if before == now else seen
    return seen


def _require_open(row: CheckoutHandoff, head: SessionHead) -> None:
    status = status_of(row, head)
    if status not in (HandoffStatus.OPEN, HandoffStatus.CHANGED):
        raise HandoffClosed(status.value, row.order_ref)


def _alias() -> str:
    return _rows.write_connection().alias
