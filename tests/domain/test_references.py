"""What a state depends on outside of the session, and how a change moves it (X2)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.references import moved_references, references

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
    """X2: although only what the patch names is looked at first."""
    had, has = references(before), references(after)

    assert apply_patch(before, patch := diff(before, after)) == after
    assert moved_references(before, after, patch) == (tuple(sorted(has - had)), tuple(sorted(had - has)))


def test_what_another_line_or_hold_names_too_is_neither_new_nor_gone() -> None:
    """X2"""
    lines = {"1": {"item": "A"}, "2": {"item": "A"}}
    assert moved_references({"shopping": {"lines": lines}}, *_with("1", "B", lines)) == (("item:B",), ())
    held = {"inventory": {"holds": {"h": {"item": "B"}}}}
    before = {"shopping": {"lines": {"1": {"item": "A"}}}, **held}
    assert moved_references(before, *_with("1", "B", {"1": {"item": "A"}}, held)) == ((), ("item:A",))


def _with(key: str, item: str, lines: Any, besides: Any = None) -> tuple[Any, Any]:
    """Return the state with another item in a line, and the patch that makes it."""
    patch = {"shopping": {"lines": {key: {"item": item}}}}
    return {"shopping": {"lines": {**lines, key: {"item": item}}}, **(besides or {})}, patch
