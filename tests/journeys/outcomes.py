"""What a journey has come to: its sessions' histories, the rows that it added, and what must never be."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from django.db.models import Sum

from agent_sessions import selectors, services
from agent_sessions.models import Approval, AuditEvent, CheckoutHandoff, HeldItem, Hold, Message, Session
from shop_demo.models import Order, Payment, ProviderCharge

JOBS: Final[tuple[Callable[[], object], ...]] = (
    services.mark_stale,
    services.release_expired_holds,
    services.resolve_unknown_steps,
    services.expire_approvals,
    services.expire_sessions,
)
_COUNTED: Final = (Approval, CheckoutHandoff, Hold, Message, Order, Payment, ProviderCharge, Session)
History = list[tuple[str, int]]
Outcome = tuple[list[History], Counter[str]]


def run_all_jobs() -> None:
    """Run what the beat runs, see ``agent_sessions.schedules``."""
    for job in JOBS:
        job()


class Watch:
    """Tells what has come since it was made."""

    def __init__(self) -> None:
        self._known = set(selectors.session_ids())
        self._rows = _count_rows()

    @property
    def sessions(self) -> list[uuid.UUID]:
        return [one for one in selectors.session_ids() if one not in self._known]

    @property
    def rows(self) -> Counter[str]:
        return _count_rows() - self._rows

    @property
    def outcome(self) -> Outcome:
        return sorted(_history(one) for one in self.sessions), self.rows


def wrong(sessions: Iterable[uuid.UUID]) -> list[str]:
    """Return what must never be: a history that does not verify, pieces that nobody holds, two orders of one session.

    With END_ON_HANDOFF off nothing is held for a session that has ended.
    """
    problems = [str(problem) for one in sessions for problem in selectors.verify_session(one).problems]
    held = Counter({one.item: one.quantity for one in HeldItem.objects.all()})
    open_holds = Hold.objects.filter(released_at=None).values_list("item").annotate(Sum("quantity"))
    held.subtract(dict(open_holds))
    problems += [f"{number} of {item} are held by nobody" for item, number in held.items() if number]
    leaked = Hold.objects.filter(released_at=None, session_id__in=Session.objects.exclude(ended_at=None).values("pk"))
    problems += [f"{hold.quantity} of {hold.item} are held by {hold.session_id}, which has ended" for hold in leaked]
    ordered = Counter(Order.objects.values_list("session_id", flat=True))
    return problems + [f"{one} has {number} orders" for one, number in ordered.items() if number > 1]


def unpaid() -> list[str]:
    """Return orders that were not paid just once, and payments without an order; when all that was begun is over."""
    ordered = Counter(Order.objects.values_list("total", flat=True))
    ordered.subtract(ProviderCharge.objects.filter(outcome="succeeded").values_list("amount", flat=True))
    return [f"{number} more orders than payments of {total}" for total, number in ordered.items() if number]


def done(history: History) -> History:
    """Leave out what was refused: a refused request that is sent again is decided, and noted, anew."""
    return [(kind, version) for kind, version in history if kind != "capability.refused"]


def _history(session_id: uuid.UUID) -> History:
    events = AuditEvent.objects.filter(session_id=session_id).order_by("seq")
    return [(kind, version or 0) for kind, version in events.values_list("kind", "version")]


def _count_rows() -> Counter[str]:
    return Counter({model.__name__: model.objects.count() for model in _COUNTED})
