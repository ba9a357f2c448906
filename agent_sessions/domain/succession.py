"""What of a state goes along when another session goes on from it: a renewal, a transfer, or a branch (L2, L3, T4).

What stands for something that belongs to the one session stays behind: its holds (which ``services.holds`` moves), its
approvals, the link that a human has. All here depends on the arguments alone.
"""

from __future__ import annotations

from agent_sessions.types import JSONValue, State

_OVER = {"pending": "expired", "escalated": "expired", "granted": "void"}
"""What an approval that could still be given or used comes to."""
_OF_THE_PARENT = ("steps", "next", "retry", "interventions")


def carried_on(state: State) -> State:
    """Return what a session holds that takes the place of one with ``state``."""
    approvals = _part(state, "decisions", "approvals")
    after = _with(state, "decisions", approvals={key: _ended(_map(one)) for key, one in approvals.items()})
    after = _with(after, "checkout", approval=None, handoff=None)
    after = _with(after, "inventory", holds=None)
    pending = _part(state, "recovery", "interventions")
    return _with(after, "recovery", interventions={key: one for key, one in pending.items() if key not in approvals})


def branched(state: State, now: State) -> State:
    """Return what a branch of a session holds that had ``state`` once and stands at ``now``.

    The parent goes on with the steps that it has begun. What is known to have changed outside since is stale in the
    branch too.
    """
    after = _with(carried_on(state), "recovery", **dict.fromkeys(_OF_THE_PARENT))
    return _with(after, "stale", parts={**_part(state, "stale", "parts"), **_part(now, "stale", "parts")})


def running_step(state: State) -> str:
    """Return the name of a step that was started and has no outcome yet, empty if there is none."""
    steps = _part(state, "recovery", "steps")
    return next((name for name in sorted(steps) if _map(steps[name]).get("outcome") == "started"), "")


def _ended(approval: dict[str, JSONValue]) -> dict[str, JSONValue]:
    status = approval.get("status", "")
    return {**approval, "status": _OVER.get(str(status), status)}


def _with(state: State, name: str, **fields: JSONValue | None) -> State:
    """Return the state with these fields of a slice; what is None or empty is left out, and so is an empty slice."""
    kept = {field: value for field, value in _map(state.get(name)).items() if field not in fields}
    slice_ = {**kept, **{field: value for field, value in fields.items() if value}}
    after = {key: value for key, value in state.items() if key != name}
    return {**after, name: slice_} if slice_ else after


def _part(state: State, name: str, field: str) -> dict[str, JSONValue]:
    return _map(_map(state.get(name)).get(field))


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}
