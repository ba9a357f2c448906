"""Differences between two values, leaf by leaf, and how values read in a sentence.

Text that agents and consumers chose is clipped and its invisible characters are shown, because the sentences
are read by support staff and by other agents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import msgspec

from agent_sessions.domain.patch import same
from agent_sessions.domain.text import clipped
from agent_sessions.domain.values import escape_key
from agent_sessions.types import JSONValue

Found: TypeAlias = "JSONValue | None"
"""The value at a place of a state, ``None`` where there is none."""
Fields: TypeAlias = "dict[str, JSONValue]"

_MOST_LEAVES = 4


@dataclass(frozen=True, slots=True)
class Difference:
    """One change: its kind, JSON pointer of what changed, both values (``None`` if absent), a sentence."""

    kind: str
    path: str
    old: Found
    new: Found
    text: str


def alike(old: Found, new: Found) -> bool:
    """Tell whether two places hold the same, or both nothing."""
    if old is None or new is None:
        return old is new
    return same(old, new)


def are_maps(old: Found, new: Found) -> bool:
    """Tell whether both places hold a map or nothing, and there is at least one key to tell about."""
    return bool(old or new) and all(value is None or type(value) is dict for value in (old, new))


def fields(value: Found) -> Fields:
    """Return a map as it is, and nothing as an empty one; for places that ``are_maps``."""
    return value if type(value) is dict else {}


def parted(one: Fields, other: Fields) -> list[str]:
    """Return the keys under which two maps hold different values, sorted."""
    keys = [
        key for key, new in other.items() if (old := one.get(key)) is not new and (old is None or not same(old, new))
    ]
    return sorted(keys + [key for key in one if key not in other])


def leaves(old: Found, new: Found, path: str) -> Iterator[tuple[str, Found, Found]]:
    """Yield the path and both values of every place where two values part, by the order of their keys.

    Goes down as long as there are maps, or nothing, on both sides. Yields nothing exactly if the two are
    alike.
    """
    if are_maps(old, new):
        one, other = fields(old), fields(new)
        for key in parted(one, other):
            yield from leaves(one.get(key), other.get(key), f"{path}/{escape_key(key)}")
    elif not alike(old, new):
        yield path, old, new


def plain_differences(
    old: Found, new: Found, path: str, *, root: str = "", kind: str = "", subject: str = ""
) -> Iterator[Difference]:
    """Tell every leaf that differs: ``set``, ``changed`` or ``removed``, named by its path below ``root``."""
    for place, one, other in leaves(old, new, path):
        verb = "set" if one is None else "removed" if other is None else "changed"
        name = place[len(root) + 1 :]
        text = subject + change(name, one, other) if name else change(place[1:], one, other)
        yield Difference(kind + verb, place, one, other, text)


def change(name: str, old: Found, new: Found) -> str:
    """Return how ``name`` changed: ``name: 1 → 2``, ``name set to 2``, ``name removed (was 1)``."""
    name = clipped(name)
    if old is None:
        return f"{name} set to {shown(new)}"
    if new is None:
        return f"{name} removed (was {shown(old)})"
    return f"{name}: {shown(old)} → {shown(new)}"


def changes(old: Found, new: Found) -> str:
    """Return the first few changes inside an entry, in one sentence."""
    told = [change(place[1:], one, other) for place, one, other in leaves(old, new, "")]
    more = len(told) - _MOST_LEAVES
    return "; ".join(told[:_MOST_LEAVES]) + (f"; and {more} more" if more > 0 else "")


def shown(value: object) -> str:
    """Return a value as it reads in a sentence, at most some eighty characters; never fails."""
    if type(value) is str:
        return f"“{clipped(value)}”"
    try:
        return clipped(msgspec.json.encode(value, order="deterministic").decode())
    except (TypeError, ValueError, OverflowError, RecursionError):
        return f"({type(value).__name__})"


def is_text(value: Found) -> TypeGuard[str | None]:
    """Tell whether a place holds text or nothing."""
    return value is None or type(value) is str
