"""What is to be erased by which retention rule, and from when on it may be (A5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.retention import DataClass, RetentionRule
from agent_sessions.models import CheckoutHandoff, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, get_session
from agent_sessions.selectors.legal_holds import held, not_held

_CLASSES: Final[tuple[DataClass, ...]] = ("content", "personal")


@dataclass(frozen=True, slots=True)
class Earliest:
    """From when on (UTC) a class may be erased at a person's request, and the rule that says so ("" if none does)."""

    at: datetime
    rule: str


@dataclass(frozen=True, slots=True)
class Latest:
    """When (UTC) the purge erases a class, and the rule that keeps it until then."""

    at: datetime
    rule: RetentionRule


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule has before it: numbers of sessions ``due``, of those ``held`` by legal holds and in ``quarantine``.

    ``next_due`` (UTC) is when the next session comes due, None if there is none.
    """

    rule: RetentionRule
    due: int
    held: int
    quarantined: int
    next_due: datetime | None


def retention_rules() -> tuple[RetentionRule, ...]:
    """Return the rules in force. Raises InvalidValue if the setting RETENTION cannot be read."""
    return settings.retention_rules


def earliest_erasure(head: SessionHead) -> dict[DataClass, Earliest]:
    """Return for each class that is still there from when on it may be erased at a person's request.

    For a session that has not ended as if it ended now. With the content goes what is personal, so its minimum counts
    there too. Legal holds are not asked here. Raises SessionNotFound.
    """
    session = get_session(head.session_id)
    ended_at = session.ended_at or timezone.now()
    earliest: dict[DataClass, Earliest] = {}
    for name in _CLASSES:
        if getattr(session, f"{name}_erased_at") is None:
            found = [Earliest(ended_at, "")]
            for rule in retention_rules():
                if rule.minimum and _decides(rule, name) and _covers(rule, session):
                    began = rule.clock(ended_at=ended_at, ordered_at=session.ordered_at)
                    found.append(Earliest(began + rule.minimum, rule.name))
            earliest[name] = max(found, key=lambda one: one.at)
    return earliest


def latest_erasure(session: Session) -> dict[DataClass, Latest]:
    """Return for each class of an ended session that is still there when the purge erases it unless a hold keeps it.

    A class that no rule is about is kept for good, and left out.
    """
    rules = [rule for rule in retention_rules() if session.ended_at is not None and _covers(rule, session)]
    latest: dict[DataClass, Latest] = {}
    for name in _CLASSES:
        left = [rule for rule in rules if getattr(session, f"{rule.data_class}_erased_at") is None]
        if any(rule.data_class == name for rule in left):
            over = [_over_at(rule, session) for rule in left if _decides(rule, name)]
            latest[name] = max(over, key=lambda one: one.at)
    return latest


def due(rule: RetentionRule, now: datetime | None = None) -> QuerySet[Session]:
    """Ended sessions whose class the rule erases at ``now``, held or not; none that another rule keeps for longer.

    A checkout that a person may still pay keeps its session until its link has expired.
    """
    now = now or timezone.now()
    paying = CheckoutHandoff.objects.filter(session=OuterRef("pk"), closed_at__isnull=True, expires_at__gt=now)
    sessions = _sessions().filter(_unerased(rule.data_class), _over(rule, now), status=Status.ENDED.value)
    return sessions.filter(*_no_longer_kept(rule, now)).exclude(Exists(paying))


def count_covered(rule: RetentionRule) -> int:
    """Count the sessions that a rule covers and whose class is still there, live ones included."""
    return _sessions().filter(_unerased(rule.data_class), _about(rule)).count()


def by_clock(rule: RetentionRule, sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Order sessions by the rule's clock, the oldest first."""
    return sessions.order_by(clock_column(rule), "pk")


def clock_column(rule: RetentionRule) -> str:
    return "ordered_at" if rule.starts == "order" else "ended_at"


def rule_state(rule: RetentionRule, now: datetime | None = None, *, most: int | None = None) -> RuleState:
    """Count what a rule has before it, all of it, or the ``most`` that have been due for longest."""
    now = now or timezone.now()
    waiting = due(rule, now)
    if most is not None:  # what is held stays, so it is among the oldest
        waiting = _sessions().filter(pk__in=by_clock(rule, waiting).values("pk")[:most])
    closed = _sessions().filter(_unerased(rule.data_class), _over(rule, now), status=Status.QUARANTINED.value)
    return RuleState(rule, waiting.count(), held(waiting).count(), closed.count(), next_due(rule, now))


def next_due(rule: RetentionRule, now: datetime) -> datetime | None:
    """Return when the next session comes due by a rule, if there is one that has ended."""
    column = clock_column(rule)
    later = _sessions().filter(_unerased(rule.data_class), _about(rule), status=Status.ENDED.value)
    later = later.filter(**{f"{column}__gt": now - rule.maximum})
    first: datetime | None = later.order_by(column).values_list(column, flat=True).first()
    return None if first is None else first + rule.maximum


def due_and_free(rule: RetentionRule, now: datetime) -> QuerySet[Session]:
    """Those of the due sessions on which no hold is in force."""
    return not_held(due(rule, now))


def has_more(rule: RetentionRule, now: datetime, number: int) -> bool:
    """Tell whether more than ``number`` sessions are due and free, without counting them all."""
    return by_clock(rule, due_and_free(rule, now)).values("pk")[: number + 1].count() > number


def _over_at(rule: RetentionRule, session: Session) -> Latest:
    assert session.ended_at is not None  # noqa: S101 - only ended sessions are asked about
    return Latest(rule.clock(ended_at=session.ended_at, ordered_at=session.ordered_at) + rule.maximum, rule)


def _covers(rule: RetentionRule, session: Session) -> bool:
    return rule.covers(merchant=session.merchant, kind=session.kind, ordered=session.ordered_at is not None)


def _decides(rule: RetentionRule, data_class: DataClass) -> bool:
    """Whether a rule has a say in when a class is erased: content takes what is personal with it."""
    return rule.data_class == data_class or data_class == "content"


def _unerased(data_class: DataClass) -> Q:
    return Q(**{f"{data_class}_erased_at__isnull": True})


def _about(rule: RetentionRule) -> Q:
    """The sessions that a rule covers."""
    about = Q()
    if rule.applies != "every":
        about &= Q(ordered_at__isnull=rule.applies == "without_order")
    if rule.merchants:
        about &= Q(merchant__in=rule.merchants)
    if rule.kinds:
        about &= Q(kind__in=rule.kinds)
    return about


def _over(rule: RetentionRule, now: datetime) -> Q:
    """The sessions that a rule covers and whose time is over."""
    return _about(rule) & Q(**{f"{clock_column(rule)}__lte": now - rule.maximum})


def _no_longer_kept(rule: RetentionRule, now: datetime) -> list[Q]:
    """A condition for each other rule that has a say: it is not about the session, or its time is over too."""
    return [
        ~(_about(other) & _unerased(other.data_class)) | _over(other, now)
        for other in retention_rules()
        if other != rule and _decides(other, rule.data_class) and not _sooner(other, rule)
    ]


def _sooner(other: RetentionRule, rule: RetentionRule) -> bool:
    """Whether the time of ``other`` is over wherever that of ``rule`` is, so that nobody need ask."""
    return other.starts == rule.starts and other.maximum <= rule.maximum


def _sessions() -> QuerySet[Session]:
    return Session.objects.using(_rows.write_connection().alias)
