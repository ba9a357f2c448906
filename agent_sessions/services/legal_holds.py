"""Placing and lifting legal holds, which keep sessions from being erased (A6)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final

from django.db import transaction
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import HoldUnknown, InvalidValue, SessionQuarantined
from agent_sessions.models import LegalHold
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import read_head
from agent_sessions.selectors.legal_holds import HoldView, get_hold, hold_view, in_force, reviews_due
from agent_sessions.services._commit import commit, in_any_standing
from agent_sessions.services._entries import Draft
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.keys import consumer_pseudonym
from agent_sessions.services.site_events import record
from agent_sessions.signals import hold_review_due
from agent_sessions.types import JSONValue

logger = logging.getLogger("agent_sessions")

Scope = LegalHold.Scope
PLACED: Final = "hold.placed"
LIFTED: Final = "hold.lifted"
REVIEWED: Final = "hold.reviewed"
REVIEW_DUE: Final = "hold.review_due"
IN_SESSION: Final = {PLACED: "legal_hold.placed", LIFTED: "legal_hold.lifted"}
"""In a session's own history ``hold`` is what is held of the stock."""
_LONGEST: Final = 200


def place_hold(
    *,
    scope: str,
    matter: str,
    actor: Actor,
    session_id: uuid.UUID | None = None,
    consumer: str = "",
    order_ref: str = "",
    period_start: datetime | None = None,
    period_end: datetime | None = None,
    merchant: str = "",
    review_at: datetime | None = None,
    now: datetime | None = None,
) -> HoldView:
    """Place a legal hold: from when this returns nothing that it covers is erased until it is lifted.

    ``scope`` says on what: ``session`` (``session_id``), ``consumer`` (the store's own id of the customer, of which a
    pseudonym is stored), ``order`` (``order_ref``, with all sessions of the family that led to it), or ``period``
    (sessions that were opened from ``period_start`` to before ``period_end``, UTC). ``merchant`` narrows down an order
    and a period; a consumer is one merchant's, by default the site's. ``review_at`` is when somebody has to ask whether
    it is still needed (default: setting LEGAL_HOLD_REVIEW_DAYS). What was erased before stays erased.

    ``matter`` says what for, in 1 to 200 characters, such as a case's number: nothing erases it, so it names nobody.
    It is kept in the hold alone. Raises InvalidValue, PaymentDataRefused, SessionNotFound, SessionBusy, KeyProblem.
    """
    moment = now or timezone.now()
    _check(matter, "/matter")
    review_at = review_at or moment + settings.legal_hold_review
    _check_time(review_at, "/review_at")
    if review_at <= moment:
        raise InvalidValue("/review_at", "Set a time that is still to come.")
    target = _target(scope, session_id, consumer, order_ref, period_start, period_end, merchant)
    row = LegalHold(scope=scope, matter=matter, placed_by=str(actor), placed_at=moment, review_at=review_at, **target)
    if row.session is not None:
        read_head(row.session)

    def act() -> HoldView:
        # First: it locks in the order in which whoever erases does, who then waits for this or is waited for.
        row.save(force_insert=True, using=_alias())
        _tell(PLACED, row, actor, {"review_at": format_time(review_at)})
        return hold_view(row)

    return _rows.in_transaction("The legal holds", act)


def lift_hold(hold_id: uuid.UUID, *, reason: str, actor: Actor, now: datetime | None = None) -> HoldView:
    """Lift a legal hold; other holds on the same sessions stay. ``reason`` is 1 to 200 characters.

    Matter and reason are kept for good, the pseudonym of a consumer is not.

    Raises HoldUnknown if there is none in force, InvalidValue, PaymentDataRefused, SessionBusy.
    """
    _check(reason, "/reason")

    def act() -> HoldView:
        # Nobody asks any more whose sessions it was on, and an erasure of theirs finds all that names them.
        lifted = {"lifted_at": now or timezone.now(), "lifted_by": str(actor), "lift_reason": reason, "consumer": ""}
        if not in_force().filter(pk=hold_id).update(**lifted):
            raise HoldUnknown(hold_id)
        row = LegalHold.objects.using(_alias()).get(pk=hold_id)
        _tell(LIFTED, row, actor)
        return hold_view(row)

    return _rows.in_transaction("The legal holds", act)


def review_hold(hold_id: uuid.UUID, *, review_at: datetime, actor: Actor, now: datetime | None = None) -> HoldView:
    """Keep a legal hold that was reviewed, until somebody asks again at ``review_at`` (UTC).

    Raises HoldUnknown if there is none in force, InvalidValue for a time that is not to come, SessionBusy.
    """
    _check_time(review_at, "/review_at")
    if review_at <= (now or timezone.now()):
        raise InvalidValue("/review_at", "Set a time that is still to come.")

    def act() -> HoldView:
        if not in_force().filter(pk=hold_id).update(review_at=review_at):
            raise HoldUnknown(hold_id)
        record(REVIEWED, actor, {"hold": str(hold_id), "review_at": format_time(review_at)})
        return get_hold(hold_id)

    return _rows.in_transaction("The legal holds", act)


def remind_of_reviews(*, limit: int = 100, now: datetime | None = None) -> int:
    """Remind of up to ``limit`` holds whose review is due, once for each date; return how many.

    Each is an event of the site, a warning in the log and the signal ``hold_review_due``. Safe to run twice at once.
    Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send of how many holds one run reminds: a whole number, 1 or more.")
    moment = now or timezone.now()
    due = list(reviews_due(moment).order_by("review_at", "pk").values_list("pk", flat=True)[:limit])
    return sum(_rows.in_transaction("The legal holds", partial(_remind, hold_id, moment)) for hold_id in due)


def _remind(hold_id: uuid.UUID, now: datetime) -> bool:
    # Asked for again by the statement that notes it: of two runs one reminds.
    if not reviews_due(now).filter(pk=hold_id).update(reminded_at=now):
        return False
    record(REVIEW_DUE, SYSTEM, {"hold": str(hold_id)}, now=now)
    logger.warning("The review of legal hold %s is due: lift it, or set a new date for its review.", hold_id)
    send = partial(hold_review_due.send_robust, LegalHold, hold_id=hold_id)
    transaction.on_commit(send, using=_alias(), robust=True)
    return True


def _tell(kind: str, row: LegalHold, actor: Actor, besides: Mapping[str, JSONValue] | None = None) -> None:
    """Write it down in the session's history, if it is about one, and in the site's: ids and nothing else."""
    facts: dict[str, JSONValue] = {"hold": str(row.pk), "scope": str(row.scope), **(besides or {})}
    if row.session is not None:
        facts["session"] = str(row.session)
        told: dict[str, JSONValue] = {"hold": str(row.pk)}
        with suppress(SessionQuarantined):  # what is closed takes no event; the site's history has it
            commit(row.session, Draft(IN_SESSION[kind], actor), row=lambda head, _now: in_any_standing(head, told))
    record(kind, actor, facts)


def _target(
    scope: str,
    session_id: uuid.UUID | None,
    consumer: str,
    order_ref: str,
    period_start: datetime | None,
    period_end: datetime | None,
    merchant: str,
) -> dict[str, object]:
    """Return the columns that say what is held; refuses what does not belong to the scope. Raises InvalidValue."""
    if scope not in Scope.values:
        raise InvalidValue("/scope", f"A legal hold is on a {', '.join(Scope.values)}.")
    given: dict[str, object] = {
        "session_id": session_id, "consumer": consumer, "order_ref": order_ref, "period_start": period_start,
        "period_end": period_end, "merchant": merchant,
    }  # fmt: skip
    wanted, optional = _FIELDS[scope]
    for name, value in given.items():
        if name in wanted and not value:
            raise InvalidValue(f"/{name}", f"A legal hold on a {scope} needs it.")
        if value and name not in wanted | optional:
            raise InvalidValue(f"/{name}", f"A legal hold on a {scope} has none; place one hold for each.")
    check_text("/merchant", merchant, _LONGEST)
    require_no_payment_data({"merchant": merchant})
    check_text("/order_ref", order_ref, 100)
    if period_start is not None and period_end is not None:
        _check_time(period_start, "/period_start")
        _check_time(period_end, "/period_end")
        if period_start >= period_end:
            raise InvalidValue("/period_end", "A period ends after it has started.")
    if scope == Scope.CONSUMER:
        merchant = merchant or settings.merchant
        return {"merchant": merchant, "consumer": consumer_pseudonym(consumer, merchant=merchant)}
    columns = {name: value for name, value in given.items() if value}
    if session_id is not None:
        return {"session": columns["session_id"]}
    return columns


_FIELDS: Final[dict[str, tuple[set[str], set[str]]]] = {
    Scope.SESSION: ({"session_id"}, set()),
    Scope.CONSUMER: ({"consumer"}, {"merchant"}),
    Scope.ORDER: ({"order_ref"}, {"merchant"}),
    Scope.PERIOD: ({"period_start", "period_end"}, {"merchant"}),
}
"""Scope → what it needs, and what it may have."""


def _check(text: str, path: str) -> None:
    check_text(path, text, _LONGEST)
    if not text:
        raise InvalidValue(path, f"Say it in 1 to {_LONGEST} characters.")
    require_no_payment_data({path.removeprefix("/"): text})


def _check_time(moment: datetime, path: str) -> None:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidValue(path, "Send a time with its offset from UTC.")


def _alias() -> str:
    return _rows.write_connection().alias
