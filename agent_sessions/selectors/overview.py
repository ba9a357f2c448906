"""Where a session stands and what may be done with it now, for whoever goes on with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from agent_sessions.domain.approvals import asked
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.steps import NextAction, next_step
from agent_sessions.domain.succession import running_step
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.actors import paused_by, waits_unanswered
from agent_sessions.selectors.history import current_state
from agent_sessions.store.steps import step_rules
from agent_sessions.types import JSONValue, State

NEAR_DEADLINE: Final = timedelta(minutes=2)
"""From then on, or for the last tenth of its life if that is longer, a session warns of its end (L2)."""


@dataclass(frozen=True, slots=True)
class SessionOverview:
    """A session at one moment.

    ``warning`` is empty until the deadline is near. ``may`` are the operations on the session that it takes now, by
    their names in the OpenAPI description; what its capabilities allow is decided by policy at each call.
    ``stale``, ``holds``, ``steps`` and ``interventions`` are entries of the state as they stand there, by their keys;
    ``approval`` is what a person was asked about this cart, as it stands now; ``next_step`` how the work goes on.
    """

    head: SessionHead
    state: State
    seconds_left: int
    warning: str
    may: tuple[str, ...]
    approval: dict[str, JSONValue] | None
    stale: dict[str, JSONValue]
    holds: dict[str, JSONValue]
    steps: dict[str, JSONValue]
    interventions: dict[str, JSONValue]
    next_step: NextAction


def overview(head: SessionHead, *, now: datetime | None = None) -> SessionOverview:
    """Return where a live session stands.

    Raises what ``current_state`` raises; NoStore if the rules of the steps cannot be read.
    """
    now = now or timezone.now()
    state = current_state(head).state
    left = head.expires_at - now
    stale = entries(state, "stale", "parts")
    held = {key: one for key, one in entries(state, "inventory", "holds").items() if _is_held(_map(one), now)}
    steps = entries(state, "recovery", "steps")
    asked_for = asked(state, now)
    return SessionOverview(
        head,
        state,
        max(0, int(left.total_seconds())),
        _warning(head, left),
        _possible(head, state, stale),
        None if asked_for is None else {**asked_for.note, "id": asked_for.id, "status": asked_for.status.value},
        stale,
        held,
        steps,
        entries(state, "recovery", "interventions"),
        next_step(step_rules(), steps, now),
    )


def entries(state: State, name: str, field: str) -> dict[str, JSONValue]:
    """Return a map of entries of a slice, empty if the state has none."""
    return _map(_map(state.get(name)).get(field))


def _is_held(hold: dict[str, JSONValue], now: datetime) -> bool:
    """Tell whether a hold counts: not released, nor past its time, whether or not a job has come by."""
    until = hold.get("until")
    return "released_at" not in hold and (not isinstance(until, str) or datetime.fromisoformat(until) > now)


def _warning(head: SessionHead, left: timedelta) -> str:
    if left > max(NEAR_DEADLINE, (head.expires_at - head.created_at) / 10):
        return ""
    return f"The session ends in {max(0, int(left.total_seconds()))} seconds. Renew it to go on."


def _possible(head: SessionHead, state: State, stale: dict[str, JSONValue]) -> tuple[str, ...]:
    if head.held_by:
        return ("session.takeback",) if waits_unanswered(head) else ()
    if head.status is Status.PAUSED:
        return ("session.end",) if paused_by(head).is_person else ("session.resume", "session.end")
    possible = ["session.variables", "session.pause", "session.handover", "session.fork", "session.end"]
    if not running_step(state):
        possible.append("session.renew")
    if head.committed_version < head.version:
        possible.append("session.commit")
    if 0 < head.committed_version < head.version:
        possible.append("session.rollback")
    if entries(state, "shopping", "lines"):
        possible += ["session.hold", "session.approval", "session.revalidate" if stale else "checkout"]
    return tuple(possible)


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}
