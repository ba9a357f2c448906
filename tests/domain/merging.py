"""Merging two patches of one state, either way round."""

from __future__ import annotations

from typing import Any

from agent_sessions.domain.merge import RULES, Merged, merge
from agent_sessions.domain.patch import apply_patch
from tests.shopping import line

BASE: Any = {
    "shopping": {
        "lines": {"l1": line(quantity=3), "l2": line("Teapot", item="sku-2")},
        "discounts": {"d1": {"amount": -100, "currency": "EUR"}},
        "delivery": {"method": "parcel", "label": "Parcel"},
        "quote": {"total": 5000, "currency": "EUR"},
        "instructions": "Ring twice",
    },
    "agent": {"plan": {"step": 1, "goal": "tea"}},
}


def merged_state(theirs, merged: Merged):
    assert not merged.conflicts
    return apply_patch(theirs, merged.patch)


def raced(first, second, base=BASE, rules=RULES):
    """Merge ``second`` after ``first``, both made for ``base``."""
    theirs = apply_patch(base, first)
    merged = merge(base, theirs, second, rules)
    return merged, apply_patch(theirs, merged.patch)


def lines_after(first, second) -> Any:
    merged, state = raced(first, second)
    assert not merged.conflicts
    return state["shopping"]["lines"]


def disputed(first, second, base=BASE, rules=RULES) -> list[str]:
    """The paths of the conflicts, which must be the same whoever comes first, and leave nothing to be written."""
    (one, after_first), (other, after_second) = raced(first, second, base, rules), raced(second, first, base, rules)
    assert {(c.path, c.theirs is None, c.ours is None) for c in one.conflicts} == {
        (c.path, c.ours is None, c.theirs is None) for c in other.conflicts
    }
    if one.conflicts:
        assert one.patch == other.patch == {}
        assert not one.needs_repricing
        assert (after_first, after_second) == (apply_patch(base, first), apply_patch(base, second))
    return [conflict.path for conflict in one.conflicts]
