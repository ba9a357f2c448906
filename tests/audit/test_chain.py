from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_sessions.audit.chain import check_chain
from agent_sessions.audit.events import event_hash
from agent_sessions.crypto.canonical import canonical_bytes
from tests.golden.make import Story, shopping

Row = tuple[int, bytes]


def rows_of(story: Story) -> list[Row]:
    return list(enumerate(story.events, 1))


@pytest.fixture
def rows() -> list[Row]:
    return rows_of(shopping())


def codes(rows: list[Row], **options: Any) -> list[tuple[str, str]]:
    return [(problem.code, problem.where) for problem in check_chain(iter(rows), **options)]


def rewritten(row: Row, **members: Any) -> Row:
    return row[0], canonical_bytes({**json.loads(row[1]), **members})


def test_a_sound_chain_has_no_problems(rows: list[Row]) -> None:
    assert codes(rows) == []
    assert codes(rows, run_id="0193a6f0-0000-7000-8000-000000000001") == []
    assert codes([]) == []


def test_what_was_added_since_can_be_checked_alone(rows: list[Row]) -> None:
    assert codes(rows[2:], after=(2, event_hash(rows[1][1]))) == []
    assert codes(rows[2:], after=(2, "0" * 64)) == [("broken_chain", "event 3.prev_hash")]


def test_events_after_the_end_belong_to_the_chain() -> None:
    story = shopping()
    story.add("session.purged", actor="system")
    assert codes(rows_of(story)) == []


def test_nothing_opens_the_sites_own_chain(rows: list[Row]) -> None:
    """A6: its first event is like every other."""
    first = json.loads(rows[3][1]) | {"seq": 1, "prev_hash": ""}
    second = json.loads(rows[3][1]) | {"seq": 2, "prev_hash": event_hash(canonical_bytes(first))}
    site = [(1, canonical_bytes(first)), (2, canonical_bytes(second))]
    assert codes(site, of_session=False) == []
    assert codes(site) == [("wrong_place", "event 1.kind"), ("wrong_place", "event 1.header")]
    assert codes(rows[:1], of_session=False) == [("wrong_place", "event 1.kind"), ("wrong_place", "event 1.header")]


def test_a_changed_event_breaks_the_link_after_it(rows: list[Row]) -> None:
    rows[2] = rewritten(rows[2], policy_result="allow")
    assert codes(rows) == [("broken_chain", "event 4.prev_hash")]


def test_a_missing_event_is_named(rows: list[Row]) -> None:
    del rows[2]
    assert codes(rows) == [("wrong_seq", "event 4"), ("broken_chain", "event 4.prev_hash")]
    assert codes(rows[1:])[0] == ("wrong_seq", "event 2")


def test_swapped_events_are_named(rows: list[Row]) -> None:
    rows[1], rows[2] = (2, rows[2][1]), (3, rows[1][1])
    assert codes(rows)[0] == ("wrong_seq", "event 2.seq")


def test_an_event_of_another_session_is_named(rows: list[Row]) -> None:
    rows[3] = rewritten(rows[3], run_id="other")
    assert codes(rows)[0] == ("wrong_run", "event 4.run_id")
    assert codes(rows, run_id="yet another")[0] == ("wrong_run", "event 1.run_id")


def test_a_second_beginning_is_named(rows: list[Row]) -> None:
    rows[4] = rewritten(rows[4], kind="session.created", header=json.loads(rows[0][1])["header"])
    assert codes(rows) == [("wrong_place", "event 5.kind"), ("wrong_place", "event 5.header")]
    rows = [rewritten(rows[0], kind="cart.viewed")]
    assert codes(rows) == [("wrong_place", "event 1.kind")]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (b"", "not_json"),
        (b"\xff", "not_json"),
        (b"[1]", "wrong_value"),
        (b"{}", "missing_member"),
        (b'{"a":1,"a":1}', "not_json"),
        (b'{ "a":1}', "not_canonical"),
    ],
)
def test_bytes_that_are_no_event_are_named(rows: list[Row], stored: bytes, expected: str) -> None:
    rows[1] = (2, stored)
    assert codes(rows)[0] == (expected, "event 2" if expected != "missing_member" else "event 2.actor")


def test_stops_when_enough_is_known_and_reads_one_event_at_a_time() -> None:
    read = 0

    def endless() -> Iterator[Row]:
        nonlocal read
        while True:
            read += 1
            yield 1, b"junk"

    assert len(check_chain(endless(), limit=7)) == 7
    assert read < 7
