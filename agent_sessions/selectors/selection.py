"""Which sessions an auditor, or a person who asks for their data, is to get evidence of."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet

from agent_sessions.audit.events import format_time
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import CheckoutHandoff, Session
from agent_sessions.selectors import _rows

_CLOCKS_APART: Final = timedelta(minutes=5)
"""How far the time in an id and ``created_at`` may lie apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Sessions that fit everything that is given. ``consumer`` is a pseudonym, ``agent`` a name or a verified key.

    With a consumer come the sessions that one of theirs came from and that name nobody: they were opened before it was
    known for whom. ``start`` and ``end`` (aware) are about when they were opened, ``end`` exclusive. Raises
    InvalidValue if nothing is given, or no session can fit.
    """

    sessions: tuple[uuid.UUID, ...] = ()
    consumer: str = ""
    order: str = ""
    agent: str = ""
    parent_request: str = ""
    start: datetime | None = None
    end: datetime | None = None
    merchant: str = ""

    def __post_init__(self) -> None:
        narrows = (self.sessions, self.consumer, self.order, self.agent, self.parent_request, self.start, self.end)
        if not any(narrows):
            raise InvalidValue("/selection", "Name sessions, a consumer, an order, an agent, a request or a period.")
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment.utcoffset() is None:
                raise InvalidValue(f"/{name}", "Send a time with its offset from UTC.")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InvalidValue("/end", "The period ends before it begins. Send a later time.")

    def to_json(self) -> dict[str, Any]:
        """Return what was asked for, without what was not."""
        told: dict[str, Any] = {
            "sessions": [str(one) for one in self.sessions],
            "consumer": self.consumer,
            "order": self.order,
            "agent": self.agent,
            "parent_request": self.parent_request,
            "start": "" if self.start is None else format_time(self.start),
            "end": "" if self.end is None else format_time(self.end),
            "merchant": self.merchant,
        }
        return {name: value for name, value in told.items() if value}


def selected_sessions(selection: Selection) -> QuerySet[Session]:
    """Return the sessions that fit, the oldest first."""
    found = _sessions()
    if selection.sessions:
        found = found.filter(pk__in=selection.sessions)
    if selection.consumer:
        found = found.filter(_of_consumer(selection.consumer, selection.merchant))
    elif selection.merchant:
        found = found.filter(merchant=selection.merchant)
    if selection.order:
        orders = CheckoutHandoff.objects.filter(order_ref=selection.order).values("session_id")
        found = found.filter(pk__in=orders)
    if selection.agent:
        found = found.filter(Q(agent_name=selection.agent) | Q(agent_key=selection.agent))
    if selection.parent_request:
        found = found.filter(parent_request=selection.parent_request)
    # By the time that ids begin with, which is indexed, and exactly by the column.
    if selection.start is not None:
        found = found.filter(pk__gte=_first_id(selection.start, -_CLOCKS_APART), created_at__gte=selection.start)
    if selection.end is not None:
        found = found.filter(pk__lt=_first_id(selection.end, _CLOCKS_APART), created_at__lt=selection.end)
    return found.order_by("pk")


def require_some(selection: Selection, *, limit: int | None) -> None:
    """Raise InvalidValue if no session fits, or more than ``limit``."""
    found = list(selected_sessions(selection).values_list("pk", flat=True)[: (limit or 0) + 1])
    if not found:
        raise InvalidValue("/selection", "No session fits that. What was erased is not found by its consumer any more.")
    if limit is not None and len(found) > limit:
        raise InvalidValue(
            "/selection", f"More than {limit} sessions fit that. Ask for less, or use `manage.py export_evidence`."
        )


def _of_consumer(consumer: str, merchant: str) -> Q:
    own = _sessions().filter(consumer=consumer, **({"merchant": merchant} if merchant else {}))
    families = own.values("family")
    before_known = (Q(pk__in=families) | Q(family__in=families, parent__isnull=False)) & Q(consumer="")
    return Q(pk__in=own.values("pk")) | before_known


def _first_id(moment: datetime, shift: timedelta) -> uuid.UUID:
    return uuid.UUID(int=min(max(int((moment.timestamp() + shift.total_seconds()) * 1000), 0), 2**48 - 1) << 80)


def _sessions() -> QuerySet[Session]:
    return Session.objects.using(_rows.write_connection().alias)
