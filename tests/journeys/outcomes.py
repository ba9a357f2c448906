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
    """Return what must never be: a history that does not verify, pieces that nobody holds."""
    problems = [str(problem) for one in sessions for problem in selectors.verify_session(one).problems]
    held = Counter({one.item: one.quantity for one in HeldItem.objects.all()})
    open_holds = Hold.objects.filter(released_at=None).values_list("item").annotate(Sum("quantity"))
    held.subtract(dict(open_holds))
    return problems + [f"{number} of {item} are held by nobody" for item, number in held.items() if number]


def _history(session_id: uuid.UUID) -> History:
    events = AuditEvent.objects.filter(session_id=session_id).order_by("seq")
    return [(kind, version or 0) for kind, version in events.values_list("kind", "version")]


def _count_rows() -> Counter[str]:
    return Counter({model.__name__: model.objects.count() for model in _COUNTED})
