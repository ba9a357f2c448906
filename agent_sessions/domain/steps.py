"""How a step of the work goes on: which method, when, and when a person has to decide (R2, S5).

A step stands in the state (``recovery.steps``) before it runs and again when it has ended. One that was started and
not heard of again is of unknown outcome, which is never stored: time makes it so. All here depends on the arguments
alone. ``checkpoints`` writes what this reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.recovery import Step, StepOutcome
from agent_sessions.domain.values import escape_key
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import JSONValue

Action: TypeAlias = Literal["run", "ask", "wait", "escalate", "none"]
OnUnknown: TypeAlias = Literal["ask", "retry", "escalate"]

FINISHED: tuple[StepOutcome, ...] = ("done", "skipped")
"""Outcomes that are final: such a step is never run again."""
MAX_SECONDS = 30 * 24 * 3600
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRule:
    """How a step is tried, and how it goes on when it fails or is not heard of again.

    ``methods`` are the ways to do it, in the order in which they are taken. After a failure with one of
    ``retry_codes`` the same method is taken again, ``backoff_seconds`` later, doubled with each attempt of the step
    up to ``max_backoff_seconds``; after any other code the next method; after one of ``fatal_codes``, which win, none.
    Both are patterns as in shells: ``timeout*``. ``max_attempts`` counts all methods together.

    A step that was started ``timeout_seconds`` ago is of unknown outcome, and ``on_unknown`` decides: ``ask`` whoever
    carried it out, ``retry`` it (only what does no harm when done twice), or ``escalate`` to a person. ``commits``:
    when it is done, the cart is committed (V6). Raises ValueError.
    """

    name: str
    methods: tuple[str, ...] = ()
    on_unknown: OnUnknown = "ask"
    max_attempts: int = 3
    retry_codes: tuple[str, ...] = ()
    fatal_codes: tuple[str, ...] = ()
    backoff_seconds: int = 2
    max_backoff_seconds: int = 60
    timeout_seconds: int = 60
    commits: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _WORD.fullmatch(self.name):
            raise ValueError("A step's name is up to 64 lower-case letters, digits and _ . -, a letter first.")
        for field in ("methods", "retry_codes", "fatal_codes"):
            texts = getattr(self, field)
            # A text would be taken for its letters.
            if type(texts) is not tuple or not all(isinstance(text, str) and text for text in texts):
                raise ValueError(f"{self.name}: {field} is a tuple of texts that are not empty.")
        if not all(map(_WORD.fullmatch, self.methods)) or len({*self.methods}) < len(self.methods):
            raise ValueError(f"{self.name}: methods are spelled like the name of a step, and each is named once.")
        if self.on_unknown not in get_args(OnUnknown):
            raise ValueError(f"{self.name}: on_unknown is one of {', '.join(get_args(OnUnknown))}.")
        self._check_number("max_attempts", max(1, len(self.methods)), 100)
        self._check_number("backoff_seconds", 0, MAX_SECONDS)
        self._check_number("max_backoff_seconds", self.backoff_seconds, MAX_SECONDS)
        self._check_number("timeout_seconds", 1, MAX_SECONDS)
        if type(self.commits) is not bool:
            raise ValueError(f"{self.name}: commits is True or False.")

    def _check_number(self, field: str, least: int, most: int) -> None:
        number = getattr(self, field)
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"{self.name}: {field} is a whole number from {least} to {most}.")

    def backoff(self, attempt: int) -> int:
        """Return how many seconds after the failure of ``attempt`` the same method may be taken again."""
        return min(self.max_backoff_seconds, self.backoff_seconds << min(attempt - 1, 32))


@dataclass(frozen=True, slots=True)
class NextAction:
    """What to do now: ``run`` the step with ``method``, ``ask`` what became of it, ``wait``, ``escalate``, or ``none``.

    ``method`` is empty for a step without methods; ``not_before`` (UTC) is there for ``wait`` only; ``reason`` is a
    sentence for people and agents.
    """

    action: Action
    step: str = ""
    method: str = ""
    not_before: datetime | None = None
    reason: str = ""


def next_action(rule: StepRule, step: Step | None, now: datetime) -> NextAction:
    """Tell how a step goes on; ``step`` is None if it was never started, ``now`` is aware."""
    if step is None:
        method = rule.methods[0] if rule.methods else ""
        return NextAction("run", rule.name, method, reason=f"Step {rule.name} has not been started.")
    if step.outcome == "started":
        return _decide_started(rule, step, now)
    if step.outcome == "failed":
        return _decide_failed(rule, step, now)
    return NextAction("none", rule.name, reason=f"Step {rule.name} is {step.outcome}.")


def next_step(rules: Sequence[StepRule], steps: Mapping[str, JSONValue], now: datetime) -> NextAction:
    """Tell how the first step that is not finished goes on, in the order of ``rules``; ``none`` if there is no such.

    An unfinished step that no rule is about comes before all others: it may have been a payment, by a name that the
    settings no longer have. Raises InvalidValue.
    """
    for name in sorted(steps.keys() - {rule.name for rule in rules}):
        step = read_step(name, steps[name])
        if step is not None and step.outcome not in FINISHED:
            reason = "A step that no rule is about is not finished. A person has to decide."
            return NextAction("escalate", name, reason=reason)
    for rule in rules:
        action = next_action(rule, read_step(rule.name, steps.get(rule.name)), now)
        if action.action != "none":
            return action
    return NextAction("none", reason="Every step is finished.")


def read_step(name: str, stored: object) -> Step | None:
    """Return the step that ``recovery.steps`` holds under ``name``, None for None. Raises InvalidValue."""
    try:
        return None if stored is None else msgspec.convert(stored, Step)
    except msgspec.ValidationError:
        raise InvalidValue(f"/recovery/steps/{escape_key(name)}", "This is not a step.") from None


def untried_methods(rule: StepRule, step: Step | None) -> tuple[str, ...]:
    """Return the methods that have not been tried, in the order of the rule."""
    tried = set() if step is None else {step.method, *step.tried}
    return tuple(method for method in rule.methods if method not in tried)


def _decide_started(rule: StepRule, step: Step, now: datetime) -> NextAction:
    until = _end_of_wait(step.started_at, rule.timeout_seconds, now)
    if until is not None:
        return NextAction("wait", rule.name, step.method, until, f"Step {rule.name} is being run.")
    told = f"Step {rule.name} was started, outcome unknown."
    if rule.on_unknown == "ask":
        reason = f"{told} Ask whoever carried it out what became of it, and record that."
        return NextAction("ask", rule.name, step.method, reason=reason)
    if rule.on_unknown == "retry" and step.attempt < rule.max_attempts and _is_open(rule, step):
        return NextAction("run", rule.name, step.method, reason=f"{told} It may be run again.")
    return NextAction("escalate", rule.name, step.method, reason=f"{told} A person has to find out what became of it.")


def _decide_failed(rule: StepRule, step: Step, now: datetime) -> NextAction:
    told = f"Step {rule.name} has failed"
    if _matches(step.code, rule.fatal_codes):
        reason = f"{told}, and trying again will not help. A person has to decide."
        return NextAction("escalate", rule.name, step.method, reason=reason)
    if step.attempt >= rule.max_attempts:
        reason = f"{told} as often as it may be tried ({rule.max_attempts}). A person has to decide."
        return NextAction("escalate", rule.name, step.method, reason=reason)
    if _matches(step.code, rule.retry_codes) and _is_open(rule, step):
        until = _end_of_wait(step.ended_at, rule.backoff(step.attempt), now)
        reason = f"{told} for the time being. Run it again{' later' if until else ''}, the same way."
        return NextAction("wait" if until else "run", rule.name, step.method, until, reason)
    if methods := untried_methods(rule, step):
        return NextAction("run", rule.name, methods[0], reason=f"{told}. Run it with the next method.")
    reason = f"{told}, and no method is left. A person has to decide."
    return NextAction("escalate", rule.name, step.method, reason=reason)


def _is_open(rule: StepRule, step: Step) -> bool:
    """Tell whether the rule still has the method of the last attempt and nothing has spoken against it for good."""
    code = step.tried.get(step.method, "")
    return step.method in (rule.methods or ("",)) and (not code or _matches(code, rule.retry_codes))


def _end_of_wait(since: datetime | UnsetType, seconds: int, now: datetime) -> datetime | None:
    """Return the time that is ``seconds`` after ``since``, or None if it is not to be waited for.

    A ``since`` that lies further ahead than ``seconds`` comes from a clock that was wrong: waiting for it could take
    for ever.
    """
    delay = timedelta(seconds=seconds)
    if since is UNSET or abs(now - since) >= delay:
        return None
    return (since + delay).astimezone(UTC)


def _matches(code: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(code, pattern) for pattern in patterns)
