"""What a state depends on outside of the session, and how a change moves it (X2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.references import References, moved_references, newly_named, references

_ITEMS = st.sampled_from("ABC")
_LINES = st.dictionaries(
    st.sampled_from("12"), st.fixed_dictionaries({"item": _ITEMS, "quantity": st.integers(1, 2)}), max_size=2
)
_HOLDS = st.dictionaries(
    st.sampled_from("12"),
    st.fixed_dictionaries({"item": _ITEMS}, optional={"released_at": st.just("2026-01-31T09:00:00Z")}),
    max_size=2,
)
_VOUCHERS = st.dictionaries(st.sampled_from("XY"), st.just({}), max_size=2)
STATES = st.fixed_dictionaries(
    {},
    optional={
        "shopping": st.fixed_dictionaries({}, optional={"lines": _LINES, "vouchers": _VOUCHERS}),
        "inventory": st.fixed_dictionaries({}, optional={"holds": _HOLDS}),
    },
)


@given(before=STATES, after=STATES)
def test_what_a_change_moves_is_what_the_whole_states_differ_in(before: Any, after: Any) -> None:
    """X2: although only what the patch names is looked at."""
    had, has, patch = references(before), references(after), diff(before, after)

    assert apply_patch(before, patch) == after
    moves = moved_references(None, before, after, patch)
    assert moves[1:] == (tuple(sorted(has - had)), tuple(sorted(had - has)))
    assert set(newly_named(before, after, patch)) >= set(moves.added)
    assert set(newly_named(before, after, patch)) <= has


@given(states=st.lists(STATES, min_size=2, max_size=150))
def test_references_that_are_carried_on_are_those_of_each_state(states: Any) -> None:
    """X2: over more changes than are kept apart from the count that all of them share."""
    known = None
    for before, after in pairwise(states):
        moves = moved_references(known, before, after, diff(before, after))
        assert moves == moved_references(None, before, after, diff(before, after))._replace(references=moves.references)
        known = moves.references
    for item in "ABC":
        assert (("item", item) in (known or References.of(states[-1]))) == (f"item:{item}" in references(states[-1]))


def test_many_changes_are_folded_into_a_count_of_their_own() -> None:
    """X2: what a change costs does not grow with the changes before it, and what is gone takes no room."""
    lines = {str(number): {"item": f"I{number}"} for number in range(200)}
    state: Any = {"shopping": {"lines": lines}}
    known = None
    for number in range(200):
        after, patch = _with(str(number), f"J{number}", state["shopping"]["lines"])
        known, added, removed = moved_references(known, state, after, patch)
        assert (added, removed) == ((f"item:J{number}",), (f"item:I{number}",))
        state = after
    assert known is not None
    assert len(known.since) < 64
    assert ("item", "I0") not in known.whole
    assert References.of(state).whole == {("item", f"J{number}"): 1 for number in range(200)}


def test_what_another_line_or_hold_names_too_is_neither_new_nor_gone() -> None:
    """X2"""
    lines = {"1": {"item": "A"}, "2": {"item": "A"}}
    assert moved_references(None, {"shopping": {"lines": lines}}, *_with("1", "B", lines))[1:] == (("item:B",), ())
    held = {"inventory": {"holds": {"h": {"item": "B"}}}}
    before = {"shopping": {"lines": {"1": {"item": "A"}}}, **held}
    moves = moved_references(None, before, *_with("1", "B", {"1": {"item": "A"}}, held))
    assert moves[1:] == ((), ("item:A",))


def _with(key: str, item: str, lines: Any, besides: Any = None) -> tuple[Any, Any]:
    """Return the state with another item in a line, and the patch that makes it."""
    patch = {"shopping": {"lines": {key: {"item": item}}}}
    return {"shopping": {"lines": {**lines, key: {"item": item}}}, **(besides or {})}, patch
