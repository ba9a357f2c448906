"""Steps of a session's work, durable before anything slow begins (R1, R2).

A step is written down as started, with the method and the attempt, in a version of its own; only then is it carried
out, outside of any transaction; then its outcome is written down. Who crashes in between leaves a step that was started
and is not heard of again, and the step's rule says what to do: ask whoever carried it out, run it again, or call a
person.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from django.db.models import Max, QuerySet
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import STEP_DONE, Call
from agent_sessions.domain.checkpoints import end_patch, start_patch
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.domain.steps import StepRule, read_step
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidValue,
    SessionEnded,
    VersionConflict,
)
from agent_sessions.models import Checkpoint
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, read_head, require_changeable
from agent_sessions.selectors.checkpoints import unknown_outcomes
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.offer import offer
from agent_sessions.store.steps import step_rules
from agent_sessions.types import Patch

STARTED, FAILED, SKIPPED = "step.started", "step.failed", "step.skipped"
UNKNOWN, ESCALATED = "step.outcome_unknown", "step.escalated"
_KINDS: Final = {"done": STEP_DONE, "failed": FAILED, "skipped": SKIPPED}
_ATTEMPTS: Final = 8
_OPEN: Final = ("started", "unknown")
T = TypeVar("T")
logger = logging.getLogger("agent_sessions")


class StepFailed(Exception):
    """Raise it inside of ``step`` to say that the step has failed for good to know, and with which code."""

    def __init__(self, code: str) -> None:
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
    where it has failed and the code says why. Any other exception leaves its outcome unknown, because nobody knows how
    far it got, and is passed on. Not to be used inside a transaction: what rolls back takes the record with it.

    Raises what ``start_step`` and ``finish_step`` raise.
    """
    running = start_step(session, name, method=method, actor=actor)
    try:
        yield running
    except StepFailed as failed:
        finish_step(session, name, outcome="failed", code=failed.code, attempt=running.attempt, actor=actor)
    else:
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

    ``patch`` changes other parts of the state with it. Raises StepRefused if it is finished, being run, to be asked
    about, or a person has to decide; InvalidValue for a step that no rule is about; and what ``change_session`` raises.
    """

    def attempt(head: SessionHead) -> RunningStep:
        rules, rule = step_rules(), _rule(name)
        steps = entries(current_state(head).state, "recovery", "steps")
        now = max(timezone.now(), head.updated_at)
        change = start_patch(rules, steps, name, now=now, method=method)
        begun = read_step(name, entries(apply_patch({}, change), "recovery", "steps")[name])
        chosen, number = ("", 1) if begun is None else (begun.method, begun.attempt)
        told = {"step": name, "attempt": number} | ({"method": chosen} if chosen else {})
        made = commit(
            head, Draft(STARTED, actor, Call(params=told), _together(patch, change), expected_version=head.version)
        )
        rows = _checkpoints(head.session_id)
        # One that was not heard of again and is run anew stays of unknown outcome.
        rows.filter(step=name, outcome__in=_OPEN).update(outcome="unknown", ended_at=now)
        rows.create(
            session_id=head.session_id,
            number=(rows.aggregate(last=Max("number"))["last"] or 0) + 1,
            version=made.version,
            step=name,
            method=chosen,
            attempt=number,
            outcome="started",
            started_at=now,
            due_at=now + timedelta(seconds=rule.timeout_seconds),
        )
        return RunningStep(head.session_id, name, chosen, number, made.version)

    return _written(session, attempt, expected_version)


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
    done (V6). ``patch`` changes other parts of the state with it. Raises StepRefused, InvalidValue, and what
    ``change_session`` raises.
    """

    def write(head: SessionHead) -> Committed | None:
        rules, rule = step_rules(), _rule(name)
        now = max(timezone.now(), head.updated_at)
        steps = entries(current_state(head).state, "recovery", "steps")
        change = end_patch(rules, steps, name, outcome, now=now, code=code, attempt=attempt)
        if not change:
            return None
        before = read_step(name, steps.get(name))
        number = attempt or (1 if before is None else before.attempt)
        told = {"step": name, "attempt": number} | ({"code": code} if code else {})
        draft = Draft(
            _KINDS[outcome], actor, Call(params=told), _together(patch, change), expected_version=head.version
        )

        def commits(head: SessionHead, now: datetime) -> RowChange:
            require_changeable(head, actor, now)
            version = head.version + 1
            return RowChange({"committed_version": version}, told={"committed_version": version})

        made = commit(head, draft, row=commits if rule.commits and outcome == "done" else None)
        rows = _checkpoints(head.session_id).filter(step=name, attempt=number, outcome__in=_OPEN)
        rows.update(outcome=outcome, code=code, ended_at=now, ended_version=made.version)
        return made

    return _written(session, write, None)


def resolve_unknown_steps(*, limit: int = 100) -> dict[str, int]:
    """Deal with up to ``limit`` steps that were started and not heard of again, by their rules; never in silence.

    Asked is the store (feature ``"steps"``), outside of any transaction; what it says is written down. A step that is
    to be run again waits for who runs it; one that a person has to decide on is put before one. Return numbers of steps
    as ``asked``, ``escalated``, ``left`` and ``failed``. Safe to run twice at once and to stop anywhere.
    """
    done = {"asked": 0, "escalated": 0, "left": 0, "failed": 0}
    rows = unknown_outcomes().values_list("session_id", "number", "step", "attempt")[:limit]
    for session_id, number, name, attempt in list(rows):
        try:
            done[_resolve(session_id, number, name, attempt)] += 1
        except SessionEnded:
            continue
        except AgentSessionsError:
            logger.exception("A step of session %s could not be dealt with; the next run tries again.", session_id)
            done["failed"] += 1
    return done


def _resolve(session_id: uuid.UUID, number: int, name: str, attempt: int) -> str:
    rule = next((rule for rule in step_rules() if rule.name == name), None)
    if rule is not None and rule.on_unknown == "ask":
        found = _asked(session_id, name, attempt)
        if found is not None:
            outcome, code = found
            finish_step(session_id, name, outcome=outcome, code=code, attempt=attempt)
            return "asked"
    if rule is not None and rule.on_unknown == "retry":
        commit(session_id, Draft(UNKNOWN, SYSTEM, Call(params={"step": name, "attempt": attempt})))
        _notice(session_id, number)
        return "left"
    _escalate(session_id, name, attempt)
    _notice(session_id, number)
    return "escalated"


def _asked(session_id: uuid.UUID, name: str, attempt: int) -> tuple[StepOutcome, str] | None:
    """Ask the store what became of an attempt; None if it cannot say."""
    store = offer().store
    ask = getattr(store, "step_outcome", None)
    if store is None or "steps" not in store.features or ask is None:
        return None
    found: tuple[StepOutcome, str] | None = ask(name, step_key(session_id, name, attempt), ctx=StoreContext())
    return found


def _escalate(session_id: uuid.UUID, name: str, attempt: int) -> None:
    """Put a step before a person, once."""

    def write(head: SessionHead) -> None:
        pending = entries(current_state(head).state, "recovery", "interventions")
        if any(isinstance(one, dict) and one.get("kind") == f"step.{name}" for one in pending.values()):
            return
        now = format_time(max(timezone.now(), head.updated_at))
        reason = f"Step {name}, attempt {attempt}: nobody knows what became of it."
        patch: Patch = {
            "recovery": {"interventions": {str(new_id()): {"kind": f"step.{name}", "since": now, "reason": reason}}}
        }
        call = Call(params={"step": name, "attempt": attempt})
        commit(head, Draft(ESCALATED, SYSTEM, call, patch, expected_version=head.version))

    _written(session_id, write, None)


def _notice(session_id: uuid.UUID, number: int) -> None:
    """Keep that it was dealt with, so that no later run does it again."""
    _checkpoints(session_id).filter(number=number, outcome="started").update(outcome="unknown")


def _written(session: SessionHead | uuid.UUID, write: Callable[[SessionHead], T], expected_version: int | None) -> T:
    """Run ``write`` on the session as it stands, in one transaction, until no other change comes between."""
    session_id = id_of(session)
    for number in range(_ATTEMPTS):
        head = read_head(session_id)
        if expected_version not in (None, head.version):
            raise VersionConflict(session_id, expected=expected_version or 0, current=head.version)
        try:
            return _rows.in_transaction(f"Session {session_id}", lambda head=head: write(head))  # type: ignore[misc]
        except VersionConflict:
            if expected_version is not None or number == _ATTEMPTS - 1:
                raise
    raise AssertionError  # the last round returns or raises


def _together(patch: Patch | None, change: Patch) -> Patch:
    if not patch:
        return change
    check_patch(patch)
    if "recovery" in patch:
        raise InvalidValue("/recovery", "The step itself writes this part.")
    return {**patch, **change}


def _rule(name: str) -> StepRule:
    for rule in step_rules():
        if rule.name == name:
            return rule
    raise InvalidValue("/step", "No rule is about such a step; add one to AGENT_SESSIONS['STEPS'].")


def _checkpoints(session_id: uuid.UUID) -> QuerySet[Checkpoint]:
    return Checkpoint.objects.using(_rows.write_connection().alias).filter(session_id=session_id)
