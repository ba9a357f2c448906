"""The check of recorded histories passes a possible one, and of a broken one it says which rule is broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import RULES, Entry, Operation, check

# A possible history of five processes, whose operations overlap

OPEN = Operation(0, "open", 0, 1, "ok", version=1, seq=1, marker="open")
A = Operation(1, "change", 2, 9, "ok", base_version=1, version=2, seq=2, marker="a")
REFUSED = Operation(2, "change", 3, 8, "refused", base_version=1, version=2, marker="refused")
EARLY_READ = Operation(3, "read", 4, 6, "ok", version=1, marker="open", reads=True)
MESSAGE = Operation(3, "message", 7, 10, "ok", seq=3, marker="message")
B = Operation(2, "change", 11, None, base_version=2, marker="b")
NEVER = Operation(4, "change", 12, None, base_version=2, marker="never")
READ_OF_B = Operation(1, "read", 13, 15, "ok", version=3, marker="b", reads=True)
EVENT = Operation(3, "event", 14, 18, "ok", seq=5, marker="event")
CART = Operation(1, "cart", 16, 20, "ok", version=4, seq=6, marker="cart")
OVERLAPPING_READ = Operation(3, "read", 19, 21, "ok", version=3, marker="b", reads=True)
LATE_READ = Operation(3, "read", 22, 23, "ok", version=4, marker="b", reads=True)
C = Operation(1, "change", 24, 26, "ok", base_version=4, version=5, marker="c")
STARTED_LAST = Operation(3, "cart", 25, None, marker="last")
OPERATIONS = [
    OPEN, A, REFUSED, EARLY_READ, MESSAGE, B, NEVER, READ_OF_B, EVENT, CART, OVERLAPPING_READ, LATE_READ, C,
    STARTED_LAST,
]  # fmt: skip
STORED = [
    Entry(1, 1, "open", "open"),
    Entry(2, 2, "a", "a"),
    Entry(3, None, "message", "a"),
    Entry(4, 3, "b", "b"),
    Entry(5, None, "event", "b"),
    Entry(6, 4, "cart", "b"),
    Entry(7, None, "", "b"),
    Entry(8, 5, "c", "c"),
]


def broken(violations: Sequence[str]) -> set[str]:
    """Return the rules that were broken."""
    return {violation.partition(":")[0] for violation in violations}


def changed(operation: Operation, **facts: Any) -> list[Operation]:
    return [replace(one, **facts) if one is operation else one for one in OPERATIONS]


def stored(*entries: Entry, without: Sequence[int] = ()) -> list[Entry]:
    """Return what is stored with these entries instead of those of the same seq, and without some."""
    by_seq = {entry.seq: entry for entry in [*STORED, *entries] if entry.seq not in without}
    return [by_seq[seq] for seq in sorted(by_seq)]


def test_a_possible_history_with_concurrency_is_right() -> None:
    assert check(OPERATIONS, STORED) == []


def test_a_history_in_which_nobody_did_anything_is_right() -> None:
    assert check([OPEN], STORED[:1]) == []


def test_operations_that_touch_may_have_been_in_either_order() -> None:
    read = Operation(2, "read", 5, 7, "ok", version=1, reads=True)
    earlier = Operation(1, "change", 3, 5, "ok", base_version=1, version=2, seq=2, marker="a")
    assert check([OPEN, earlier, read], STORED[:2]) == []
    later = replace(earlier, invoked_at=7, answered_at=9)
    assert check([OPEN, replace(read, version=2), later], STORED[:2]) == []


BROKEN: dict[str, tuple[str, list[Operation], list[Entry]]] = {
    "a version is missing": ("gap", OPERATIONS, stored(replace(STORED[3], version=None))),
    "an event is missing": ("gap", OPERATIONS, stored(without=[7])),
    "versions run backwards": ("gap", OPERATIONS, stored(replace(STORED[1], version=3), replace(STORED[3], version=2))),
    "a version number is used twice": ("gap", OPERATIONS, stored(replace(STORED[5], version=3))),
    "two are told that they made the same version": ("given twice", changed(CART, version=2), STORED),
    "two are told that they wrote the same event": ("given twice", changed(EVENT, seq=3), STORED),
    "an acknowledged version is not there": ("lost", OPERATIONS, stored(without=[8])),
    "an acknowledged event is not there": ("lost", OPERATIONS, stored(replace(STORED[4], marker=""))),
    "an acknowledged version is somebody else's": ("lost", OPERATIONS, stored(replace(STORED[5], marker="never"))),
    "what was told as one version is stored as another": ("lost", changed(CART, version=5), STORED),
    "what was told as one event is stored as another": ("lost", changed(EVENT, seq=7), STORED),
    "what was told as a version is stored as none": ("lost", changed(MESSAGE, version=3), STORED),
    "an acknowledged write is there twice": ("stored twice", OPERATIONS, stored(Entry(9, 6, "cart", "c"))),
    "a write whose writer died is there twice": ("stored twice", OPERATIONS, stored(Entry(9, 6, "b", "b"))),
    "a refused write is there": ("refused but stored", OPERATIONS, stored(Entry(9, 6, "refused", "refused"))),
    "a refused write is there without a version": ("refused but stored", OPERATIONS, stored(Entry(9, None, "refused"))),
    "a version that nobody wrote": ("written by nobody", OPERATIONS, stored(Entry(9, 6, "", "c"))),
    "an event that nobody wrote": ("written by nobody", OPERATIONS, stored(Entry(9, None, "ghost", "c"))),
    "a version that was made on another than was named": ("wrong base", changed(C, base_version=3), STORED),
    "the same, of a writer that died": ("wrong base", changed(B, base_version=1), STORED),
    "a write before one that was answered earlier": (
        "out of order",
        [replace(one, invoked_at=30, answered_at=31) if one is A else one for one in OPERATIONS],
        STORED,
    ),
    "an event before one that was answered earlier": ("out of order", changed(MESSAGE, invoked_at=22), STORED),
    "a writer that died wrote before it was asked to": ("out of order", changed(B, invoked_at=27), STORED),
    "a writer that died recorded an event before it was asked to": (
        "out of order",
        changed(MESSAGE, outcome="unknown", invoked_at=22, answered_at=None, seq=None),
        STORED,
    ),
    "a write before what somebody had read": ("out of order", changed(CART, invoked_at=24, answered_at=26), STORED),
    "a read of less than was acknowledged": ("stale read", changed(LATE_READ, version=3), STORED),
    "a process reads less than it did": ("backward read", changed(OVERLAPPING_READ, version=2, marker="a"), STORED),
    "a read of a version that is not stored": ("impossible read", changed(LATE_READ, version=6), STORED),
    "a read of what nobody had asked for": ("impossible read", changed(EARLY_READ, version=3, marker="b"), STORED),
    "a read of another version's content": ("torn read", changed(READ_OF_B, marker="a"), STORED),
    "a conflict with nothing": ("wrong conflict", changed(REFUSED, version=1), STORED),
    "a conflict with what is not stored": ("wrong conflict", changed(REFUSED, version=6), STORED),
    "a conflict with what nobody had asked for": ("wrong conflict", changed(REFUSED, version=3), STORED),
    "a conflict that tells less than was acknowledged": (
        "wrong conflict",
        [*OPERATIONS, replace(REFUSED, invoked_at=30, answered_at=31, version=4, marker="too late")],
        STORED,
    ),
    "a conflict that tells less than somebody had read": (
        "wrong conflict",
        [*OPERATIONS, replace(REFUSED, invoked_at=16, answered_at=17, marker="too late")],
        STORED,
    ),
    "two writes that cannot be told apart": ("marked twice", changed(NEVER, marker="b"), STORED),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_history_is_found_out_and_the_rule_is_named(name: str) -> None:
    rule, operations, entries = BROKEN[name]
    assert rule in broken(check(operations, entries))


def test_each_rule_has_a_broken_history() -> None:
    assert {rule for rule, *_ in BROKEN.values()} == RULES.keys()


def test_a_violation_tells_which_operation_and_which_versions() -> None:
    found = check(changed(LATE_READ, version=3), STORED)
    assert found == [
        "stale read: read (b, process 3) ok version 3, after 4 was told: cart (cart, process 1) ok version 4 seq 6"
    ]
