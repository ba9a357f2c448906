"""Whatever two states are compared, the differences between them are complete, true and safe to show."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.domain.differences import describe
from agent_sessions.domain.patch import apply_patch, diff, same
from agent_sessions.domain.text import has_unsafe_characters
from tests.domain.strategies import SLICES, json_maps, json_values, patches, states


def reversed_keys(value):
    return {key: reversed_keys(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


@given(states(), states())
def test_states_with_other_key_order_are_told_the_same(before, after):
    assert describe(before, after) == describe(reversed_keys(before), reversed_keys(after))


# Whatever is compared, the differences are complete and true


def any_states():
    odd = st.fixed_dictionaries(
        {},
        optional={
            "shopping": json_values()
            | st.dictionaries(st.sampled_from(["lines", "delivery", "quote", "instructions"]), json_values()),
            "conversation": json_values() | st.fixed_dictionaries({"questions": json_values()}),
            "agent": json_values(),
            "decisions": json_values() | st.fixed_dictionaries({"payments": json_values()}),
            "inventory": json_values() | st.fixed_dictionaries({"holds": json_values()}),
            "recovery": json_values() | st.fixed_dictionaries({"steps": json_values(), "next": json_values()}),
            "customer": json_values() | st.fixed_dictionaries({"loyalty": json_values()}),
            "later": json_values(),
        },
    )
    return states() | odd | json_maps()


def values(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree with its path."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from values(inner, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")


def check_complete_and_true(before, after) -> None:
    differences = describe(before, after)
    assert (differences == ()) == (diff(before, after) == {})
    old, new = dict(values(before)), dict(values(after))
    for difference in differences:
        assert difference.old is old.get(difference.path)
        assert difference.new is new.get(difference.path)
        assert difference.old is None or difference.new is None or not same(difference.old, difference.new)
        assert difference.text
        assert not has_unsafe_characters(difference.text)
    paths = [difference.path for difference in differences]
    assert len(set(paths)) == len(paths)
    for path in old.keys() | new.keys():
        one, other = old.get(path), new.get(path)
        leaf = not (isinstance(one, dict | None) and isinstance(other, dict | None))
        if leaf and not (one is not None and other is not None and same(one, other)):
            assert any(path == told or path.startswith(f"{told}/") for told in paths), path


@given(states(), states())
def test_differences_of_states(before, after):
    check_complete_and_true(before, after)


@pytest.mark.parametrize("name", SLICES)
@settings(max_examples=25)
@given(data=st.data())
def test_differences_of_each_slice(name, data):
    before, after = data.draw(SLICES[name]()), data.draw(SLICES[name]())
    check_complete_and_true({name: before}, {name: after})
    check_complete_and_true({name: before}, {})


@given(any_states(), any_states())
def test_differences_of_odd_states(before, after):
    check_complete_and_true(before, after)


@given(any_states(), patches())
def test_differences_after_a_patch(before, patch):
    check_complete_and_true(before, apply_patch(before, patch))


@given(any_states())
def test_nothing_is_told_of_the_same_state_read_again(state):
    assert describe(state, json.loads(json.dumps(state))) == ()


@pytest.mark.parametrize("odd", [1.5, float("nan"), "\ud800", "\0", 2**70, [None], b"x", (1,), object()])
def test_what_no_session_can_hold_is_told_all_the_same(odd):
    entry = {"shopping": {"vouchers": {"1": {"extra": {"x": odd}}}}}
    for tree in ({"agent": {"x": odd}}, {"shopping": {"lines": {"1": odd}}}, {"shopping": odd}, entry):
        (added,) = describe({}, tree)
        (removed,) = describe(tree, {})
        (added.text + removed.text).encode()
