"""What a state depends on outside of the session (X2).

A reference is a kind and an id: ``item:MUG-1``, ``voucher:SPRING``. Ids that are too long for a column are hashed.
"""

from __future__ import annotations

import hashlib
from typing import Final

from agent_sessions.domain.values import MAX_KEY_LENGTH
from agent_sessions.types import JSONValue, Patch, State

ITEM: Final = "item"
VOUCHER: Final = "voucher"
CONSUMER: Final = "consumer"
KINDS: Final = (ITEM, VOUCHER, CONSUMER)
MAX_REFERENCE: Final = MAX_KEY_LENGTH
PAST: Final = "past-"
"""What the references of an ended session begin with."""


def reference(kind: str, name: str) -> str:
    """Return the reference of something outside, as long as a key of a state at most."""
    told = f"{kind}:{name}"
    return told if len(told) <= MAX_REFERENCE else f"{kind}:sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def past(ref: str) -> str:
    """Return how a reference is written once its session has ended."""
    return PAST + ref


def references(state: State) -> frozenset[str]:
    """Return what a state depends on: the items of its lines, of what is held for it, and its vouchers."""
    shopping = _map(state.get("shopping"))
    lines, holds = _entries(state, "shopping", "lines"), _entries(state, "inventory", "holds")
    held = [one for one in holds if "released_at" not in one]
    items = {str(one.get("item", "")) for one in (*lines, *held)} - {""}
    return frozenset(
        [reference(ITEM, item) for item in items]
        + [reference(VOUCHER, code) for code in _map(shopping.get("vouchers"))]
    )


def moved_references(before: State, after: State, patch: Patch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which references a change of ``before`` into ``after`` by ``patch`` has added and removed, in order."""
    if "shopping" not in patch and "inventory" not in patch:
        return (), ()
    # Most changes move none. Only what the patch names can have moved, and that costs the patch and not the state.
    if references(_named(before, patch)) == references(_named(after, patch)):
        return (), ()
    had, has = references(before), references(after)
    return tuple(sorted(has - had)), tuple(sorted(had - has))


def _named(state: State, patch: Patch, levels: int = 3) -> State:
    """Return what ``patch`` names of ``state``: of slices their fields, of those their entries, and entries whole."""
    named: State = {}
    for name, change in patch.items():
        if name in state:
            value = state[name]
            if levels > 1 and isinstance(value, dict) and isinstance(change, dict):
                value = _named(value, change, levels - 1)
            named[name] = value
    return named


def _entries(state: State, name: str, field: str) -> list[dict[str, JSONValue]]:
    return [_map(one) for one in _map(_map(state.get(name)).get(field)).values()]


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}
