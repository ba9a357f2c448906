"""Steps of a session's work, durable before anything slow begins (R1, R2).

A step is written down as started, with the method and the attempt, in a version of its own; only then is it carried
out, outside of any transaction; then its outcome is written down. Who crashes in between leaves a step that was started
and is not heard of again; ``unknown_steps`` deals with it by the step's rule.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar, cast

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from agent_sessions.domain.calls import STEP_DONE, Call
from agent_sessions.domain.checkpoints import CODE, end_patch, intervention_patch, start_patch
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.slices.recovery import Step, StepOutcome
from agent_sessions.domain.steps import FINISHED, StepRule, next_action, read_step
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import InvalidValue, SessionEnded
from agent_sessions.models import Checkpoint
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, read_head, require_changeable, require_live
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.services._commit import Committed, commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.services.succession import until_not_overtaken
from agent_sessions.store.steps import step_rules
from agent_sessions.types import JSONValue, Patch, State

STARTED, FAILED, SKIPPED = "step.started", "step.failed", "step.skipped"
_KINDS: Final = {"done": STEP_DONE, "failed": FAILED, "skipped": SKIPPED}
T = TypeVar("T")
logger = logging.getLogger("agent_sessions")


class StepFailed(Exception):
    """Raise it inside of ``step`` to say that the step has failed, and with which code. Raises InvalidValue.

    The code is one word, such as the provider's: up to 64 letters, digits and ``. _ : -``.
    """

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or not CODE.fullmatch(code):
            raise InvalidValue("/code", "What failed has a code: up to 64 letters, digits and . _ : -")
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step that was started. ``key`` is this attempt's and no other's: send it as the provider's idempotency key."""

    session_id: uuid.UUID
    name: str
    method: str
    attempt: int
    version: int

    @property
    def key(self) -> str:
        return step_key(self.session_id, self.name, self.attempt)


def step_key(session_id: uuid.UUID, name: str, attempt: int) -> str:
    """Return the key by which whoever carries a step out knows one attempt at it."""
    return f"{session_id}:{name}:{attempt}"


@contextmanager
def step(
    session: SessionHead | uuid.UUID, name: str, *, method: str = "", actor: Actor = SYSTEM
) -> Iterator[RunningStep]:
    """Carry out a step: ``with step(session, "payment") as payment: provider.charge(…, payment.key)``.

    It is durable that it was started before the block runs. When the block ends, it is done; raise StepFailed in it
    where it has failed, with the code that says why. Any other exception leaves its outcome unknown, because nobody
    knows how far it got. Either is passed on. Raises RuntimeError inside a transaction: what rolls back takes the
    record with it. Raises what ``start_step`` and ``finish_step`` raise.
    """
    with transaction.atomic(using=_rows.write_connection().alias, durable=True):
        pass  # it only asks whether a transaction is open
    running = start_step(session, name, method=method, actor=actor)
    try:
        yield running
    except StepFailed as failed:
        finish_step(session, name, outcome="failed", code=failed.code, attempt=running.attempt, actor=actor)
        raise
    finish_step(session, name, outcome="done", attempt=running.attempt, actor=actor)


def start_step(
    session: SessionHead | uuid.UUID,
    name: str,
    *,
    method: str = "",
    patch: Patch | None = None,
    expected_version: int | None = None,
    actor: Actor = SYSTEM,
) -> RunningStep:
    """Write down that a step begins. ``method`` is one that the step has left; by default the next one.

    ``patch`` changes other parts of the state with it. Carry the step out when this is committed, and no sooner. Raises
    StepRefused if it is finished, being run, to be asked about, or a person has to decide; InvalidValue for a step that
    no rule is about; and what ``change_session`` raises.
    """

    def write(head: SessionHead) -> RunningStep:
        rule = _rule(name)
        if rule is None:
            raise InvalidValue("/step", "No rule is about such a step; add one to AGENT_SESSIONS['STEPS'].")
        now = max(timezone.now(), head.updated_at)
        state = current_state(head).state
        change = start_patch(step_rules(), entries(state, "recovery", "steps"), name, now=now, method=method)
        begun = _step_after(state, change, name)
        told: dict[str, JSONValue] = {"step": name, "attempt": begun.attempt}
        told |= {"method": begun.method} if begun.method else {}
        together = _together(patch, change)
        made = commit(head, Draft(STARTED, actor, Call(params=told), together, expected_version=head.version))
        # One that was not heard of and is run again stays of unknown outcome.
        checkpoints_of(head.session_id).filter(step=name, outcome="started").update(outcome="unknown")
        due_at = now + timedelta(seconds=rule.timeout_seconds)
        _add_checkpoint(made, name, begun, outcome="started", started_at=now, due_at=due_at)
        return RunningStep(head.session_id, name, begun.method, begun.attempt, made.version)

    return written(session, write, expected_version)


def finish_step(
    session: SessionHead | uuid.UUID,
    name: str,
    *,
    outcome: StepOutcome,
    code: str = "",
    attempt: int | None = None,
    patch: Patch | None = None,
    actor: Actor = SYSTEM,
) -> Committed | None:
    """Write down how a step went: ``done``, ``failed`` with a code, or ``skipped``; None if that was known already.

    ``attempt`` is the one that ended, by default the last one. A step whose rule says so commits the cart when it is
    done (V6); one that a person has to decide on is put before one. ``patch`` changes other parts of the state with it.
    What became of a step is a fact, so it is taken while the session is paused or with a person; to skip one is a
    decision, and is not. Where the session has ended meanwhile, nothing can be added to its history: SessionEnded is
    raised, an error is logged, and the checkpoint keeps what became of it.

    Raises StepRefused, InvalidValue, and what ``change_session`` raises.
    """
    try:
        return written(session, partial(_write_outcome, name, outcome, code, attempt, patch, actor), None)
    except SessionEnded:
        _keep_late(id_of(session), name, outcome, code, attempt)
        raise


def _write_outcome(
    name: str,
    outcome: StepOutcome,
    code: str,
    attempt: int | None,
    patch: Patch | None,
    actor: Actor,
    head: SessionHead,
) -> Committed | None:
    now = max(timezone.now(), head.updated_at)
    state = current_state(head).state
    steps = entries(state, "recovery", "steps")
    change = end_patch(step_rules(), steps, name, outcome, now=now, code=code, attempt=attempt)
    if not change:
        return None
    before, after = read_step(name, steps.get(name)), _step_after(state, change, name)
    told: dict[str, JSONValue] = {"step": name, "attempt": after.attempt}
    told |= {"code": code} if code else {}
    change = _with_intervention(state, change, name, after, now)
    draft = Draft(_KINDS[outcome], actor, Call(params=told), _together(patch, change), expected_version=head.version)
    made = commit(head, draft, row=_row_change(name, outcome, actor))
    if before is None:
        _add_checkpoint(made, name, after, outcome=outcome, started_at=now, due_at=now, ended_at=now)
    else:
        rows = checkpoints_of(head.session_id).filter(step=name, attempt=after.attempt).exclude(outcome__in=FINISHED)
        rows.update(outcome=outcome, code=code, ended_at=now, ended_version=made.version)
    return made


def _row_change(name: str, outcome: StepOutcome, actor: Actor) -> Callable[[SessionHead, datetime], RowChange]:
    rule = _rule(name)

    def change(head: SessionHead, now: datetime) -> RowChange:
        if outcome == "skipped":
            require_changeable(head, actor, now)
        else:
            require_live(head, now)
        if outcome != "done" or rule is None or not rule.commits:
            return RowChange({})
        committed: dict[str, JSONValue] = {"committed_version": head.version + 1}
        return RowChange(committed, told=committed)

    return change


def _with_intervention(state: State, change: Patch, name: str, after: Step, now: datetime) -> Patch:
    """Return the change together with what it means to whoever waits for a person's decision on the step (S5)."""
    rule, recovery = _rule(name), state.get("recovery")
    action = None if rule is None else next_action(rule, after, now)
    reason = action.reason if action is not None and action.action == "escalate" else ""
    pending: Any = intervention_patch(recovery if isinstance(recovery, dict) else {}, name, reason, now=now)
    return {"recovery": {**cast("Patch", change["recovery"]), **pending["recovery"]}} if pending else change


def _keep_late(session_id: uuid.UUID, name: str, outcome: StepOutcome, code: str, attempt: int | None) -> None:
    """Keep what became of a step of a session that has ended, beside its history, and say so."""
    rows = checkpoints_of(session_id).filter(step=name, outcome__in=("started", "unknown"))
    row = rows.filter(**({} if attempt is None else {"attempt": attempt})).order_by("-number").first()
    if row is None:
        return
    rows.filter(number=row.number).update(outcome=outcome, code=code, ended_at=timezone.now())
    logger.error(
        "Step %s (attempt %s) of session %s is %s, which was known only after the session had ended: "
        "its history does not have it. Look whether something is to be undone.",
        name, row.attempt, session_id, outcome,
    )  # fmt: skip


def written(session: SessionHead | uuid.UUID, write: Callable[[SessionHead], T], expected_version: int | None) -> T:
    """Run ``write`` on the session as it stands, in one transaction, until no other change comes between."""
    session_id = id_of(session)

    def attempt() -> T:
        head = read_head(session_id)
        if expected_version not in (None, head.version):
            raise conflict_with(head, expected_version)
        return _rows.in_transaction(f"Session {session_id}", partial(write, head))

    return attempt() if expected_version is not None else until_not_overtaken(attempt)


def checkpoints_of(session_id: uuid.UUID) -> QuerySet[Checkpoint]:
    return Checkpoint.objects.using(_rows.write_connection().alias).filter(session_id=session_id)


def _add_checkpoint(made: Committed, name: str, step: Step, **facts: Any) -> None:
    """Add the checkpoint of an attempt, in the transaction of the version that says so: the session's row is ours."""
    rows = checkpoints_of(made.session_id)
    number = (rows.aggregate(last=Max("number"))["last"] or 0) + 1
    told = {"step": name, "method": step.method, "attempt": step.attempt, "version": made.version}
    ended = {"ended_version": made.version} if "ended_at" in facts else {}
    rows.create(session_id=made.session_id, number=number, **told, **facts, **ended)


def _step_after(state: State, change: Patch, name: str) -> Step:
    return cast("Step", read_step(name, entries(apply_patch(state, change), "recovery", "steps")[name]))


def _together(patch: Patch | None, change: Patch) -> Patch:
    if not patch:
        return change
    check_patch(patch)
    if "recovery" in patch:
        raise InvalidValue("/recovery", "The step itself writes this part.")
    return {**patch, **change}


def _rule(name: str) -> StepRule | None:
    return next((rule for rule in step_rules() if rule.name == name), None)
