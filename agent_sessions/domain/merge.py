"""Merging a change into a state that others have moved on (V5).

Compared are three states: ``base``, which the caller's patch was made for; ``theirs``, which the session holds
now; ``ours``, what the patch makes of ``base``. What only one side has changed is taken from that side. Where
both have, rules decide, and where no rule does, it is a conflict.

Only values count, not the way to them: what was changed and changed back has not moved. No clock, random
number or order of keys is involved, so every machine finds the same. The cost is that of the patch: a subtree
that ``base`` and ``theirs`` share is not read, nor is one that the patch does not name (the basket is, if they
do not share it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from agent_sessions.domain.leaves import Found, alike, fields
from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.slices.fields import Time
from agent_sessions.domain.values import MAX_INTEGER, escape_key
from agent_sessions.types import Patch, State


class How(StrEnum):
    """What becomes of a value that both sides have changed, each to something else."""

    CONFLICT = "conflict"
    KEYS = "keys"
    """A map is merged key by key, any other value is a conflict; so it is where no rule speaks."""
    ADD = "add"
    """Both differences to the base are applied (also if they are the same): base 2, theirs 3, ours 5 make 6."""
    LATEST = "latest"
    """The later view replaces the other one. The one rule whose result can depend on who came first."""


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How changes meet at ``path``; of several rules for one place the last decides.

    ``path`` is a JSON pointer without its first slash in which ``*`` stands for any key and a final ``**`` for
    the place and all below it. A map that a path names is one thing, which is never mixed from two sides, unless it
    is merged by KEYS. ``**`` leaves maps to be merged key by key.

    ``same`` is for KEYS: what both sides must agree on before anything else of the map is merged.
    ``by`` is for LATEST: the field with the time at which a view was had, RFC 3339. The later time wins, whoever
    came first; without such times, or with equal ones, it is a conflict. Without ``by`` the change that comes
    later in the history wins, deletion included.
    ``least`` and ``most`` are for ADD: a sum beyond them is a conflict.
    """

    path: str
    how: How
    same: tuple[str, ...] = ()
    by: str = ""
    least: int = -MAX_INTEGER
    most: int = MAX_INTEGER


RULES: tuple[MergeRule, ...] = (
    MergeRule("shopping/lines/*", How.KEYS, same=("item", "variant", "options", "currency")),
    # Two who each took pieces away did not ask for the line to go, so a sum below one piece is a conflict.
    MergeRule("shopping/lines/*/quantity", How.ADD, least=1, most=1_000_000),
    # What the store said; it is asked again after a merge (``Merged.needs_repricing``).
    MergeRule("shopping/lines/*/unit_price", How.LATEST),
    MergeRule("shopping/lines/*/title", How.LATEST),
    MergeRule("shopping/lines/*/extra/total", How.LATEST),
    MergeRule("shopping/discounts", How.LATEST),
    MergeRule("shopping/quote", How.LATEST),
    MergeRule("shopping/delivery", How.CONFLICT),
    MergeRule("customer/preferences/**", How.LATEST),
    MergeRule("customer/addresses/*", How.CONFLICT),
    MergeRule("conversation/*/*", How.LATEST),
    MergeRule("decisions/*/*", How.CONFLICT),
    MergeRule("decisions/policies/*", How.LATEST, by="at"),
    MergeRule("checkout", How.CONFLICT),
    MergeRule("inventory/holds/*", How.CONFLICT),
    MergeRule("inventory/stock/*", How.LATEST, by="at"),
    MergeRule("recovery/*/*", How.CONFLICT),
    MergeRule("recovery/endpoints/*", How.LATEST, by="last_at"),
    MergeRule("recovery/retry", How.CONFLICT),
    MergeRule("facts/known/*", How.LATEST, by="fetched_at"),
    MergeRule("stale/parts/*", How.LATEST, by="since"),
    MergeRule("agent/**", How.LATEST),
)
"""The rules for the package's own slices. A site adds its own behind them: ``(*RULES, MergeRule(...))``."""

_OTHERWISE = MergeRule("**", How.KEYS)
_ALL_BELOW = ("**",)
_DERIVED = ("discounts", "quote")
_BASKET = ("lines", "vouchers", "delivery", *_DERIVED)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A place, as JSON pointer, that both sides changed, with its three values (``None`` if absent).

    The values are what agents and consumers sent: not for logs or error messages.
    """

    path: str
    base: Found
    theirs: Found
    ours: Found


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to.

    ``patch`` is to be applied to ``theirs``; with any conflict it is empty, and nothing is to be written. It
    shares with the states that were merged: copy it before changing it.

    ``needs_repricing`` says that both sides changed the basket, so that no store has priced what it is now. The
    patch then removes quote and discounts, and a line keeps a price per piece that the store gave to one side.
    Have the store price the result before anyone is shown it or pays for it.
    """

    patch: Patch
    conflicts: tuple[Conflict, ...] = ()
    needs_repricing: bool = False


def merge(base: State, theirs: State, patch: Patch, rules: Iterable[MergeRule] = RULES) -> Merged:
    """Return what ``patch``, made for ``base``, comes to on ``theirs`` (V5).

    All three are of one schema version, and ``patch`` has passed ``check_patch``. The merged patch still has to
    pass ``check_shape`` like any other: each side may fit and the two together not. Conflicts are in the order of
    their paths. Never raises for what a session can hold.
    """
    ours = apply_patch(base, patch)
    asked = [(tuple(rule.path.split("/")), rule) for rule in (_OTHERWISE, *rules)]
    conflicts: list[Conflict] = []
    merged = _merge(_Place("", base, theirs, ours, asked), diff(base, ours), conflicts)
    if conflicts:
        return Merged({}, tuple(sorted(conflicts, key=lambda conflict: conflict.path)))
    if _basket_differs(base, theirs) and _basket_differs(base, ours):
        return Merged(_without_quote(merged, theirs), needs_repricing=True)
    return Merged(merged)


@dataclass(frozen=True, slots=True)
class _Place:
    """One place in the three states, and the rules for it and for what is below, each with the rest of its path."""

    path: str
    base: Found
    theirs: Found
    ours: Found
    rules: list[tuple[tuple[str, ...], MergeRule]]

    def at(self, key: str) -> _Place:
        name = escape_key(key)
        rules = [
            (rest if rest == _ALL_BELOW else rest[1:], rule)
            for rest, rule in self.rules
            if rest and rest[0] in (name, "*", "**")
        ]
        base, theirs, ours = (fields(side).get(key) for side in (self.base, self.theirs, self.ours))
        return _Place(f"{self.path}/{name}", base, theirs, ours, rules)

    def conflict(self) -> Conflict:
        return Conflict(self.path, self.base, self.theirs, self.ours)


def _merge(place: _Place, changes: Patch, conflicts: list[Conflict]) -> Patch:
    """Return what ``changes``, which make ``place.ours`` of ``place.base``, come to on ``place.theirs``, a map."""
    merged: Patch = {}
    for key, change in changes.items():
        here = place.at(key)
        rest, rule = [one for one in here.rules if one[0] in ((), _ALL_BELOW)][-1]
        open_map = rule.how is How.KEYS or rest == _ALL_BELOW
        if open_map and type(here.theirs) is dict and type(change) is dict:
            disputed = _disputed(here, rule)
            conflicts += disputed
            inner = {} if disputed else _merge(here, change, conflicts)
            if inner:
                merged[key] = inner
        else:
            settled = _settle(here, rule, conflicts)
            merged |= diff(_alone(key, here.theirs), _alone(key, settled))
    return merged


def _disputed(here: _Place, rule: MergeRule) -> list[Conflict]:
    """Return on which of the fields that must be the same the two sides do not agree."""
    if not rule.same or alike(here.base, here.theirs):
        return []
    parts = [here.at(name) for name in rule.same]
    return [part.conflict() for part in parts if not alike(part.theirs, part.ours)]


def _settle(here: _Place, rule: MergeRule, conflicts: list[Conflict]) -> Found:
    """Return the value that both sides come to; theirs, and one more conflict, if they do not."""
    base, theirs, ours = here.base, here.theirs, here.ours
    if alike(base, theirs):
        return ours
    if rule.how is How.ADD and type(theirs) is int and type(ours) is int and (base is None or type(base) is int):
        total = theirs + ours - (base or 0)
        if rule.least <= total <= rule.most:
            return total
    elif alike(theirs, ours):
        return theirs
    elif rule.how is How.LATEST and rule.by:
        seen, read = _time(theirs, rule.by), _time(ours, rule.by)
        if seen and read and seen != read:
            return ours if read > seen else theirs
    elif rule.how is How.LATEST and (theirs is None or ours is None or (type(theirs) is dict) == (type(ours) is dict)):
        return ours
    conflicts.append(here.conflict())
    return theirs


def _time(view: Found, field: str) -> datetime | None:
    try:
        return msgspec.convert(fields(view).get(field), Time)
    except msgspec.ValidationError:
        return None


def _alone(key: str, value: Found) -> State:
    return {} if value is None else {key: value}


def _basket_differs(base: State, other: State) -> bool:
    one, two = fields(base.get("shopping")), fields(other.get("shopping"))
    return any(not alike(one.get(name), two.get(name)) for name in _BASKET)


def _without_quote(merged: Patch, theirs: State) -> Patch:
    """Return ``merged`` so that it leaves no price of a basket that is not this one."""
    change = merged.get("shopping")
    kept = {name: part for name, part in change.items() if name not in _DERIVED} if type(change) is dict else {}
    shopping = kept | {name: None for name in _DERIVED if name in fields(theirs.get("shopping"))}
    rest = {name: part for name, part in merged.items() if name != "shopping"}
    return rest | ({"shopping": shopping} if shopping else {})
