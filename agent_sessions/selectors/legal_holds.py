"""Which sessions are under legal hold, and by which holds (A6)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from agent_sessions.exceptions import HoldUnknown
from agent_sessions.models import CheckoutHandoff, LegalHold, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import get_session

Scope = LegalHold.Scope
_NOBODY: Final = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class HoldView:
    """A legal hold as it stands; which fields count is said by ``scope`` (see the model). Times are UTC."""

    hold_id: uuid.UUID
    scope: str
    session_id: uuid.UUID | None
    merchant: str
    consumer: str
    order_ref: str
    period_start: datetime | None
    period_end: datetime | None
    matter: str
    placed_by: str
    placed_at: datetime
    review_at: datetime
    lifted_by: str
    lifted_at: datetime | None
    lift_reason: str

    @property
    def in_force(self) -> bool:
        return self.lifted_at is None


def keep_holds_still() -> None:
    """Keep legal holds as they are until the transaction that is open ends.

    Call it first in a transaction that erases: before a session is locked, because whoever places a hold locks in this
    order too, and before holds are read. A hold whose placing has returned is seen then; one that is being placed waits
    for what is erased here, and finds it erased.
    """
    connection = _rows.write_connection()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE agent_sessions_legalhold IN SHARE MODE")
        return
    # A write that changes nothing: SQLite has one writer at a time, and from here on that is this transaction.
    LegalHold.objects.using(connection.alias).filter(pk=_NOBODY).update(scope=F("scope"))


def holds_on(session_id: uuid.UUID) -> list[HoldView]:
    """Return the holds in force on a session, the oldest first. Raises SessionNotFound."""
    session = get_session(session_id)
    orders = _orders(session.family).values("order_ref")
    found = in_force().filter(
        Q(scope=Scope.SESSION, session=session_id)
        | (Q(scope=Scope.CONSUMER, merchant=session.merchant, consumer=session.consumer) & ~Q(consumer=""))
        | (Q(scope=Scope.ORDER, order_ref__in=orders) & Q(merchant__in=("", session.merchant)))
        | Q(
            scope=Scope.PERIOD,
            period_start__lte=session.created_at,
            period_end__gt=session.created_at,
            merchant__in=("", session.merchant),
        )
    )
    return [hold_view(row) for row in found.order_by("placed_at", "pk")]


def not_held(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Leave out of ``sessions`` those on which a hold is in force."""
    return sessions.exclude(_is_held())


def held(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Keep of ``sessions`` those on which a hold is in force."""
    return sessions.filter(_is_held())


def held_among(session_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    """Return those of the sessions on which a hold is in force."""
    sessions = Session.objects.using(_alias()).filter(pk__in=list(session_ids))
    return list(held(sessions).order_by("pk").values_list("pk", flat=True))


def legal_holds(*, lifted: bool = False) -> list[HoldView]:
    """Return the holds in force, with ``lifted`` also those that were lifted, the oldest first."""
    rows = LegalHold.objects.using(_alias()).all() if lifted else in_force()
    return [hold_view(row) for row in rows.order_by("placed_at", "pk")]


def get_hold(hold_id: uuid.UUID) -> HoldView:
    """Return a hold, in force or lifted. Raises HoldUnknown."""
    row = LegalHold.objects.using(_alias()).filter(pk=hold_id).first()
    if row is None:
        raise HoldUnknown(hold_id)
    return hold_view(row)


def reviews_due(now: datetime | None = None) -> QuerySet[LegalHold]:
    """Holds in force whose review is due and of which nobody was reminded since that date."""
    now = now or timezone.now()
    return in_force().filter(review_at__lte=now).filter(Q(reminded_at__isnull=True) | Q(reminded_at__lt=F("review_at")))


def in_force() -> QuerySet[LegalHold]:
    return LegalHold.objects.using(_alias()).filter(lifted_at__isnull=True)


def hold_view(row: LegalHold) -> HoldView:
    return HoldView(
        row.pk,
        row.scope,
        row.session,
        row.merchant,
        row.consumer,
        row.order_ref,
        row.period_start,
        row.period_end,
        row.matter,
        row.placed_by,
        row.placed_at,
        row.review_at,
        row.lifted_by,
        row.lifted_at,
        row.lift_reason,
    )


def _is_held() -> Q:
    """The condition on a session that a hold is in force on it; one subquery for each scope, which is quick to plan."""
    holds = LegalHold.objects.filter(lifted_at__isnull=True)
    merchant = Q(merchant="") | Q(merchant=OuterRef("merchant"))
    ordered = CheckoutHandoff.objects.filter(family=OuterRef(OuterRef("family")), order_ref=OuterRef("order_ref"))
    return (
        Q(Exists(holds.filter(scope=Scope.SESSION, session=OuterRef("pk"))))
        | Q(
            Exists(
                holds.filter(
                    scope=Scope.CONSUMER, merchant=OuterRef("merchant"), consumer=OuterRef("consumer")
                ).exclude(consumer="")
            )
        )
        | Q(Exists(holds.filter(merchant, Exists(ordered), scope=Scope.ORDER)))
        | Q(
            Exists(
                holds.filter(
                    merchant,
                    scope=Scope.PERIOD,
                    period_start__lte=OuterRef("created_at"),
                    period_end__gt=OuterRef("created_at"),
                )
            )
        )
    )


def _orders(family: uuid.UUID) -> QuerySet[CheckoutHandoff]:
    return CheckoutHandoff.objects.using(_alias()).filter(family=family).exclude(order_ref="")


def _alias() -> str:
    return _rows.write_connection().alias
