"""A session's whole time at a glance: how much of what happened when, in a number of rows that has a limit (O1).

Three queries, each of which the database answers from one pass over the session's events.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from django.db.models import Case, CharField, Count, F, Func, IntegerField, Max, Min, QuerySet, Value, When, Window
from django.db.models.functions import Lag, Left, StrIndex

from agent_sessions.audit.events import CREATED, ENDED
from agent_sessions.domain.calls import APPROVAL_KINDS, HANDED_OVER, PAUSED, RESUMED, TAKEN_BACK
from agent_sessions.domain.families import BY_KIND, BY_WORD
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.timeline import failures

PARTS: Final = 240
"""Parts of a session's events that are told apart, each with as many events."""
MOST_TURNS: Final = 400
_MOST_GAPS: Final = 8
HANDED_TO_PAY: Final = "checkout.handed_over"
GIVEN_UP: Final = "checkout.given_up"
TURNS: Final = (
    frozenset({CREATED, ENDED, PAUSED, RESUMED, HANDED_OVER, TAKEN_BACK, HANDED_TO_PAY, GIVEN_UP}) | APPROVAL_KINDS
)
"""Kinds of events with which a session may come into another phase."""


class Cell(msgspec.Struct, frozen=True):
    """Some events of one family that lie together, those that went wrong apart from the others. Times are UTC.

    ``version`` is the last that they made, None if they made none.
    """

    family: str
    failed: bool
    count: int
    first_seq: int
    first_at: datetime
    last_at: datetime
    version: int | None
    kind: str


class Gap(msgspec.Struct, frozen=True):
    """A time in which nothing happened, before event ``seq``."""

    seq: int
    began_at: datetime
    ended_at: datetime


class Turning(msgspec.Struct, frozen=True):
    """An event with which the session may have come into another phase."""

    seq: int
    at: datetime
    kind: str
    version: int | None


class Outline(msgspec.Struct, frozen=True):
    """A session's time. ``gaps`` are the longest ones, in order; ``clipped``: there are more turnings than are told."""

    began_at: datetime
    last_at: datetime
    cells: tuple[Cell, ...]
    gaps: tuple[Gap, ...]
    turnings: tuple[Turning, ...]
    clipped: bool


class _Divided(Func):
    """Divide whole numbers, the rest dropped: ``/`` does that on PostgreSQL and SQLite alike."""

    arg_joiner = " / "
    template = "(%(expressions)s)"
    output_field = IntegerField()


def outline(head: SessionHead) -> Outline:
    """Return the outline of a session's events up to now; three queries, whatever its length."""
    events = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
    gaps = _gaps(events)
    turnings = list(
        events.filter(kind__in=sorted(TURNS))
        .order_by("seq")
        .values_list("seq", "created_at", "kind", "version")[: MOST_TURNS + 1]
    )
    cells = _cells(events, gaps, head.head_seq)
    return Outline(
        min((cell.first_at for cell in cells), default=head.created_at),
        max((cell.last_at for cell in cells), default=head.updated_at),
        tuple(cells),
        tuple(gaps),
        tuple(Turning(*row) for row in turnings[:MOST_TURNS]),
        len(turnings) > MOST_TURNS,
    )


def _gaps(events: QuerySet[AuditEvent]) -> list[Gap]:
    before = Window(Lag("created_at"), order_by=F("seq").asc())
    rows = events.annotate(before=before, gap=F("created_at") - before).order_by(F("gap").desc(nulls_last=True), "seq")
    found = [Gap(*row) for row in rows.values_list("seq", "before", "created_at")[:_MOST_GAPS] if row[1] is not None]
    return sorted((gap for gap in found if gap.ended_at > gap.began_at), key=lambda gap: gap.seq)


def _cells(events: QuerySet[AuditEvent], gaps: list[Gap], length: int) -> list[Cell]:
    """Count events by part of the session, family and outcome. A long gap begins another part."""
    piece: Any = Value(0)
    if gaps:
        whens = [When(seq__lt=gap.seq, then=Value(number)) for number, gap in enumerate(gaps)]
        piece = Case(*whens, default=Value(len(gaps)), output_field=IntegerField())
    part = _Divided((F("seq") - 1) * PARTS, Value(max(length, PARTS)))
    rows = (
        events.annotate(word=Left("kind", StrIndex("kind", Value(".")) - 1))
        .annotate(piece=piece, part=part, family=_family(), wrong=Case(When(failures(), then=1), default=0))
        .values("piece", "part", "family", "wrong")
        .annotate(
            count=Count("seq"),
            first=Min("seq"),
            began=Min("created_at"),
            last=Max("created_at"),
            made=Max("version"),
            kinds=Max("kind"),
        )
        .order_by("first")
    )
    columns = ("family", "wrong", "count", "first", "began", "last", "made", "kinds")
    return [
        Cell(family, bool(wrong), count, first, began, last, made, kind)
        for family, wrong, count, first, began, last, made, kind in rows.values_list(*columns)
    ]


def _family() -> Case:
    """Tell the family of an event in the database, as ``family_of`` does; ``word`` is the first of its kind."""
    exact = [When(kind__in=_of(BY_KIND, family), then=Value(family)) for family in sorted({*BY_KIND.values()})]
    by_word = [When(word__in=_of(BY_WORD, family), then=Value(family)) for family in sorted({*BY_WORD.values()})]
    return Case(*exact, *by_word, default=Value("other"), output_field=CharField())


def _of(families: Any, wanted: str) -> list[str]:
    return sorted(name for name, family in families.items() if family == wanted)
