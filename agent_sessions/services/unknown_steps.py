"""Steps that were started and not heard of again: asked about, run again, or put before a person; no silence (R2)."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.domain.calls import Call
from agent_sessions.domain.checkpoints import intervention_patch
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.domain.steps import next_action, read_step
from agent_sessions.exceptions import ContentErased, InvalidValue, SessionEnded, StepRefused
from agent_sessions.models import Checkpoint
from agent_sessions.selectors._heads import SessionHead, read_head, require_live
from agent_sessions.selectors.checkpoints import unknown_outcomes
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.services.checkpoints import checkpoints_of, finish_step, step_key, written
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.offer import STEPS, offer
from agent_sessions.store.steps import step_rules

UNKNOWN, ESCALATED = "step.outcome_unknown", "step.escalated"
POSTPONED: Final = timedelta(minutes=1)
"""After a failure, so that those that fail do not keep the others waiting."""
logger = logging.getLogger("agent_sessions")


class _DealtWith(Exception):
    """Another run came first. Never leaves this module."""


def resolve_unknown_steps(*, limit: int = 100) -> dict[str, int]:
    """Deal with up to ``limit`` steps that were started and not heard of again, by their rules; never in silence.

    The store is asked (feature ``"steps"``), outside of any transaction; what it says is written down. A step that is
    to be run again waits for who runs it; one that a person has to decide on is put before one. Where the session has
    ended meanwhile, its history takes no more: the store is asked all the same, so that the shop's own record goes on,
    and an error is logged. Return numbers of steps as ``asked``, ``escalated``, ``left`` to whoever runs them again,
    ``late`` for their session, and ``failed``, which a later run tries again. Safe to run twice at once and to stop
    anywhere. Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many steps one run deals with: a whole number, 1 or more.")
    done = {"asked": 0, "escalated": 0, "left": 0, "late": 0, "failed": 0}
    for row in list(unknown_outcomes()[:limit]):
        try:
            done[_resolve(row)] += 1
        except Exception as problem:  # noqa: BLE001 - the store's own code may fail with anything, and holds up no other
            # Its type alone: what a payment provider's error says may hold what no log should.
            logger.error(
                "Step %s of session %s is of unknown outcome and could not be dealt with (%s); a later run tries again",
                row.step, row.session_id, type(problem).__name__,
            )  # fmt: skip
            _row(row).update(due_at=timezone.now() + POSTPONED)
            done["failed"] += 1
    return done


def _resolve(row: Checkpoint) -> str:
    try:
        head = read_head(row.session_id)
        action = _action(head, row)
        if action == "wait":  # the rule gives it more time than it did
            _row(row).update(due_at=timezone.now() + POSTPONED)
            return "left"
        found = _ask(head, row) if action == "ask" else None
        if found is not None:
            return _take(row, *found)
        if action == "run":
            return _note(row, UNKNOWN, "", "left")
        return _note(row, ESCALATED, _unknown(row), "escalated")
    except (SessionEnded, ContentErased):
        return _give_up(row)


def _action(head: SessionHead, row: Checkpoint) -> str:
    """Tell what the rule says about an attempt of which nobody has said how it went."""
    rule = next((rule for rule in step_rules() if rule.name == row.step), None)
    if rule is None:
        return "escalate"
    step = read_step(row.step, entries(current_state(head).state, "recovery", "steps").get(row.step))
    if step is not None and (step.outcome, step.attempt) == ("started", row.attempt):
        return next_action(rule, step, timezone.now()).action
    return "ask" if rule.on_unknown == "ask" else "escalate"  # another attempt has succeeded meanwhile


def _ask(head: SessionHead, row: Checkpoint) -> tuple[StepOutcome, str] | None:
    """Ask the store what became of an attempt; None if it cannot say."""
    store = offer().store
    ask = getattr(store, "step_outcome", None)
    if store is None or STEPS not in store.features or ask is None:
        return None
    key = step_key(row.session_id, row.step, row.attempt)
    found: tuple[StepOutcome, str] | None = ask(row.step, key, ctx=StoreContext(consumer=head.consumer))
    return found


def _take(row: Checkpoint, outcome: StepOutcome, code: str) -> str:
    """Write down what the store says of an attempt."""
    try:
        finish_step(row.session_id, row.step, outcome=outcome, code=code, attempt=row.attempt)
    except SessionEnded:
        return "late"  # finish_step has kept and logged it
    except StepRefused:
        if outcome == "done":  # and so was another attempt: what cannot be undone here was done twice
            reason = f"Step {row.step}, attempt {row.attempt}: it was carried out although another attempt was too."
            return _note(row, ESCALATED, reason, "escalated")
    # Nothing if it was known already, and then the checkpoint says so; one that was given up is closed here.
    _row(row).update(outcome=outcome, code=code, ended_at=timezone.now())
    return "asked"


def _note(row: Checkpoint, kind: str, reason: str, counted: str) -> str:
    """Record once what is done about an attempt, and with a ``reason`` put it before a person."""
    with suppress(_DealtWith):
        written(row.session_id, partial(_write_note, row, kind, reason), None)
    return counted


def _write_note(row: Checkpoint, kind: str, reason: str, head: SessionHead) -> None:
    recovery = current_state(head).state.get("recovery")
    now = max(timezone.now(), head.updated_at)
    patch = intervention_patch(recovery if isinstance(recovery, dict) else {}, row.step, reason, now=now)
    call = Call(params={"step": row.step, "attempt": row.attempt})
    commit(head, Draft(kind, SYSTEM, call, patch or None, expected_version=head.version), row=_although_paused)
    if not _row(row).update(outcome="unknown"):
        raise _DealtWith


def _although_paused(head: SessionHead, now: datetime) -> RowChange:
    """Whoever pauses a session does not keep a person from being told."""
    require_live(head, now)
    return RowChange({})


def _give_up(row: Checkpoint) -> str:
    """Say that nobody knows what became of a step, and that its session takes no more."""
    if _row(row).update(outcome="unknown"):
        logger.error(
            "Step %s (attempt %s) of session %s was started and not heard of again before the session ended. "
            "A person has to find out what became of it.",
            row.step, row.attempt, row.session_id,
        )  # fmt: skip
    return "late"


def _unknown(row: Checkpoint) -> str:
    return f"Step {row.step}, attempt {row.attempt}: nobody knows what became of it."


def _row(row: Checkpoint) -> QuerySet[Checkpoint]:
    return checkpoints_of(row.session_id).filter(number=row.number, outcome="started")
