from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.patch import apply_patch, copy_state, diff, inverse, same
from agent_sessions.types import Patch
from tests.domain.strategies import json_maps, json_values, patches

RFC_7396 = [
    # Appendix A, the cases whose target is a map without nulls.
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    # Section 2: a map merges into what is no map as into an empty one; one that loses its last key stays.
    ({"a": "b"}, {"a": {"c": 1, "d": None}}, {"a": {"c": 1}}),
    ({"a": [1]}, {"a": {}}, {"a": {}}),
    ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
    ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
    ({"a": 1}, {"missing": None}, {"a": 1}),
    ({"a": 1}, {}, {"a": 1}),
]


@pytest.mark.parametrize(("state", "patch", "result"), RFC_7396)
def test_rfc_7396(state, patch, result):
    assert apply_patch(state, patch) == result


@given(json_maps(), patches())
def test_no_input_is_changed(state, patch):
    before, asked = copy.deepcopy(state), copy.deepcopy(patch)
    after = apply_patch(state, patch)
    diff(state, after)
    inverse(state, patch)
    assert (state, patch) == (before, asked)


def leaf_maps(value: object) -> Iterator[object]:
    """Every map and list of a tree."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaf_maps(inner)


@given(json_maps(), patches())
def test_the_new_state_shares_nothing_with_the_patch(state, patch):
    after = apply_patch(state, patch)
    of_patch = {id(part) for part in leaf_maps(patch)}
    assert not [part for part in leaf_maps(after) if id(part) in of_patch]


def test_untouched_subtrees_are_shared():
    state = {
        "shopping": {"lines": {"1": {"quantity": 1}, "2": {"quantity": 1}}, "quote": {"total": 5}},
        "agent": {"plan": [1]},
    }
    after = apply_patch(state, {"shopping": {"lines": {"1": {"quantity": 2}}}})
    assert after["agent"] is state["agent"]
    assert after["shopping"]["quote"] is state["shopping"]["quote"]
    assert after["shopping"]["lines"]["2"] is state["shopping"]["lines"]["2"]
    assert state["shopping"]["lines"]["1"] == {"quantity": 1}


@given(json_maps(), json_maps())
def test_a_difference_leads_from_one_state_to_the_other(before, after):
    patch = diff(before, after)
    assert same(apply_patch(before, patch), after)
    assert (patch == {}) == same(before, after)


def without_each_leaf(patch: Patch) -> Iterator[Patch]:
    """The patch with one of its leaves left out, for every leaf."""
    for key, change in patch.items():
        rest = {other: value for other, value in patch.items() if other != key}
        yield rest
        if isinstance(change, dict):
            for smaller in without_each_leaf(change):
                yield {**rest, key: smaller}


@given(json_maps())
def test_no_difference_to_the_same_state_read_again(state):
    assert diff(state, json.loads(json.dumps(state))) == {}


@given(json_maps(), json_maps())
def test_a_difference_holds_nothing_that_is_not_needed(before, after):
    for smaller in without_each_leaf(diff(before, after)):
        assert not same(apply_patch(before, smaller), after)


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": True}, {"a": 1}, {"a": 1}),
        ({"a": [0]}, {"a": [False]}, {"a": [False]}),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}, {"a": [{"b": True}]}),
        ({"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 3]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {}, {"a": None}),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, {"c": 3, "a": None}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1}, "c": 1}, {"c": 1, "a": {"b": 1}}, {}),
    ],
)
def test_diff(before, after, patch):
    assert same(apply_patch({"x": diff(before, after)}, {}), {"x": patch})


@given(json_maps(), patches())
def test_the_inverse_restores(state, patch):
    after = apply_patch(state, patch)
    undo = inverse(state, patch)
    assert same(apply_patch(after, undo), state)
    assert undo == diff(after, state)


@given(json_maps(), st.lists(patches(4), max_size=5))
def test_a_sequence_is_undone_backwards(state, sequence):
    states = [state]
    for patch in sequence:
        states.append(apply_patch(states[-1], patch))
    current = states[-1]
    for patch, before in reversed(list(zip(sequence, states[:-1], strict=True))):
        current = apply_patch(current, inverse(before, patch))
        assert same(current, before)


@given(json_maps(), st.lists(patches(4), max_size=5))
def test_a_sequence_of_patches_is_one_change_after_another(state, sequence):
    """What sharing could break: a later patch must not reach into an earlier state."""
    shared, frozen = [state], [copy.deepcopy(state)]
    for patch in sequence:
        shared.append(apply_patch(shared[-1], patch))
        frozen.append(copy.deepcopy(apply_patch(copy.deepcopy(frozen[-1]), copy.deepcopy(patch))))
    assert shared == frozen


def split(patch: Patch, left: Patch, right: Patch, choose) -> None:
    """Deal the leaves of a patch out to two patches."""
    for key, change in patch.items():
        if isinstance(change, dict) and change:
            one, other = {}, {}
            split(change, one, other, choose)
            left.update({key: one} if one else {})
            right.update({key: other} if other else {})
        else:
            (left if choose() else right)[key] = change


@given(json_maps(), patches(), st.data())
def test_patches_on_different_paths_commute(state, patch, data):
    left: Patch = {}
    right: Patch = {}
    split(patch, left, right, lambda: data.draw(st.booleans()))
    one = apply_patch(apply_patch(state, left), right)
    other = apply_patch(apply_patch(state, right), left)
    assert same(one, other)
    assert same(one, apply_patch(state, patch))


@given(json_values(), json_values())
def test_same_is_equality_that_knows_booleans(one, other):
    def spelled(value: object) -> object:
        if isinstance(value, dict):
            return {key: spelled(inner) for key, inner in value.items()}
        return [spelled(inner) for inner in value] if isinstance(value, list) else repr(value)

    assert same(one, other) == (spelled(one) == spelled(other))
    assert same(one, json.loads(json.dumps(one)))  # equal, and not one object in common


@given(json_maps())
def test_a_copy_shares_nothing(state):
    twin = copy_state(state)
    assert same(twin, state)
    originals = {id(part) for part in leaf_maps(state)}
    assert not [part for part in leaf_maps(twin) if id(part) in originals]
