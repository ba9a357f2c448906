"""What went on among all sessions in a period, for the overview page: bounded reads, whatever there is.

Of a period with more sessions than ``MOST`` only the newest are told, from ``Activity.since`` on.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db.models import Case, Count, IntegerField, QuerySet, Value, When

from agent_sessions.conf import settings
from agent_sessions.domain.approvals import WAITING
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.domain.retention import RetentionRule
from agent_sessions.models import Approval, AuditEvent, CheckoutHandoff, Checkpoint, Session, TreeHead
from agent_sessions.selectors.finding import STEP, code_of, first_id, opened_between
from agent_sessions.selectors.retention import by_clock, due, next_due
from agent_sessions.selectors.timeline import failures

MOST: Final = 200_000
"""Sessions of a period that are looked at."""
MOST_ROWS: Final = 5_000
"""Failures and approvals that are looked at."""
MOST_COUNTED: Final = 1_000
"""Sessions that are counted of what waits for somebody, or for a job."""
_LATE: Final = timedelta(minutes=5)
"""How long after its time a job may do its work before that is told."""


class Cell(msgspec.Struct, frozen=True):
    """How many sessions were opened in a part of the period that are of one kind and stand alike."""

    part: int
    kind: str
    status: str
    ordered: bool
    count: int


class Activity(msgspec.Struct, frozen=True):
    """Sessions by when they were opened. ``checkouts``: how many began one or were ordered. ``cut``: there are more."""

    since: datetime
    cut: bool
    cells: tuple[Cell, ...]
    checkouts: int


class Failures(msgspec.Struct, frozen=True):
    """In how many sessions each failure code occurs, the most frequent first."""

    codes: tuple[tuple[str, int], ...]
    sessions: int
    cut: bool


class Waits(msgspec.Struct, frozen=True):
    """How long people took to answer, in order; and how many approvals are still open, ran out, or were rejected."""

    answered: tuple[timedelta, ...]
    open: int
    expired: int
    rejected: int
    cut: bool


class Alarms(msgspec.Struct, frozen=True):
    """Work that jobs are late with, each up to a limit."""

    overdue: int
    unheard_steps: int
    heads: int


class Backlog(msgspec.Struct, frozen=True):
    """How many sessions a rule has to erase, up to a limit, and when (UTC) the next one comes due, if any does."""

    rule: RetentionRule
    due: int
    next_due: datetime | None


def activity(edges: Sequence[datetime]) -> Activity:
    """Count the sessions opened between the first and the last of ``edges`` (aware, in order) by the parts between."""
    sessions = opened_between(Session.objects.all(), edges[0], edges[-1])
    beyond = sessions.order_by("-pk").values_list("pk", "created_at")[MOST : MOST + 1]
    since, cut = edges[0], False
    for last, opened_at in beyond:
        sessions, since, cut = sessions.filter(pk__gt=last), opened_at, True
    part = Case(
        *(When(created_at__lt=edge, then=Value(number)) for number, edge in enumerate(edges[1:])),
        output_field=IntegerField(),
    )
    ordered = Case(When(ordered_at__isnull=False, then=1), default=0, output_field=IntegerField())
    rows = (
        sessions.annotate(part=part, ordered=ordered)
        .values("part", "kind", "status", "ordered")
        .annotate(count=Count("pk"))
        .order_by("part", "kind", "status", "ordered")
    )
    cells = tuple(
        Cell(part, kind, status, bool(ordered), count)
        for part, kind, status, ordered, count in rows.values_list("part", "kind", "status", "ordered", "count")
    )
    # What another session of the family has ordered may not have handed anything over itself.
    begun = CheckoutHandoff.objects.filter(
        session_id__gte=first_id(since), session_id__lt=first_id(edges[-1]), session__ordered_at=None
    ).aggregate(found=Count("session_id", distinct=True))["found"]
    return Activity(since, cut, cells, begun + sum(cell.count for cell in cells if cell.ordered))


def failures_between(start: datetime, end: datetime) -> Failures:
    """Count failure codes in sessions opened in a period (aware), as far as the newest ``MOST_ROWS`` of each tell."""
    period: dict[str, uuid.UUID] = {"session_id__gte": first_id(start), "session_id__lt": first_id(end)}
    events = AuditEvent.objects.filter(failures(), **period).order_by("-session_id")
    steps = Checkpoint.objects.filter(**period).exclude(code="").order_by("-session_id")
    failed = list(events.values_list("session_id", "kind", "policy_result", "canonical")[: MOST_ROWS + 1])
    coded = list(steps.values_list("session_id", "code")[: MOST_ROWS + 1])
    pairs = {(one, code_of(kind, result, bytes(canonical))) for one, kind, result, canonical in failed[:MOST_ROWS]}
    pairs |= {(one, f"{STEP}:{code}") for one, code in coded[:MOST_ROWS]}
    codes = Counter(code for _, code in pairs).most_common()
    return Failures(tuple(codes), len({one for one, _ in pairs}), max(len(failed), len(coded)) > MOST_ROWS)


def approval_waits(start: datetime, end: datetime) -> Waits:
    """Tell how the newest approvals went that were asked for in a period (aware)."""
    rows = Approval.objects.filter(pk__gte=first_id(start), pk__lt=first_id(end)).order_by("-pk")
    found = list(rows.values_list("status", "requested_at", "decided_at")[: MOST_ROWS + 1])
    seen = found[:MOST_ROWS]
    statuses = Counter(status for status, *_ in seen)
    return Waits(
        tuple(sorted(decided - asked for _, asked, decided in seen if decided is not None)),
        sum(statuses[status] for status in WAITING),
        statuses[Approval.Status.EXPIRED],
        statuses[Approval.Status.REJECTED],
        len(found) > MOST_ROWS,
    )


def alarms(now: datetime) -> Alarms:
    """Count what the jobs are late with; each by an index that holds little else."""
    late = now - _LATE
    live = [status.value for status in LIVE]
    return Alarms(
        _up_to(Session.objects.filter(status__in=live, expires_at__lte=late)),
        _up_to(Checkpoint.objects.filter(outcome="started", due_at__lte=late)),
        _up_to(TreeHead.objects.filter(exported_at__isnull=True, created_at__lte=late)) if settings.log_sinks else 0,
    )


def purge_backlog(now: datetime) -> list[Backlog]:
    """Tell what each retention rule has before it. Raises InvalidValue if the setting RETENTION cannot be read."""
    return [
        Backlog(rule, by_clock(rule, due(rule, now)).values("pk")[:MOST_COUNTED].count(), next_due(rule, now))
        for rule in settings.retention_rules
    ]


def _up_to(rows: QuerySet[Any]) -> int:
    return rows.order_by().values("pk")[:MOST_COUNTED].count()
