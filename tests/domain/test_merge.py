"""V5: a change is merged into what others have made of the state meanwhile, the same way everywhere, or not at all."""

from __future__ import annotations

import copy
from itertools import permutations
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from agent_sessions.domain.merge import RULES, How, Merged, MergeRule, merge
from agent_sessions.domain.patch import apply_patch, diff, same
from agent_sessions.domain.state import check_shape, check_whole
from tests.domain.merging import disputed, merged_state, raced
from tests.domain.strategies import changes, json_maps, patches, races, states
from tests.shopping import variables

TIMELESS = (MergeRule("a/**", How.ADD), MergeRule("b/*", How.CONFLICT), MergeRule("c", How.KEYS, same=("a",)))
"""Rules of every kind whose result does not depend on who came first, for places that the strategies visit."""


# Whatever the states and patches are


@given(json_maps(), patches(), st.booleans())
def test_onto_an_unmoved_base_a_merge_is_the_patch(base, patch, shared):
    theirs = base if shared else copy.deepcopy(base)
    assert same(merged_state(theirs, merge(base, theirs, patch)), apply_patch(base, patch))


@given(changes())
def test_states_of_the_right_shape_onto_an_unmoved_base(change):
    base, patch = change
    merged = merge(base, copy.deepcopy(base), patch)
    assert same(merged_state(base, merged), apply_patch(base, patch))
    assert not merged.needs_repricing


@given(json_maps(), json_maps())
def test_an_empty_patch_changes_nothing(base, theirs):
    assert merge(base, theirs, {}) == Merged({})


@given(json_maps(), json_maps(), patches())
def test_no_input_is_changed_and_key_order_does_not_matter(base, theirs, patch):
    def turned(value):
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    given_ones = copy.deepcopy((base, theirs, patch))
    merged = merge(base, theirs, patch, TIMELESS)
    assert (base, theirs, patch) == given_ones
    again = merge(turned(base), turned(theirs), turned(patch), TIMELESS)
    assert again.conflicts == merged.conflicts
    assert [conflict.path for conflict in merged.conflicts] == sorted(conflict.path for conflict in merged.conflicts)
    assert same(again.patch, merged.patch)


@given(json_maps(), patches(6), patches(6))
def test_without_rules_neither_side_loses_a_change(base, first, second):
    theirs, ours = apply_patch(base, first), apply_patch(base, second)
    merged = merge(base, theirs, second, ())
    assume(not merged.conflicts)
    after = apply_patch(theirs, merged.patch)
    assert same(apply_patch(after, diff(base, theirs)), after)
    assert same(apply_patch(after, diff(base, ours)), after)


@given(json_maps(), patches(6), patches(6))
def test_without_rules_what_both_changed_alike_is_no_conflict(base, first, second):
    """A conflict names two values that differ from the base and from one another, at a place that both changed."""
    theirs, ours = apply_patch(base, first), apply_patch(base, second)
    for conflict in merge(base, theirs, second, ()).conflicts:
        values = (conflict.base, conflict.theirs, conflict.ours)
        assert values == tuple(value_at(tree, conflict.path) for tree in (base, theirs, ours))
        assert all(not same(one, other) for one, other in ((values[0], values[1]), (values[0], values[2]), values[1:]))
    assert merge(base, theirs, first, ()) == Merged({})


def value_at(tree: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        tree = tree.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(tree, dict) else None
    return tree


@given(json_maps(), patches(6), patches(6))
def test_who_comes_first_does_not_matter(base, first, second):
    one, after_one = raced(first, second, base, TIMELESS)
    other, after_other = raced(second, first, base, TIMELESS)
    mirrored = {(c.path, repr(c.base), repr(c.ours), repr(c.theirs)) for c in other.conflicts}
    assert {(c.path, repr(c.base), repr(c.theirs), repr(c.ours)) for c in one.conflicts} == mirrored
    if not mirrored:
        assert same(after_one, after_other)


@given(races(3))
def test_three_baskets_come_to_the_same_in_any_order(race):
    base, changes = race
    # The agent's variables follow the history's order by their rule; here they are to be disputed instead.
    rules = (*RULES, MergeRule("agent/**", How.CONFLICT))
    results = []
    for order in permutations(changes):
        state = base
        for patch in order:
            merged = merge(base, state, patch, rules)
            assume(not merged.conflicts)
            state = apply_patch(state, merged.patch)
        results.append(state)
    assert all(same(results[0], result) for result in results)
    check_whole(results[0])


@given(races(2))
def test_two_baskets_add_up(race):
    base, (first, second) = race
    merged, after = raced(first, second, base)
    assume(not merged.conflicts)
    check_shape(merged.patch, after)
    begun, one, other = (
        {key: line["quantity"] for key, line in state["shopping"]["lines"].items()}
        for state in (base, apply_patch(base, first), apply_patch(base, second))
    )
    for key in begun.keys() | one.keys() | other.keys():
        expected = one.get(key, 0) + other.get(key, 0) - begun.get(key, 0)
        found = after["shopping"]["lines"].get(key, {"quantity": 0})["quantity"]
        removed = key in begun and not (key in one and key in other)
        assert found == (0 if removed else expected)


# Rules


def test_of_several_rules_the_last_decides():
    first, second = {"shopping": {"instructions": "a"}}, {"shopping": {"instructions": "b"}}
    assert disputed(first, second) == ["/shopping/instructions"]
    _, state = raced(first, second, rules=(*RULES, MergeRule("shopping/instructions", How.LATEST)))
    assert state["shopping"]["instructions"] == "b"
    strict = (*RULES, MergeRule("agent/**", How.CONFLICT), MergeRule("shopping/delivery", How.KEYS))
    assert disputed(variables(plan={"step": 2}), variables(plan={"step": 3}), rules=strict) == ["/agent/plan/step"]
    parts = ({"method": "bike"}, {"label": "By bike"})
    one, other = ({"shopping": {"delivery": part}} for part in parts)
    assert raced(one, other, rules=strict)[1]["shopping"]["delivery"] == {**parts[0], **parts[1]}


def test_paths_of_rules_are_spelled_like_pointers():
    rules = [MergeRule("agent/a~1b/*", How.ADD), MergeRule("agent/~0", How.LATEST)]
    base: Any = {"agent": {"a/b": {"*": 1, "**": 1}, "~": 1, "a": {"b": {"c": 1}}}}
    first = variables(**{"a/b": {"*": 2, "**": 3}, "~": 2})
    second = variables(**{"a/b": {"*": 3, "**": 3}, "~": 3})
    assert raced(first, second, base, rules)[1]["agent"] == {
        "a/b": {"*": 4, "**": 5},
        "~": 3,
        "a": {"b": {"c": 1}},
    }
    deeper = [variables(a={"b": {"c": number}}) for number in (2, 3)]
    assert disputed(*deeper, base, rules) == ["/agent/a/b/c"]


@given(states(), states(), states())
def test_every_state_can_be_merged_with_every_other(base, theirs, ours):
    merged = merge(base, theirs, diff(base, ours))
    after = apply_patch(theirs, merged.patch)
    assert not (merged.conflicts and merged.patch)
    if not merged.conflicts:
        assert diff(theirs, after) == merged.patch  # it says nothing that is so already


# Cost


class Unread:
    """A value that must not be looked at."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("read")

    __hash__ = None  # type: ignore[assignment]


def test_what_the_patch_does_not_name_is_not_read():
    def state(**more: Any) -> Any:
        return {"shopping": {"lines": {}}, "agent": {"a": 1, "b": Unread(), **more}, "facts": {"known": Unread()}}

    merged = merge(state(), state(c=1), variables(a=2))
    assert merged == Merged({"agent": {"a": 2}})


def test_what_the_two_states_share_is_not_read():
    base: Any = {"shopping": {"lines": {"l1": Unread()}}, "agent": {"a": {"b": Unread()}, "n": 1}}
    theirs = apply_patch(base, variables(n=2))
    assert merge(base, theirs, variables(a=None)) == Merged({"agent": {"a": None}})
    assert merge(base, theirs, {"shopping": {"lines": {"l1": None}}}) == Merged({"shopping": {"lines": {"l1": None}}})
