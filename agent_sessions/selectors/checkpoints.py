"""Reads of a session's checkpoints: which steps were begun, how each went, and what comes next (R1, R2)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.steps import NextAction
from agent_sessions.domain.steps import next_step as next_of
from agent_sessions.models import Checkpoint
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.store.steps import step_rules


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One attempt at a step. ``version`` says that it began, ``ended_version`` how it went; times are UTC.

    ``outcome`` is started, done, failed, skipped, or unknown: nobody has said what became of it when it should have
    been known.
    """

    number: int
    step: str
    method: str
    attempt: int
    outcome: str
    code: str
    version: int
    ended_version: int | None
    started_at: datetime
    ended_at: datetime | None


def checkpoints(session_id: uuid.UUID, *, after: int = 0, limit: int = 100) -> list[CheckpointInfo]:
    """Return up to ``limit`` checkpoints with a number above ``after``, in order. Raises InvalidValue for the limit."""
    rows = _checkpoints().filter(session_id=session_id, number__gt=after).order_by("number")
    columns = (
        "number", "step", "method", "attempt", "outcome", "code", "version", "ended_version", "started_at", "ended_at",
    )  # fmt: skip
    return [CheckpointInfo(*row) for row in rows.values_list(*columns)[: _rows.checked_limit(limit)]]


def next_step(session: SessionHead | uuid.UUID, *, now: datetime | None = None) -> NextAction:
    """Return how the session's work goes on: what to run, ask or wait for, or that a person has to decide (R2).

    Raises what ``current_state`` raises; NoStore if the rules cannot be read.
    """
    state = current_state(session).state
    return next_of(step_rules(), entries(state, "recovery", "steps"), now or timezone.now())


def unknown_outcomes() -> QuerySet[Checkpoint]:
    """Attempts that should have ended by now and of which nobody has said how, the longest due first.

    Also of sessions that have ended meanwhile: money may have moved. Not of those that are closed because they were
    found damaged.
    """
    rows = _checkpoints().filter(outcome="started", due_at__lte=timezone.now())
    return rows.exclude(session__status=Status.QUARANTINED.value).order_by("due_at")


def count_unknown_outcomes() -> int:
    """Count the attempts that ``resolve_unknown_steps`` has before it."""
    return unknown_outcomes().count()


def _checkpoints() -> QuerySet[Checkpoint]:
    return Checkpoint.objects.using(_rows.write_connection().alias)
