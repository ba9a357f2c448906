"""How differences of how far the work has come are told."""

from __future__ import annotations

from msgspec import UNSET

from agent_sessions.domain.slices.recovery import EndpointFailure, Intervention, RetryRule, Step
from agent_sessions.domain.tellers.making import (
    Teller,
    entries,
    entry,
    in_brackets,
    moment,
    saying,
    text,
)
from agent_sessions.domain.text import clipped


def _step(key: str, step: Step) -> tuple[str, str]:
    attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
    return step.outcome, f"Step {clipped(key)} {step.outcome}{in_brackets(step.code)}{attempt}"


def _retry(_key: str, retry: RetryRule) -> tuple[str, str]:
    step = f" for step {clipped(retry.step)}" if retry.step else ""
    left = "" if retry.attempts_left is UNSET else f", {retry.attempts_left} left"
    wait = "" if retry.not_before is UNSET else f", not before {moment(retry.not_before)}"
    return "set", f"Retry rule {clipped(retry.rule)}{step}{left}{wait}"


def _endpoint(key: str, endpoint: EndpointFailure) -> tuple[str, str]:
    times = "once" if endpoint.failures == 1 else f"{endpoint.failures} times"
    said = f"Endpoint {clipped(key)} failed {times}{in_brackets(endpoint.code)}"
    return "failed", said + ("" if endpoint.last_at is UNSET else f", last at {moment(endpoint.last_at)}")


def _intervention(_key: str, intervention: Intervention) -> tuple[str, str]:
    return "pending", f"A human is needed: {_task(intervention)} since {moment(intervention.since)}"


def _intervened(_key: str, intervention: Intervention) -> tuple[str, str]:
    return "ended", f"A human is no longer needed: {_task(intervention)}"


def _task(intervention: Intervention) -> str:
    return f"{clipped(intervention.kind)}{in_brackets(intervention.reason)}"


RECOVERY: dict[str, Teller] = {
    "steps": entries(Step, saying("step", _step)),
    "next": text("next_step.changed", "Next step"),
    "retry": entry(RetryRule, saying("retry", _retry)),
    "endpoints": entries(EndpointFailure, saying("endpoint", _endpoint)),
    "interventions": entries(Intervention, saying("intervention", _intervention, _intervened)),
}
