"""Erasing a consumer, over all their sessions, with a receipt (A7, GDPR Art. 17).

The request is a row first. Then live sessions are ended, and all are erased in batches. Each batch is one transaction
that writes into the receipt, too, what it did: a run that is killed has done whole batches, the next one goes on, and
two at once take turns. What a legal hold or a minimum period keeps stands in the receipt with the reason, and
``finish_erasures`` erases it once that is possible.

What a receipt says: ``audit.receipts``.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.audit.receipts import RECEIPT_TYPE, Outcome, digest, is_kept, is_possible, left, month_after
from agent_sessions.conf import settings
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.lifecycle import LIVE, EndReason
from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidValue,
    LegallyHeld,
    SessionEnded,
    SessionNotEnded,
    SessionNotFound,
    SessionQuarantined,
)
from agent_sessions.models import Erasure, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.erasures import erased
from agent_sessions.selectors.legal_holds import holds_on, in_force, keep_holds_still
from agent_sessions.selectors.receipts import (
    Receipt,
    erasures,
    get_receipt,
    kept_erasures,
    open_erasures,
    sessions_of_consumer,
)
from agent_sessions.selectors.retention import earliest_erasure
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.erasing import Grounds, erase
from agent_sessions.services.keys import active_site_key, consumer_pseudonym
from agent_sessions.services.sessions import end_session, expire_session
from agent_sessions.services.site_events import record

logger = logging.getLogger("agent_sessions")

REQUESTED: Final = "erasure.requested"
FINISHED: Final = "erasure.finished"
GROUNDS: Final = Grounds("request", "GDPR Art. 17", "erasure")
_CHUNK: Final = 100
BATCH: Final = 25
"""Sessions per transaction: whoever places a legal hold waits for one batch at most."""
_REASONS: Final[dict[type[Exception], str]] = {SessionNotEnded: "not_ended", SessionQuarantined: "quarantined"}


def erase_consumer(
    reference: str,
    *,
    merchant: str = "",
    actor: Actor,
    now: datetime | None = None,
    progress: Callable[[int], object] | None = None,
) -> Receipt:
    """Erase what all sessions of a consumer say, and return the receipt (A7).

    ``reference`` is the shop's own stable id of the customer, as for ``consumer_pseudonym``; it is kept nowhere.
    ``merchant`` defaults to the setting MERCHANT. Sessions that are live are ended; those that are opened while this
    runs are included. ``now`` (UTC, default: the current time) is when they asked for it. ``progress`` is told the
    number of sessions so far. Called again while a run is unfinished, it goes on with that one.

    Raises InvalidValue for an empty reference, a ``now`` that is still to come and a merchant of more than 200
    characters, PaymentDataRefused, KeyProblem, SessionBusy.
    """
    moment = now or timezone.now()
    if moment > timezone.now():
        raise InvalidValue("/now", "Nobody has asked for it yet. Send when they did, or nothing.")
    merchant = merchant or settings.merchant
    check_text("/merchant", merchant, 200)
    require_no_payment_data({"merchant": merchant})
    consumer = consumer_pseudonym(reference, merchant=merchant)
    erasure_id = _rows.in_transaction("The erasure", partial(_request, merchant, consumer, actor, moment))
    return _run(erasure_id, actor, progress)


def finish_erasures(*, limit: int = 10) -> dict[str, int]:
    """Go on with up to ``limit`` erasures that were interrupted, and erase what can be by now of as many others.

    Return numbers of erasures as ``finished``, of which something is still ``left``, and ``overdue``; those that
    ``failed`` are logged and tried again by the next run.
    """
    limit, now = _rows.checked_limit(limit), timezone.now()
    holds = {str(hold) for hold in in_force().values_list("pk", flat=True)}
    interrupted = [(pk, None) for pk in open_erasures().order_by("due_at").values_list("pk", flat=True)]
    kept = kept_erasures().order_by("requested_at").iterator(chunk_size=_CHUNK)
    possible = [(row.pk, row.receipt["left"]) for row in kept if is_possible(row.receipt, now, holds)]
    done = Counter(finished=0, left=0, failed=0)
    for some in (interrupted, possible):
        _go_on(some, limit, done)
    return {**done, "overdue": open_erasures().filter(due_at__lte=now).count()}


def _go_on(some: Iterable[tuple[uuid.UUID, int | None]], limit: int, done: Counter[str]) -> None:
    """Go on with some erasures, each with what was left of it, until ``limit`` have moved on; count them in ``done``.

    Those that fail, and those of which nothing could be erased, do not count towards the limit: however many there are,
    they never keep the others waiting.
    """
    moved = 0
    for erasure_id, before in some:
        if moved == limit:
            return
        try:
            receipt = _run(erasure_id, SYSTEM, None)
        except AgentSessionsError:
            logger.exception("Erasure %s could not be finished; the next run tries again.", erasure_id)
            done["failed"] += 1
            continue
        done["left" if receipt.left else "finished"] += 1
        moved += before is None or receipt.left < before


def _request(merchant: str, consumer: str, actor: Actor, now: datetime) -> uuid.UUID:
    """Store the request, unless one for this consumer is unfinished."""
    # Requests queue for the row of the key that made the pseudonym, so that two at once become one.
    key = active_site_key(SiteKey.Purpose.CONSUMER)
    SiteKey.objects.using(_alias()).filter(pk=key.pk).update(created_at=F("created_at"))
    found = open_erasures().filter(merchant=merchant, consumer=consumer).first()
    if found is not None:
        return found.pk
    row = Erasure(
        merchant=merchant, consumer=consumer, requested_by=str(actor), requested_at=now, due_at=month_after(now)
    )
    row.receipt = {
        "type": RECEIPT_TYPE,
        "erasure": str(row.pk),
        "site": settings.site,
        "merchant": merchant,
        "requested_at": format_time(now),
        "requested_by": str(actor),
        "due_at": format_time(row.due_at),
        "sessions": {},
        "left": 0,
        "passes": [],
    }
    row.save(force_insert=True, using=_alias())
    facts = {"erasure": str(row.pk), "merchant": merchant, "due_at": format_time(row.due_at)}
    record(REQUESTED, actor, facts, now=now)
    return row.pk


def _run(erasure_id: uuid.UUID, actor: Actor, progress: Callable[[int], object] | None) -> Receipt:
    """Work on an erasure until there is nothing before it that can be erased now."""
    tried: set[uuid.UUID] = set()
    while True:
        row = erasures().get(pk=erasure_id)
        ids = _before(row, tried)
        if not ids:
            if _rows.in_transaction("The erasure", partial(_finish, erasure_id, tried, actor)):
                return get_receipt(erasure_id)
            continue
        for session_id in ids:
            _end(session_id, actor)
        _rows.in_transaction("The erasure", partial(_erase_batch, erasure_id, ids, actor))
        tried.update(ids)
        if progress is not None:
            progress(len(tried))


def _before(row: Erasure, tried: set[uuid.UUID]) -> list[uuid.UUID]:
    """Return the next sessions to deal with: what was refused before, and what is found under the pseudonym."""
    waiting = (uuid.UUID(one) for one, outcome in row.receipt["sessions"].items() if is_kept(outcome))
    ids = [one for one in waiting if one not in tried][:BATCH]
    if row.finished_at is None and len(ids) < BATCH:  # who came back after that has not asked again
        known = {*tried, *ids}
        ids += sessions_of_consumer(row.merchant, row.consumer, but=known, limit=BATCH - len(ids))
    return ids


def _end(session_id: uuid.UUID, actor: Actor) -> None:
    """End a session that is live; why one cannot be is said by the attempt to erase it."""
    try:
        head = read_head(session_id)
        if head.is_live():
            end_session(head, reason=EndReason.REVOKED, actor=actor)
        elif head.status in LIVE:
            expire_session(head)
    except SessionEnded:
        pass  # somebody else came first
    except AgentSessionsError:
        logger.exception("Session %s could not be ended to be erased.", session_id)


def _erase_batch(erasure_id: uuid.UUID, ids: list[uuid.UUID], actor: Actor) -> None:
    """Erase what may be erased of these sessions, and write into the receipt what became of each."""
    keep_holds_still()
    row = erasures().select_for_update().get(pk=erasure_id)
    for session_id in sorted(ids):
        before = row.receipt["sessions"].get(str(session_id), {})
        row.receipt["sessions"][str(session_id)] = {**before, **_erase_one(session_id, actor)}
    row.receipt["left"] = left(row.receipt)
    row.save(update_fields=["receipt"], using=_alias())


def _erase_one(session_id: uuid.UUID, actor: Actor) -> Outcome:
    """Erase what may be erased of one session; return by class what became of it, of classes that were there."""
    try:
        head = read_head(session_id)
    except SessionNotFound:
        return {}  # the shop has deleted the whole of it
    earliest = earliest_erasure(head)
    now = timezone.now()
    allowed = frozenset(name for name, found in earliest.items() if not found.rule or found.at <= now)
    outcome: Outcome = {
        name: {"refused": "minimum_period", "rule": found.rule, "possible_at": format_time(found.at)}
        for name, found in earliest.items()
        if name not in allowed
    }
    if not allowed:
        return outcome
    try:
        with transaction.atomic(using=_alias()):
            erase(head, allowed, GROUNDS, actor=actor)
    except LegallyHeld:
        return outcome | {name: _held(session_id) for name in allowed}
    except AgentSessionsError as error:
        reason = _REASONS.get(type(error), "failed")
        logger.warning("Session %s was not erased: %s", session_id, error.message)
        return outcome | {name: {"refused": reason} for name in allowed}
    return outcome | _erased(read_head(session_id))


def _erased(head: SessionHead) -> Outcome:
    notes = erased(head)
    return {
        name: {
            "erased_at": None if note.at is None else format_time(note.at),
            "rule": note.rule,
            "basis": note.basis,
            "unrecoverable_after": note.unrecoverable_after,
        }
        for name, note in notes.items()
    }


def _held(session_id: uuid.UUID) -> dict[str, Any]:
    holds = holds_on(session_id)
    reviews = [hold.review_at for hold in holds]
    return {
        "refused": "legal_hold",
        "holds": [str(hold.hold_id) for hold in holds],
        "review_at": format_time(max(reviews)) if reviews else None,
    }


def _finish(erasure_id: uuid.UUID, tried: set[uuid.UUID], actor: Actor) -> bool:
    """Close an erasure, unless a session was opened for the consumer meanwhile; return whether that is done."""
    keep_holds_still()
    row = erasures().select_for_update().get(pk=erasure_id)
    if _before(row, tried):
        return False
    told, passes = digest(row.receipt), row.receipt["passes"]
    if passes and passes[-1]["digest"] == told:
        return True
    now, kept = max(timezone.now(), row.requested_at), left(row.receipt)
    personal = any("refused" in outcome.get("personal", {}) for outcome in row.receipt["sessions"].values())
    row.finished_at = row.finished_at or now
    row.consumer = row.consumer if personal else ""
    passes = [*passes, {"at": format_time(now), "left": kept, "digest": told}]
    row.receipt = {**row.receipt, "left": kept, "passes": passes}
    row.save(update_fields=["finished_at", "consumer", "receipt"], using=_alias())
    number = len(row.receipt["sessions"])
    record(FINISHED, actor, {"erasure": str(row.pk), "sessions": number, "left": kept, "digest": told}, now=now)
    return True


def _alias() -> str:
    return _rows.write_connection().alias
