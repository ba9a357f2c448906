"""The slice ``recovery``: how far the work has come, what failed, and how it goes on (S4, S5, R1)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.fields import Count, Entry, Name, Ordinal, Slice, Text, Time

StepOutcome: TypeAlias = Literal["started", "done", "failed", "skipped"]


class Step(Entry, frozen=True):
    """One step of the work, keyed by its name, at its last ``attempt``.

    ``code`` is why it failed, ``method`` the way taken; ``tried`` maps each way that was tried to what came of it.
    """

    outcome: StepOutcome
    attempt: Ordinal = 1
    started_at: Time | UnsetType = UNSET
    ended_at: Time | UnsetType = UNSET
    code: Text = ""
    method: Text = ""
    tried: dict[str, Text] = {}


class RetryRule(Entry, frozen=True):
    """The rule in force for trying ``step`` again: how many attempts are left, and not before when."""

    rule: Name
    step: Text = ""
    attempts_left: Count | UnsetType = UNSET
    not_before: Time | UnsetType = UNSET


class EndpointFailure(Entry, frozen=True):
    """An endpoint that has failed, keyed by its name: how often in a row, and the code of the last time."""

    failures: Ordinal
    code: Text = ""
    last_at: Time | UnsetType = UNSET


class Intervention(Entry, frozen=True):
    """Something that a human has to do before the agent goes on, keyed by an id of its own."""

    kind: Name
    since: Time
    reason: Text = ""


class Recovery(Slice, frozen=True):
    """Where the work stands, so that it goes on after a failure; ``next`` is the name of the next step."""

    steps: dict[str, Step] = {}
    next: Text = ""
    retry: RetryRule | UnsetType = UNSET
    endpoints: dict[str, EndpointFailure] = {}
    interventions: dict[str, Intervention] = {}
