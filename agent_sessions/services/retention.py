"""The purge: what has been kept for as long as its rule says is erased (A5).

Each batch is a short transaction of its own that keeps legal holds still, picks sessions which nobody else is working
on, and erases them. So two runs share the work, one that is killed has done whole batches, and the next goes on.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.utils import timezone

from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.retention import RetentionRule
from agent_sessions.exceptions import AgentSessionsError, InvalidValue
from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import read_head
from agent_sessions.selectors.legal_holds import keep_holds_still
from agent_sessions.selectors.retention import (
    RuleState,
    by_clock,
    clock_column,
    due_and_free,
    has_more,
    retention_rules,
    rule_state,
)
from agent_sessions.services.erasing import Grounds, erase_all

logger = logging.getLogger("agent_sessions")

BATCH: Final = 20
"""Sessions per transaction: whoever places a legal hold waits for one batch at most."""
_COUNTED: Final = 1_000
"""How many of the oldest that it leaves a run counts; a dry run counts all of it."""
_Position = tuple[datetime, uuid.UUID]


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What a run did by one rule: numbers of sessions ``erased`` and ``failed``, and what is ``left`` before it.

    ``remaining`` tells whether the next run will erase any.
    """

    rule: RetentionRule
    erased: int
    failed: int
    left: RuleState
    remaining: bool

    @property
    def found(self) -> int:
        """Sessions that were due: those that were dealt with, and those that are left, held ones included."""
        return self.erased + self.left.due


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one run of the purge did, rule by rule."""

    rules: tuple[RuleReport, ...] = field(default=())

    @property
    def erased(self) -> int:
        return sum(one.erased for one in self.rules)

    @property
    def failed(self) -> int:
        return sum(one.failed for one in self.rules)

    @property
    def held(self) -> int:
        return sum(one.left.held for one in self.rules)

    @property
    def remaining(self) -> bool:
        return any(one.remaining for one in self.rules)


def purge(
    *,
    limit: int = 500,
    dry_run: bool = False,
    now: datetime | None = None,
    pause: float = 0.0,
    progress: Callable[[RetentionRule, int], object] | None = None,
) -> PurgeReport:
    """Erase what its retention rule keeps no longer: up to ``limit`` sessions per rule; with ``dry_run`` count only.

    ``now`` (UTC, default: the current time) is when is asked what is due. ``pause`` is how long to rest after each
    batch, as a share of the time that it took. ``progress`` is told the rule and the number so far.

    A session that fails is logged and holds up no other. Raises InvalidValue for a limit below 1, a pause that is
    no share from 0 to 100, a ``now`` that is still to come, and a setting RETENTION that cannot be read.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many sessions one run deals with per rule: a whole number, 1 or more.")
    if not 0 <= pause <= 100:
        raise InvalidValue("/pause", "Send how long to rest after a batch, as a share of its time: 0 to 100.")
    if now is not None and now > timezone.now() and not dry_run:
        raise InvalidValue("/now", "Nothing is erased before its time. Use a dry run to see what will be due.")
    moment = now or timezone.now()
    done: list[RuleReport] = []
    for rule in retention_rules():
        erased, failed = (0, 0) if dry_run else _purge_by(rule, moment, limit, pause, progress)
        left = rule_state(rule, moment, most=None if dry_run else _COUNTED)
        done.append(RuleReport(rule, erased, failed, left, remaining=has_more(rule, moment, failed)))
    return PurgeReport(tuple(done))


def _purge_by(
    rule: RetentionRule,
    now: datetime,
    limit: int,
    pause: float,
    progress: Callable[[RetentionRule, int], object] | None,
) -> tuple[int, int]:
    """Erase up to ``limit`` sessions by a rule, the oldest first; return how many were, and how many failed."""
    erased = failed = 0
    position: _Position | None = None
    while erased < limit:
        began = time.monotonic()
        wanted = min(BATCH, limit - erased)
        try:
            ids, position = _rows.in_transaction("The purge", partial(_erase_batch, rule, now, wanted, position))
        except (AgentSessionsError, OperationalError):
            logger.warning("A batch of the purge failed; its sessions are erased one by one.", exc_info=True)
            ids, position, missed = _one_by_one(rule, now, wanted, position)
            failed += missed
        if position is None:
            break
        erased += len(ids)
        if progress is not None:
            progress(rule, erased)
        if pause:
            time.sleep(pause * (time.monotonic() - began))
    return erased, failed


def _erase_batch(
    rule: RetentionRule, now: datetime, wanted: int, position: _Position | None
) -> tuple[list[uuid.UUID], _Position | None]:
    """Erase the next sessions after ``position``; return them and the last one's position, None if there are none."""
    keep_holds_still()
    rows = list(_next(rule, now, wanted, position).select_for_update(skip_locked=_skips(), of=("self",)))
    ids = [row.pk for row in rows]
    heads = [read_head(session_id) for session_id in ids]
    erase_all(heads, frozenset({rule.data_class}), Grounds(rule.name, rule.basis, "retention"), actor=SYSTEM)
    return ids, _position(rule, rows[-1]) if rows else None


def _one_by_one(
    rule: RetentionRule, now: datetime, wanted: int, position: _Position | None
) -> tuple[list[uuid.UUID], _Position | None, int]:
    """Do what a batch could not, a transaction for each session; the same, with how many failed."""
    rows, erased, failed = list(_next(rule, now, wanted, position)), [], 0
    for row in rows:
        try:
            ids, _ = _rows.in_transaction(f"Session {row.pk}", partial(_erase_one, rule, now, row.pk))
            erased += ids
        except (AgentSessionsError, OperationalError):
            logger.exception("Session %s could not be erased by rule %s; the next run tries again.", row.pk, rule.name)
            failed += 1
    return erased, _position(rule, rows[-1]) if rows else None, failed


def _erase_one(rule: RetentionRule, now: datetime, session_id: uuid.UUID) -> tuple[list[uuid.UUID], None]:
    keep_holds_still()
    ids = list(due_and_free(rule, now).filter(pk=session_id).values_list("pk", flat=True))
    heads = [read_head(one) for one in ids]
    erase_all(heads, frozenset({rule.data_class}), Grounds(rule.name, rule.basis, "retention"), actor=SYSTEM)
    return ids, None


def _next(rule: RetentionRule, now: datetime, wanted: int, position: _Position | None) -> QuerySet[Session]:
    """The next sessions to erase, in the order of the rule's clock; those that failed before are not met again."""
    column = clock_column(rule)
    sessions = by_clock(rule, due_and_free(rule, now))
    if position is not None:
        moment, pk = position
        after = Q(**{f"{column}__gt": moment}) | Q(**{column: moment}, pk__gt=pk)
        # The first condition says nothing new; it lets the database begin in the index where the last batch ended.
        sessions = sessions.filter(Q(**{f"{column}__gte": moment}), after)
    return sessions.only("pk", column)[:wanted]


def _position(rule: RetentionRule, row: Session) -> _Position:
    moment: datetime = getattr(row, clock_column(rule))
    return moment, row.pk


def _skips() -> bool:
    return _rows.write_connection().features.has_select_for_update_skip_locked
