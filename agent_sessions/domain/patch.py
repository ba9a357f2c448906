"""Merge patches of states (RFC 7396): apply, compare, undo.

A state is never changed in place. A new one shares with the old every subtree that the patch does not touch,
so a change costs the maps on the way to it, whatever else the session holds.
"""

from __future__ import annotations

from typing import cast

from agent_sessions.types import JSONValue, Patch, PatchValue, State


def apply_patch(state: State, patch: Patch) -> State:
    """Return the state that ``patch`` makes of ``state`` (RFC 7396, section 2).

    Shares untouched subtrees with ``state`` and nothing with ``patch``. A map that loses its last key stays,
    empty.
    """
    result = state.copy()
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        elif type(change) is dict:
            old = result.get(key)
            result[key] = apply_patch(old if type(old) is dict else {}, change)
        elif type(change) is list:
            result[key] = _copy_list(change)
        else:
            result[key] = cast("JSONValue", change)
    return result


def diff(before: State, after: State) -> Patch:
    """Return the smallest patch that makes ``after`` of ``before``; empty if they hold the same.

    Lists differ as a whole. ``True`` and ``1`` are different values. Subtrees that the two states share are
    skipped without being read. What the patch adds is shared with ``after``: copy it before changing it.
    """
    patch: Patch = {}
    added = 0
    for key, new in after.items():
        old = before.get(key)
        if old is new:
            continue
        if type(old) is dict and type(new) is dict:
            inner = diff(old, new)
            if inner:
                patch[key] = inner
        elif old is None:
            added += 1
            patch[key] = cast("PatchValue", new)
        elif not same(old, new):
            patch[key] = cast("PatchValue", new)
    if len(before) + added > len(after):
        patch.update((key, None) for key in before if key not in after)
    return patch


def inverse(before: State, patch: Patch) -> Patch:
    """Return the smallest patch that restores ``before`` from ``apply_patch(before, patch)``.

    What it restores is shared with ``before``: copy it before changing it.
    """
    undo: Patch = {}
    for key, change in patch.items():
        old = before.get(key)
        if old is None:
            if change is not None:
                undo[key] = None
        elif type(old) is dict and type(change) is dict:
            inner = inverse(old, change)
            if inner:
                undo[key] = inner
        elif change is None or not same(old, cast("JSONValue", change)):
            undo[key] = cast("PatchValue", old)
    return undo


def same(one: JSONValue, other: JSONValue) -> bool:
    """Tell whether two values hold the same JSON; unlike ``==``, true and 1 differ."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    # Equal to Python from here on; what is left to tell apart are booleans and integers inside.
    if type(one) is dict and type(other) is dict:
        return all(same(value, other[key]) for key, value in one.items())
    if type(one) is list and type(other) is list:
        return all(map(same, one, other))
    return True


def copy_state(state: State) -> State:
    """Return a deep copy of ``state`` that shares nothing changeable with it; for JSON trees only."""
    copy = state.copy()
    for key, value in state.items():
        if type(value) is dict:
            copy[key] = copy_state(value)
        elif type(value) is list:
            copy[key] = _copy_list(value)
    return copy


def _copy_list(items: list[JSONValue]) -> list[JSONValue]:
    return [
        copy_state(item) if type(item) is dict else _copy_list(item) if type(item) is list else item for item in items
    ]
