"""Sessions that came from one another, put into rows and lanes."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.family_tree import Place, arranged, nearest, rails


def one(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


def tree(**came: str) -> tuple[dict[uuid.UUID, uuid.UUID | None], dict[uuid.UUID, str]]:
    """``s2="fork 1"``: session 2 is a fork of session 1; ``s1=""`` came from none."""
    parents: dict[uuid.UUID, uuid.UUID | None] = {}
    origins = {}
    for name, text in came.items():
        origin, _, parent = text.partition(" ")
        parents[one(int(name[1:]))] = one(int(parent)) if parent else None
        origins[one(int(name[1:]))] = origin
    return parents, origins


def lanes(**came: str) -> list[tuple[int, int]]:
    """Session and lane of each row, all of them shown."""
    parents, origins = tree(**came)
    return [(place.session.int, place.lane) for place in arranged(parents, origins, parents.keys())]


@pytest.mark.parametrize(
    ("came", "rows"),
    [
        ({"s1": ""}, [(1, 0)]),
        ({"s1": "", "s2": "renewal 1", "s3": "transfer 2"}, [(1, 0), (2, 0), (3, 0)]),
        ({"s1": "", "s2": "fork 1", "s3": "fork 1"}, [(1, 0), (2, 1), (3, 1)]),
        ({"s1": "", "s2": "fork 1", "s3": "renewal 1", "s4": "fork 2"}, [(1, 0), (2, 1), (4, 2), (3, 0)]),
        ({"s1": "", "s2": "renewal 1", "s3": "fork 1"}, [(1, 0), (3, 1), (2, 0)]),
        ({"s2": "renewal 1", "s3": "fork 2"}, [(2, 0), (3, 1)]),
        ({"s1": "", "s5": "", "s6": "fork 5"}, [(1, 0), (5, 0), (6, 1)]),
        ({"s1": "fork 2", "s2": "fork 1"}, [(1, 0), (2, 1)]),
        ({"s1": "fork 1"}, [(1, 0)]),
    ],
    ids=["alone", "chain", "star", "both", "successor last", "parent gone", "two trees", "ring", "its own parent"],
)
def test_rows_and_lanes(came: dict[str, str], rows: list[tuple[int, int]]) -> None:
    assert lanes(**came) == rows


def test_a_deep_chain_needs_no_deep_stack() -> None:
    parents = {one(number): one(number - 1) if number > 1 else None for number in range(1, 5001)}
    rows = arranged(parents, dict.fromkeys(parents, "fork"), parents.keys())
    assert [place.lane for place in rows] == list(range(5000))


def test_what_is_not_shown_is_counted_where_it_came_from() -> None:
    parents, origins = tree(s1="", s2="fork 1", s3="fork 1", s4="fork 2")
    assert arranged(parents, origins, {one(1), one(2)}) == [
        Place(one(1), None, 0, left_out=1), Place(one(2), one(1), 1, left_out=1),
    ]  # fmt: skip


def test_the_nearest_are_what_it_came_from_then_the_newest() -> None:
    parents, _ = tree(s1="", s2="fork 1", s3="fork 2", s4="fork 3", s5="fork 3", s6="fork 2", s7="fork 1")
    assert nearest(parents, one(3), 1) == {one(3)}
    assert nearest(parents, one(3), 3) == {one(3), one(2), one(5)}
    assert nearest(parents, one(3), 5) == {one(3), one(2), one(5), one(4), one(1)}
    assert nearest(parents, one(3), 50) == parents.keys()


def test_lines_begin_pass_and_end() -> None:
    parents, origins = tree(s1="", s2="fork 1", s3="renewal 1")
    drawn = rails(arranged(parents, origins, parents.keys()))
    assert [[(rail.lane, rail.to, rail.part, rail.session.int) for rail in row] for row in drawn] == [
        [(0, 0, "begins", 2), (0, 0, "begins", 3)],
        [(0, 1, "ends", 2), (0, 0, "through", 3)],
        [(0, 0, "ends", 3)],
    ]


@given(st.dictionaries(st.integers(0, 12), st.none() | st.integers(0, 14)), st.integers(0, 12), st.integers(1, 14))
def test_whatever_the_rows_say_each_is_told_once_below_what_it_came_from(
    said: dict[int, int | None], present: int, most: int
) -> None:
    parents = {one(key): None if value is None else one(value) for key, value in said.items()} | {one(present): None}
    shown = nearest(parents, one(present), most)
    rows = arranged(parents, dict.fromkeys(parents, "fork"), shown)
    assert sorted(place.session for place in rows) == sorted(shown)
    assert len(shown) <= most
    for number, place in enumerate(rows):
        assert place.parent is None or place.parent in {above.session for above in rows[:number]}
    assert len(rails(rows)) == len(rows)
