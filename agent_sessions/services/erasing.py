"""Erasing what ended sessions say, class by class: the one place that does (A5, A7).

A session's history says first that it is erased, by which rule and why. Then the key of the class is destroyed, which
alone makes everything unreadable that it sealed, also in copies of the database once the master key's epoch is gone.
Then what is stored under it is emptied. All of that is one transaction. What stays: the chain, whose events hold
commitments and nothing personal, the artifact, the log, numbers, times and the shop's own references.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from agent_sessions.audit.events import ERASED
from agent_sessions.conf import settings
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.references import CONSUMER, reference
from agent_sessions.exceptions import ContentErased, ErasedTooEarly, InvalidValue, LegallyHeld, SessionNotEnded
from agent_sessions.models import (
    Approval,
    AuditEvent,
    Caller,
    CheckoutHandoff,
    DeviceConfirmation,
    Hold,
    IdempotencyRecord,
    Message,
    Session,
    SessionKey,
    SessionReference,
    SessionVersion,
    StoreChange,
    TransferGrant,
)
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import SessionHead, lock_head, require_open
from agent_sessions.selectors._keys import DataClass
from agent_sessions.selectors.erasures import erased
from agent_sessions.selectors.legal_holds import held, held_among, holds_on, keep_holds_still
from agent_sessions.selectors.retention import earliest_erasure
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services._write import RowChange
from agent_sessions.services.releasing import release_after_end
from agent_sessions.types import JSONValue

_CLASSES: Final[tuple[DataClass, ...]] = ("content", "personal")
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why something is erased: the name of a retention rule or ``request``, and what that rests on (``GDPR Art. 17``).

    All of it stands in the session's history for good.
    """

    rule: str
    basis: str
    because: Literal["retention", "erasure"]


def erase(head: SessionHead, classes: frozenset[DataClass], grounds: Grounds, *, actor: Actor) -> Committed | None:
    """Erase these classes of what an ended session says, in the transaction that is open or in one of its own.

    With the content goes what is personal, because it hangs on it. Returns None, with nothing done, if all of that was
    erased before. In a transaction of the caller call ``keep_holds_still`` before anything else.

    Raises SessionNotEnded, SessionQuarantined, LegallyHeld, SessionBusy; then nothing was erased.
    """
    made = erase_all([head], classes, grounds, actor=actor)
    return made[0] if made else None


def erase_all(
    heads: Sequence[SessionHead], classes: frozenset[DataClass], grounds: Grounds, *, actor: Actor
) -> list[Committed]:
    """Erase these classes of several sessions, all or none; return the events of those that had something left.

    Raises what ``erase`` raises, for the first session that it is about.
    """
    return _rows.in_transaction("Sessions to be erased", lambda: _erase(heads, classes, grounds, actor))


def purge_session(session_id: uuid.UUID, data_class: DataClass, *, reason: str, actor: Actor) -> Committed:
    """Erase a class of what an ended session says before its time: ``personal``, or ``content``, which takes both.

    ``reason``, 1 to 200 characters, stands in the clear in the session's history for good: nothing personal.

    Raises InvalidValue, PaymentDataRefused, SessionNotFound, SessionNotEnded, SessionQuarantined, SessionBusy,
    LegallyHeld, ErasedTooEarly while a minimum period runs, ContentErased if it was erased before; then nothing was.
    """
    if data_class not in _CLASSES:
        raise InvalidValue("/data_class", f"Choose one of {', '.join(_CLASSES)}.")
    check_text("/reason", reason, _LONGEST)
    if not reason.strip():
        raise InvalidValue("/reason", f"Say in 1 to {_LONGEST} characters why it is erased.")
    require_no_payment_data({"reason": reason})

    def act() -> Committed:
        keep_holds_still()
        head = lock_head(session_id)
        earliest = earliest_erasure(head).get(data_class)
        if head.status is Status.ENDED and earliest is not None and earliest.at > timezone.now():
            raise ErasedTooEarly(session_id, rule=earliest.rule, possible_at=earliest.at)
        made = erase(head, frozenset({data_class}), Grounds("request", reason, "erasure"), actor=actor)
        if made is None:
            note = erased(head)[data_class]
            raise ContentErased(session_id, rule=note.rule, at=note.at)
        return made

    return _rows.in_transaction(f"Session {session_id}", act)


def _erase(
    heads: Sequence[SessionHead], classes: frozenset[DataClass], grounds: Grounds, actor: Actor
) -> list[Committed]:
    keep_holds_still()
    rows = _locked([head.session_id for head in heads])
    for session_id in held_among(rows):
        raise LegallyHeld(session_id, [hold.hold_id for hold in holds_on(session_id)])
    wanted = frozenset(_CLASSES) if "content" in classes else classes
    made: list[Committed] = []
    emptied: dict[frozenset[DataClass], list[Session]] = {}
    for head in heads:
        row = rows[head.session_id]
        left = frozenset(name for name in wanted if getattr(row, f"{name}_erased_at") is None)
        if left:
            made.append(_tell(head, left, grounds, actor))
            emptied.setdefault(left, []).append(row)
            transaction.on_commit(partial(_cache.forget, head), using=_alias(), robust=True)
    for left, sessions in emptied.items():
        _destroy(sessions, left)
    return made


def _locked(session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Session]:
    """Lock the sessions, in one order, and return what stands in their rows of whom they are about."""
    rows = Session.objects.using(_alias()).select_for_update().filter(pk__in=list(session_ids)).order_by("pk")
    columns = ("merchant", "consumer", "caller", "personal_erased_at", "content_erased_at")
    return {row.pk: row for row in rows.only(*columns)}


def _tell(head: SessionHead, classes: frozenset[DataClass], grounds: Grounds, actor: Actor) -> Committed:
    def decide(head: SessionHead, now: datetime) -> RowChange:
        require_open(head)
        if head.status is not Status.ENDED:
            raise SessionNotEnded(head.session_id)
        columns: dict[str, object] = {f"{name}_erased_at": now for name in classes}
        if "personal" in classes:
            columns |= {"consumer": "", "caller": "", "bound_to": ""}
        told: dict[str, JSONValue] = {
            "classes": [*sorted(classes)],
            "rule": grounds.rule,
            "basis": grounds.basis,
            "because": grounds.because,
            "unrecoverable_after": (now + settings.erasure_horizon).date().isoformat(),
        }
        return RowChange(columns, told=told, after_end=True)

    return commit(head, Draft(ERASED, actor), row=decide)


def _destroy(sessions: Sequence[Session], classes: frozenset[DataClass]) -> None:
    """Destroy the keys of these classes, then empty what they sealed; for sessions whose history says so already."""
    ids = [session.pk for session in sessions]
    keys = SessionKey.objects.using(_alias()).filter(pk__in=ids)
    if "content" in classes:
        keys.delete()
    else:
        keys.update(personal=None)
    _close_checkouts(ids)
    _empty_versions(ids, classes)
    if "content" in classes:
        Hold.objects.using(_alias()).filter(session_id__in=ids, released_at__isnull=False).delete()
        # A digest of a cart says what was in it to whoever can guess that.
        Approval.objects.using(_alias()).filter(session_id__in=ids).exclude(fingerprint="").update(fingerprint="")
    if "personal" in classes:
        _empty_personal(ids)
        _forget_people(sessions)


def _close_checkouts(ids: list[uuid.UUID]) -> None:
    """Close the links that lead to what is gone, and let go what was held for whoever would have paid."""
    now = timezone.now()
    CheckoutHandoff.objects.using(_alias()).filter(session_id__in=ids, closed_at__isnull=True).update(
        closed_at=now, given_up_at=now
    )
    holding = Hold.objects.using(_alias()).filter(session_id__in=ids, released_at__isnull=True)
    for session_id in sorted(set(holding.values_list("session_id", flat=True))):
        release_after_end(session_id, Hold.Because.ENDED)


def _empty_versions(ids: list[uuid.UUID], classes: frozenset[DataClass]) -> None:
    columns = [name for one, prefix in (("content", ""), ("personal", "personal_")) if one in classes
               for name in (f"{prefix}patch", f"{prefix}snapshot")]  # fmt: skip
    filled = Q()
    for name in columns:
        filled |= Q(**{f"{name}__isnull": False})
    SessionVersion.objects.using(_alias()).filter(filled, session_id__in=ids).update(**dict.fromkeys(columns))


def _empty_personal(ids: list[uuid.UUID]) -> None:
    """Empty what the personal key sealed, and delete what told of a person without being sealed."""
    alias = _alias()
    AuditEvent.objects.using(alias).filter(session_id__in=ids, private__isnull=False).update(private=None)
    Message.objects.using(alias).filter(session_id__in=ids, body__isnull=False).update(body=None)
    Approval.objects.using(alias).filter(session_id__in=ids, body__isnull=False).update(body=None)
    CheckoutHandoff.objects.using(alias).filter(session_id__in=ids).exclude(consumer="").update(consumer="")
    IdempotencyRecord.objects.using(alias).filter(session_id__in=ids).delete()
    TransferGrant.objects.using(alias).filter(session_id__in=ids).delete()
    SessionReference.objects.using(alias).filter(session_id__in=ids).delete()
    confirmations = DeviceConfirmation.objects.using(alias)
    confirmations.filter(session_id__in=ids).delete()
    # What was said on this device about a checkout on another is part of that other session, which may be held.
    about_held = held(Session.objects.filter(pk=OuterRef("session_id")))
    confirmations.filter(~Exists(about_held), device_id__in=ids).delete()


def _forget_people(sessions: Sequence[Session]) -> None:
    """Delete what is kept of a consumer or a caller by their pseudonym, unless another session is still theirs."""
    alias = _alias()
    others = Session.objects.using(alias)
    callers = {session.caller for session in sessions} - {""}
    same_caller = others.filter(caller=OuterRef("caller"))
    if callers:
        Caller.objects.using(alias).filter(~Exists(same_caller), caller__in=callers).delete()
    for merchant, consumer in {(session.merchant, session.consumer) for session in sessions if session.consumer}:
        if not others.filter(merchant=merchant, consumer=consumer).exists():
            changes = StoreChange.objects.using(alias)
            changes.filter(merchant=merchant, ref=reference(CONSUMER, consumer)).delete()


def _alias() -> str:
    return _rows.write_connection().alias
