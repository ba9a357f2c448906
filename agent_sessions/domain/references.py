"""What a state depends on outside of the session (X2).

A reference is a kind and an id: ``item:MUG-1``, ``voucher:SPRING``. Ids that are too long for a column are hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from agent_sessions.domain.values import MAX_KEY_LENGTH
from agent_sessions.types import JSONValue, Patch, State

ITEM: Final = "item"
VOUCHER: Final = "voucher"
CONSUMER: Final = "consumer"
KINDS: Final = (ITEM, VOUCHER, CONSUMER)
MAX_REFERENCE: Final = MAX_KEY_LENGTH
LINES: Final = ("shopping", "lines")
HOLDS: Final = ("inventory", "holds")
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
    return frozenset(reference(kind, name) for kind, name in _names(state))


def moved_references(before: State, after: State, patch: Patch) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which references a change of ``before`` into ``after`` by ``patch`` has added and removed, in order."""
    if "shopping" not in patch and "inventory" not in patch:
        return (), ()
    # Only what the patch names can have moved, and most changes move nothing.
    had, has = _names(_named(before, patch)), _names(_named(after, patch))
    if had == has:
        return (), ()
    # What the rest refers to as well is neither new nor gone. It is the same before and after.
    moved = tuple(name for kind, name in had ^ has if kind == ITEM)
    kept = {(ITEM, item) for item in _others(before, patch, moved)} if moved else set()
    added = sorted(reference(kind, name) for kind, name in has - had - kept)
    removed = sorted(reference(kind, name) for kind, name in had - has - kept)
    return tuple(added), tuple(removed)


def _names(state: State) -> frozenset[tuple[str, str]]:
    """Return kind and id of what a state depends on."""
    items = {str(one.get("item", "")) for one in (*_entries(state, *LINES), *_entries(state, *HOLDS)) if _counts(one)}
    vouchers = _map(_map(state.get("shopping")).get("vouchers"))
    return frozenset([(ITEM, item) for item in items if item] + [(VOUCHER, code) for code in vouchers])


def _others(state: State, patch: Patch, items: tuple[str, ...]) -> Iterator[str]:
    """Say which of ``items`` stand in lines and holds that ``patch`` does not name, as often as they do."""
    for name, field in (LINES, HOLDS):
        changed = patch.get(name, {})
        changed = changed.get(field, {}) if isinstance(changed, dict) else None
        if not isinstance(changed, dict):
            continue
        for key, entry in _map(_map(state.get(name)).get(field)).items():
            # Of a large cart nearly all fail the first question, so it is the cheapest.
            if isinstance(entry, dict) and entry.get("item") in items and key not in changed and _counts(entry):
                yield str(entry["item"])


def _counts(entry: dict[str, JSONValue]) -> bool:
    """Tell a line, or a hold that is still one, from a hold that was released."""
    return "released_at" not in entry


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
