"""Sessions at several merchants that serve one request of a consumer (T6)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import OuterRef, Subquery

from agent_sessions.domain.lifecycle import Status
from agent_sessions.models import CheckoutHandoff, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._totals import total_of

ArtifactState = Literal["none yet", "to be signed", "signed"]


@dataclass(frozen=True, slots=True)
class RequestSession:
    """A session of a parent request. Times are UTC; ``order_ref`` is empty without an order.

    ``total`` is what its cart costs, in minor units and currency; None if nobody has priced it or it cannot be read.
    ``artifact`` says whether there is a signed record: not before the session's end.
    """

    session_id: uuid.UUID
    merchant: str
    agent_name: str
    kind: str
    status: Status
    end_reason: str
    version: int
    created_at: datetime
    ended_at: datetime | None
    total: tuple[int, str] | None
    order_ref: str
    artifact: ArtifactState


def sessions_of_request(parent_request: str, *, limit: int = 100) -> list[RequestSession]:
    """Return the sessions that serve one parent request, over all merchants, oldest first (T6).

    Empty for an empty request: sessions without one do not belong together. Raises InvalidValue for a limit below 0.
    """
    if not parent_request:
        return []
    alias = _rows.write_connection().alias
    orders = CheckoutHandoff.objects.using(alias).filter(session_id=OuterRef("pk")).exclude(order_ref="")
    rows = Session.objects.using(alias).filter(parent_request=parent_request).order_by("pk")
    rows = rows.annotate(order_ref=Subquery(orders.values("order_ref")[:1]))
    return [
        RequestSession(
            one.pk,
            one.merchant,
            one.agent_name,
            one.kind,
            Status(one.status),
            one.end_reason,
            one.version,
            one.created_at,
            one.ended_at,
            total_of(one.pk),
            one.order_ref or "",
            _artifact_state(one),
        )
        for one in rows[: _rows.checked_limit(limit)]
    ]


def _artifact_state(session: Session) -> ArtifactState:
    if session.sealed_at is not None:
        return "signed"
    return "none yet" if session.ended_at is None else "to be signed"
