"""What a state depends on outside of the session (X2).

A reference is a kind and an id: ``item:MUG-1``, ``voucher:SPRING``. Ids that are too long for a column are hashed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from agent_sessions.domain.values import MAX_KEY_LENGTH
from agent_sessions.types import JSONValue, Patch, State

ITEM: Final = "item"
VOUCHER: Final = "voucher"
CONSUMER: Final = "consumer"
KINDS: Final = (ITEM, VOUCHER, CONSUMER)
MAX_REFERENCE: Final = MAX_KEY_LENGTH
PAST: Final = "past-"
"""What the references of an ended session begin with."""
_MOST_SINCE: Final = 64
"""Things of which ``References.since`` tells, before they are counted into a ``whole`` of their own."""
_Name = tuple[str, str]
"""Kind and id."""


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


def newly_named(before: State, after: State, patch: Patch) -> tuple[str, ...]:
    """Return what ``patch`` names in ``after`` and did not in ``before``, which it changed; in order.

    Something else in the session may have referred to it all the time.
    """
    if not _may_move(patch):
        return ()
    new = set(_names(_named(after, patch))).difference(_names(_named(before, patch)))
    return tuple(sorted(reference(kind, name) for kind, name in new))


@dataclass(frozen=True, slots=True)
class References:
    """How often a state refers to each of the things that it depends on: ``whole`` and, to be added, ``since``.

    A state shares ``whole`` with those that come of it, so that a change costs by what it moves and not by the size of
    the cart.
    """

    whole: Mapping[_Name, int]
    since: Mapping[_Name, int]

    @classmethod
    def of(cls, state: State) -> References:
        return cls(Counter(_names(state)), {})

    def followed_by(self, gone: Iterable[_Name], come: Iterable[_Name]) -> References:
        """Return the references of a state that comes of this one's by a change."""
        since = {**self.since}
        for name in come:
            since[name] = since.get(name, 0) + 1
        for name in gone:
            since[name] = since.get(name, 0) - 1
        if len(since) < _MOST_SINCE:
            return References(self.whole, since)
        whole = Counter(self.whole)
        whole.update(since)
        return References(+whole, {})

    def __contains__(self, name: _Name) -> bool:
        return self.whole.get(name, 0) + self.since.get(name, 0) > 0


class Moved(NamedTuple):
    """What a state refers to, if that has been counted, and which references a change has added and removed."""

    references: References | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def moved_references(known: References | None, before: State, after: State, patch: Patch) -> Moved:
    """Return what a change of ``before``, which refers to what is ``known``, into ``after`` by ``patch`` has moved."""
    if not _may_move(patch):
        return Moved(known)
    # Only what the patch names can have moved, and most changes move nothing.
    had, has = [*_names(_named(before, patch))], [*_names(_named(after, patch))]
    if had == has:
        return Moved(known)
    known = known or References.of(before)
    left = known.followed_by(had, has)
    # What the rest refers to as well is neither new nor gone.
    added = sorted(reference(*name) for name in {*has} if name not in known)
    removed = sorted(reference(*name) for name in {*had} if name not in left)
    return Moved(left, tuple(added), tuple(removed))


def _may_move(patch: Patch) -> bool:
    return "shopping" in patch or "inventory" in patch


def _names(state: State) -> Iterator[_Name]:
    """Say kind and id of what a state depends on, as often as it refers to it."""
    for entry in (*_entries(state, "shopping", "lines"), *_entries(state, "inventory", "holds")):
        item = entry.get("item")
        if item and "released_at" not in entry:  # a hold that was released is none
            yield ITEM, str(item)
    for code in _map(_map(state.get("shopping")).get("vouchers")):
        yield VOUCHER, code


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
