from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain import sizes as sizes_module
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.sizes import check_sizes, patch_growth, slice_sizes, state_size
from agent_sessions.exceptions import LimitExceeded
from tests.domain.strategies import json_values, patches

UNLIMITED = 10**9
SLICES = st.sampled_from(["shopping", "conversation", "agent"])


def states():
    return st.dictionaries(SLICES, json_values())


def slice_patches():
    return st.dictionaries(SLICES, st.none() | json_values() | patches())


def length(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@given(states())
def test_sizes_are_bytes_of_compact_json(state):
    assert slice_sizes(state) == {name: length(value) for name, value in state.items()}
    assert state_size(slice_sizes(state)) == length(state)


@given(states(), slice_patches())
def test_a_patch_adds_at_most_its_growth(state, patch):
    before, after = slice_sizes(state), slice_sizes(apply_patch(state, patch))
    growth = patch_growth(patch)
    assert growth.keys() == patch.keys()
    for name, size in after.items():
        assert size <= before.get(name, 0) + growth.get(name, 0)


@given(states(), st.lists(slice_patches(), max_size=6), st.integers(0, 300), st.integers(0, 600))
def test_bounds_hold_and_what_fits_is_never_refused(state, history, max_slice, max_state):
    bounds = slice_sizes(state)
    for patch in history:
        after = apply_patch(state, patch)
        exact = slice_sizes(after)
        fits = all(size <= max_slice for name, size in exact.items() if name in patch)
        fits = fits and state_size(exact) <= max_state
        new, refused = checked(bounds, patch, after, max_slice=max_slice, max_state=max_state)
        assert (refused is None) == fits
        if refused is not None:
            size = length(after[refused.what.removeprefix("slice ")]) if "slice" in refused.what else length(after)
            limit = max_slice if "slice" in refused.what else max_state
            assert (refused.size, refused.limit) == (size, limit)
            assert size > limit
        else:
            assert new.keys() == exact.keys()
            assert all(new[name] >= size for name, size in exact.items())
            state, bounds = after, new


def checked(*arguments, **limits) -> tuple[dict[str, int], LimitExceeded | None]:
    try:
        return check_sizes(*arguments, **limits), None
    except LimitExceeded as refused:
        return {}, refused


def refusal(state, **limits) -> LimitExceeded:
    limits = {"max_slice": UNLIMITED, "max_state": UNLIMITED} | limits
    with pytest.raises(LimitExceeded) as refused:
        check_sizes({}, state, state, **limits)
    return refused.value


def test_a_refusal_names_the_slice_and_the_setting():
    refused = refusal({"agent": {"notes": "x" * 100}}, max_slice=50)
    assert refused.what == "slice agent"
    assert refused.size == len('{"notes":""}') + 100
    assert "MAX_SLICE_BYTES" in refused.message


def test_a_refusal_of_the_whole_names_its_setting():
    refused = refusal({"agent": {"a": "x" * 40}, "conversation": {"summary": "x" * 40}}, max_state=100)
    assert refused.what == "the state"
    assert "MAX_STATE_BYTES" in refused.message


def test_the_limit_itself_fits():
    state = {"agent": {"a": "x"}}
    size = length(state["agent"])
    check_sizes({}, state, state, max_slice=size, max_state=length(state))
    assert refusal(state, max_slice=size - 1).size == size
    assert refusal(state, max_state=length(state) - 1).size == length(state)


def test_the_limit_itself_fits_when_the_bound_has_drifted_above_it():
    state = {"agent": {"a": "x"}}
    patch = {"agent": {"a": "x"}}
    check_sizes({"agent": 10_000}, patch, state, max_slice=length(state["agent"]), max_state=UNLIMITED)
    check_sizes({"agent": 10_000}, patch, state, max_slice=UNLIMITED, max_state=length(state))


def test_deleting_adds_nothing():
    assert patch_growth({"agent": None}) == {"agent": 0}


def test_a_slice_that_was_too_large_before_does_not_block_the_others():
    state = {"agent": {"a": "x" * 100}, "conversation": {"summary": ""}}
    patch = {"conversation": {"summary": "short"}}
    check_sizes(slice_sizes(state), patch, apply_patch(state, patch), max_slice=50, max_state=UNLIMITED)


def test_a_deleted_slice_weighs_nothing():
    assert check_sizes({"agent": 90}, {"agent": None}, {}, max_slice=50, max_state=50) == {}


def test_a_missing_bound_is_measured():
    state = {"agent": {"a": 1}, "conversation": {"summary": "x"}}
    bounds = check_sizes({}, {"agent": {"a": 1}}, state, max_slice=UNLIMITED, max_state=UNLIMITED)
    assert bounds == slice_sizes(state)


def test_a_small_patch_never_encodes_a_large_state(monkeypatch):
    state = {"shopping": {"lines": {str(number): {"item": "mug"} for number in range(1000)}}, "agent": {}}
    bounds = slice_sizes(state)
    patch = {"shopping": {"lines": {"1": {"quantity": 2}}}}
    encoded = []
    encode = sizes_module._encode
    monkeypatch.setattr(sizes_module, "_encode", lambda value: encoded.append(len(encode(value))) or encode(value))
    check_sizes(bounds, patch, apply_patch(state, patch), max_slice=UNLIMITED, max_state=UNLIMITED)
    assert sum(encoded) < 100


def test_a_bound_that_has_drifted_is_made_exact_before_it_refuses():
    state = {"agent": {"a": 1}}
    bounds = check_sizes({"agent": 10_000}, {"agent": {"a": 1}}, state, max_slice=100, max_state=UNLIMITED)
    assert bounds == slice_sizes(state)
    bounds = check_sizes({"agent": 10_000}, {"agent": {"a": 1}}, state, max_slice=UNLIMITED, max_state=100)
    assert bounds == slice_sizes(state)
