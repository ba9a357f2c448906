"""What the state says of a step before it runs and when it has ended (R1): the one place that writes it.

A checkpoint is the slice ``recovery``: the steps with their outcomes, the next one, and the retry rule in force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import UNSET

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.domain.steps import FINISHED, StepRule, next_action, next_step, read_step, untried_methods
from agent_sessions.exceptions import InvalidValue, StepRefused
from agent_sessions.types import JSONValue, Patch, PatchValue

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
"""What the code of a failure looks like."""


def start_patch(
    rules: Sequence[StepRule], steps: Mapping[str, JSONValue], name: str, *, now: datetime, method: str = ""
) -> Patch:
    """Return the patch of the state that starts a step, to be durable before the step does anything slow.

    ``steps`` are ``recovery.steps``; ``now`` is aware. ``method`` may be any that has not been tried; without it, the
    next one is taken. Raises StepRefused if the step is not to be run now, or not so; InvalidValue.
    """
    rule, step = _find_rule(rules, name), read_step(name, steps.get(name))
    action = next_action(rule, step, now)
    if action.action != "run":
        raise StepRefused(name, action.reason)
    open_methods = {action.method}
    if step is None or step.outcome == "failed":  # one of unknown outcome may have gone through, so only the same way
        open_methods.update(untried_methods(rule, step))
    chosen = method or action.method
    if chosen not in open_methods:
        told = f"Use {' or '.join(sorted(open_methods))}." if rule.methods else "It has no methods."
        raise StepRefused(name, f"That method is not open to it now. {told}")
    attempt = 1 if step is None else step.attempt + 1
    changes: dict[str, PatchValue] = {"outcome": "started", "attempt": attempt, "started_at": _text(now)}
    return _patch(rules, steps, name, changes | {"ended_at": None, "code": None, "method": chosen or None}, now)


def end_patch(
    rules: Sequence[StepRule],
    steps: Mapping[str, JSONValue],
    name: str,
    outcome: StepOutcome,
    *,
    now: datetime,
    code: str = "",
    attempt: int | None = None,
) -> Patch:
    """Return the patch that ends a step: ``done``, ``failed`` with a code, or ``skipped``. Empty if that is known.

    ``attempt`` is the one that ended; None is the last one. One that was given up may report late: its failure is
    refused, its success counts, because what is done is not to be done again. Raises StepRefused if the step cannot
    take the outcome; InvalidValue.
    """
    if outcome not in (*FINISHED, "failed"):
        raise InvalidValue("/outcome", "A step ends as done, failed or skipped.")
    if (outcome == "failed") != bool(code) or (code and not CODE.fullmatch(code)):
        raise InvalidValue("/code", "What failed, and nothing else, has a code: up to 64 letters, digits and . _ : -")
    step = read_step(name, steps.get(name))
    if step is None:
        _find_rule(rules, name)
        if outcome != "skipped" or attempt is not None:
            raise StepRefused(name, "It has not been started. Start it before it is carried out.")
        return _patch(rules, steps, name, {"outcome": outcome, "ended_at": _text(now)}, now)
    attempt = step.attempt if attempt is None else attempt
    if (outcome, code, attempt) == (step.outcome, step.code, step.attempt):
        return {}
    late = attempt != step.attempt
    fits = outcome == "done" or (not late and (outcome == "skipped" or step.outcome == "started"))
    if not fits or step.outcome in FINISHED or not 1 <= attempt <= step.attempt:
        raise StepRefused(name, f"It is {step.outcome} at attempt {step.attempt}. Nothing was recorded.")
    ended = now if step.started_at is UNSET else max(now, step.started_at)
    changes: dict[str, PatchValue] = {"outcome": outcome, "ended_at": _text(ended), "code": code or None}
    if late:  # the start and the method that stand there are another attempt's
        changes |= {"attempt": attempt, "started_at": None, "method": None}
    if code and step.method:
        changes["tried"] = {step.method: code}
    return _patch(rules, steps, name, changes, now)


def intervention_patch(recovery: Mapping[str, JSONValue], name: str, reason: str, *, now: datetime) -> Patch:
    """Return the patch that puts a step before a person, because of ``reason``; without one, takes it away again.

    ``recovery`` is the slice. Empty if that is how it stands (S5).
    """
    key, pending = f"step.{name}", recovery.get("interventions")
    known = pending.get(key) if isinstance(pending, dict) else None
    if bool(reason) == (known is not None):
        return {}
    asked: PatchValue = {"kind": "step", "since": _text(now), "reason": reason} if reason else None
    return {"recovery": {"interventions": {key: asked}}}


def _find_rule(rules: Sequence[StepRule], name: str) -> StepRule:
    for rule in rules:
        if rule.name == name:
            return rule
    known = ", ".join(rule.name for rule in rules) or "none"
    raise InvalidValue("/step", f"There is no rule for such a step. There is one for: {known}.")


def _patch(
    rules: Sequence[StepRule],
    steps: Mapping[str, JSONValue],
    name: str,
    changes: dict[str, PatchValue],
    now: datetime,
) -> Patch:
    """Return the patch for one step together with what it makes of the way on: ``next`` and ``retry``."""
    after = apply_patch(dict(steps), {name: changes})
    action = next_step(rules, after, now)
    step = read_step(action.step, after.get(action.step))
    retry: PatchValue = None
    if action.action in ("run", "wait") and step is not None and step.outcome == "failed":
        retry = {
            "rule": "same_method" if action.method == step.method else "next_method",
            "step": action.step,
            "attempts_left": _find_rule(rules, action.step).max_attempts - step.attempt,
            "not_before": None if action.not_before is None else _text(action.not_before),
        }
    return {"recovery": {"steps": {name: changes}, "next": action.step or None, "retry": retry}}


def _text(moment: datetime) -> str:
    if moment.utcoffset() is None:
        raise ValueError("Give a time with its offset from UTC.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
