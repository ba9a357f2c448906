"""Reads for people who look after sessions: the list, what was handed over, and the history step by step.

The list is made for millions of rows: nothing here counts, and what narrows it goes by an index where there is one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from agent_sessions.domain.approvals import WAITING, ApprovalStatus
from agent_sessions.domain.migrations import migrate
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import Approval, CheckoutHandoff, Session, SessionVersion
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors._keys import PATCH, SNAPSHOT, DataKeys
from agent_sessions.selectors._states import PERSONAL_PATCH, PERSONAL_SNAPSHOT, open_document, replay, with_personal
from agent_sessions.selectors.erasures import require_content
from agent_sessions.types import State

_SHORTEST_ID = 8
"""Hex digits of an id that narrow it to about a minute."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """One checkout link of a session: when it was made, opened and paid, and what became of it. Times are UTC."""

    version: int
    created_at: datetime
    expires_at: datetime
    opened_at: datetime | None
    replaced_at: datetime | None
    ordered_at: datetime | None
    order_ref: str


@dataclass(frozen=True, slots=True)
class Step:
    """One version: the state before it and after it, in the current schema. Never to be changed in place."""

    number: int
    before: State
    after: State


@dataclass(frozen=True, slots=True)
class Pulse:
    """What moves whenever something happens to a session: its last event, its version, its status."""

    head_seq: int
    version: int
    status: str


def pulse(session_id: uuid.UUID) -> Pulse | None:
    """Return how far a session has come, or None if there is none; one query of one row."""
    rows = Session.objects.using(_rows.write_connection().alias).filter(pk=session_id)
    row = rows.values_list("head_seq", "version", "status").order_by().first()
    return None if row is None else Pulse(*row)


def listed_sessions() -> QuerySet[Session]:
    """Return the sessions for a list, newest first, each with the ``order_ref`` that it led to, or None.

    What speaks for a session or proves its history (token digest, hash, scope) is not read. From a read replica where
    the host's router has one.
    """
    orders = CheckoutHandoff.objects.filter(session_id=OuterRef("pk")).exclude(order_ref="")
    return (
        Session.objects.defer("token_digest", "head_hash", "scope")
        .annotate(order_ref=Subquery(orders.values("order_ref")[:1]))
        .order_by("-pk")
    )


def find_sessions(sessions: QuerySet[Session], term: str) -> QuerySet[Session]:
    """Narrow a list to what ``term`` names.

    It is tried as the id or its beginning (8 hex digits or more), a parent request and an order reference, exactly,
    and as the beginning of an agent's name, capitals as written.
    """
    term = term.strip()
    named = Q(parent_request=term) & ~Q(parent_request="")
    if (bounds := _id_bounds(term)) is not None:
        named |= Q(pk__range=bounds)
    ordered = list(
        CheckoutHandoff.objects.filter(order_ref=term).exclude(order_ref="").values_list("session_id", flat=True)[:50]
    )
    if ordered:
        named |= Q(pk__in=ordered)
    digits = term.replace("-", "")
    if bounds is None or len(digits) < 32:
        named |= Q(agent_name__startswith=term)
    return sessions.filter(named)


def waiting_for_approval(sessions: QuerySet[Session], *, for_staff: bool) -> QuerySet[Session]:
    """Narrow a list to sessions whose approval somebody can still answer; ``for_staff``: only staff can."""
    statuses = (ApprovalStatus.ESCALATED,) if for_staff else WAITING
    waiting = Approval.objects.filter(status__in=statuses, expires_at__gt=timezone.now())
    return sessions.filter(pk__in=waiting.values("session_id"))


def count_waiting(sessions: QuerySet[Session], *, most: int) -> tuple[int, int, bool]:
    """Count sessions of a list that wait for staff, and for anybody; whether ``most`` or more cut the count short."""
    waiting = Approval.objects.filter(status__in=WAITING, expires_at__gt=timezone.now())
    found = waiting.filter(session_id__in=sessions.order_by().values("pk")).order_by("-pk").values_list("status")
    statuses = [status for (status,) in found[:most]]
    return statuses.count(ApprovalStatus.ESCALATED), len(statuses), len(statuses) == most


def page_of_sessions(
    sessions: QuerySet[Session], *, limit: int, older_than: uuid.UUID | None = None, newer_than: uuid.UUID | None = None
) -> tuple[list[Session], bool]:
    """Return up to ``limit`` sessions, newest first, and whether there are more in that direction.

    By the id, so that the hundredth page costs what the first does.
    """
    if newer_than is not None:
        found = list(sessions.filter(pk__gt=newer_than).order_by("pk")[: limit + 1])
        return found[:limit][::-1], len(found) > limit
    if older_than is not None:
        sessions = sessions.filter(pk__lt=older_than)
    found = list(sessions.order_by("-pk")[: limit + 1])
    return found[:limit], len(found) > limit


def handed_over(session_id: uuid.UUID) -> list[HandedOver]:
    """Return the session's checkout links, newest first, at most 20; never what opens them."""
    rows = CheckoutHandoff.objects.using(_rows.write_connection().alias).filter(session_id=session_id)
    columns = ("version", "created_at", "expires_at", "opened_at", "replaced_at", "ordered_at", "order_ref")
    return [HandedOver(*row) for row in rows.order_by("-pk").values_list(*columns)[:20]]


def steps(session: SessionHead | uuid.UUID, *, after: int = 0, limit: int = 20) -> list[Step]:
    """Return up to ``limit`` versions with a number above ``after``, in order, each with what it made of what.

    One replay and one query, however many steps. Raises SessionNotFound, SessionQuarantined, SessionDamaged,
    ContentErased, SchemaUnknown, KeyProblem.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    require_open(head)
    require_content(head)
    keys, identity = head.data_keys(), head.session_id
    state, schema = replay(identity, after, keys) if after else ({}, head.schema)
    states = [(after, migrate(state, schema, identity))]
    for number, made_with, made in _following(identity, keys, state, after, limit):
        states.append((number, migrate(made, made_with, identity)))
    return [Step(number, before, now) for (_, before), (number, now) in pairwise(states)]


def _following(
    identity: uuid.UUID, keys: DataKeys, state: State, after: int, limit: int
) -> Iterator[tuple[int, int, State]]:
    rows = SessionVersion.objects.using(_rows.write_connection().alias).filter(session_id=identity, number__gt=after)
    expected = after + 1
    columns = ("number", "schema", "patch", "snapshot", "personal_patch", "personal_snapshot")
    for number, schema, patch, snapshot, *personal in rows.order_by("number").values_list(*columns)[:limit]:
        if number != expected:
            raise SessionDamaged(identity, f"version {expected} is missing")
        if snapshot is not None:
            state = open_document(keys, identity, SNAPSHOT, number, snapshot)
            state = with_personal(state, keys, identity, PERSONAL_SNAPSHOT, number, personal[1])
        else:
            state = apply_patch(state, open_document(keys, identity, PATCH, number, patch))
            state = with_personal(state, keys, identity, PERSONAL_PATCH, number, personal[0])
        yield number, schema, state
        expected += 1


def _id_bounds(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the first and last id that begin with ``term``, or None if no id does."""
    digits = term.replace("-", "").lower()
    if not _SHORTEST_ID <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        return None
    return uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
