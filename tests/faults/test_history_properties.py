"""The check of recorded histories passes every possible one, and finds any one thing that is wrong with it.

A possible history comes from processes that take turns at a session which does one thing at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.faults.history import RULES, Entry, Operation, check

T = TypeVar("T")

PLACES = 4
KINDS = ("change", "change", "cart", "event", "read", "read")
OPEN = Operation(0, "open", 0, 1, "ok", version=1, seq=1, marker="open")

Step = tuple[int, str, int]
STEPS = st.lists(
    st.tuples(st.integers(0, PLACES - 1), st.sampled_from(KINDS), st.integers(0, 19)), min_size=30, max_size=80
)


# Possible histories


class Session:
    """What happens at the session, one thing after the other."""

    def __init__(self) -> None:
        self.stored = [Entry(1, 1, "open", "open")]
        self.version = 1

    def carry_out(self, one: Operation) -> Operation:
        """Let the operation have its moment, and return it with what it will be told."""
        if one.reads:
            return replace(one, outcome="ok", version=self.version, marker=self.stored[-1].shows)
        if one.base_version not in (None, self.version):
            return replace(one, outcome="refused", version=self.version)
        if one.kind != "event":
            self.version += 1
        made = None if one.kind == "event" else self.version
        shows = one.marker if one.kind == "change" else self.stored[-1].shows
        self.stored.append(Entry(len(self.stored) + 1, made, one.marker, shows))
        return replace(one, outcome="ok", version=made, seq=len(self.stored))


@dataclass
class Story:
    """What the processes did, and what is stored in the end."""

    session: Session = field(default_factory=Session)
    operations: list[Operation] = field(default_factory=lambda: [OPEN])
    processes: list[int] = field(default_factory=lambda: list(range(1, PLACES + 1)))
    _under_way: dict[int, tuple[Operation, Operation | None]] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)

    def go_on(self, now: int, place: int, kind: str, luck: int) -> None:
        """Let the process at a place ask, have its moment or be answered; or die, and another takes its place."""
        process = self.processes[place]
        begun, told = self._under_way.get(process, (None, None))
        if luck == 0:
            self.processes[place] = max(self.processes) + 1
        elif begun is None:
            base = self._known.get(process, 1) if kind == "change" else None
            begun = Operation(process, kind, now, base_version=base, marker=f"{now}", reads=kind == "read")
            self.operations.append(begun)
            self._under_way[process] = begun, None
        elif told is None:
            self._under_way[process] = begun, self.session.carry_out(begun)
        else:
            self.operations[self.operations.index(begun)] = replace(told, answered_at=now)
            self._known[process] = told.version or self._known.get(process, 1)
            del self._under_way[process]

    @property
    def stored(self) -> list[Entry]:
        return self.session.stored

    @property
    def acknowledged(self) -> list[Operation]:
        return [one for one in self.operations if one.outcome == "ok" and not one.reads]

    @property
    def versions(self) -> list[Operation]:
        """The acknowledged writes that made a version."""
        return [one for one in self.acknowledged if one.version is not None]

    @property
    def reads(self) -> list[Operation]:
        return [one for one in self.operations if one.outcome == "ok" and one.reads]

    @property
    def refused(self) -> list[Operation]:
        return [one for one in self.operations if one.outcome == "refused"]


def tell_story(steps: Iterable[Step]) -> Story:
    story = Story()
    for now, step in enumerate(steps, start=2):
        story.go_on(now, *step)
    return story


@given(STEPS)
@settings(deadline=None)
def test_every_possible_history_is_right(steps: list[Step]) -> None:
    story = tell_story(steps)
    assert check(story.operations, story.stored) == []


# What can be wrong with it: each takes a story and a function that picks one of several, and returns a broken history


class Pick:
    """Picks by hypothesis; a story in which there is nothing to pick from is none to break in this way."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def __call__(self, several: Iterable[T]) -> T:
        choices = list(several)
        assume(choices)
        return self._data.draw(st.sampled_from(choices))


Broken = tuple[Sequence[Operation], Sequence[Entry]]


def retold(story: Story, operation: Operation, **facts: Any) -> Broken:
    return [replace(one, **facts) if one is operation else one for one in story.operations], story.stored


def with_one_more(story: Story, marker: str) -> Broken:
    last = story.stored[-1]
    return story.operations, [*story.stored, Entry(last.seq + 1, story.session.version + 1, marker, last.shows)]


def one_after_the_other(several: Iterable[Operation], later: Iterable[Operation]) -> list[tuple[Operation, Operation]]:
    """Return the pairs in which the first was answered before the second was asked for."""
    others = list(later)
    answered = [(one, one.answered_at) for one in several if one.answered_at is not None]
    return [(one, other) for one, answered_at in answered for other in others if answered_at < other.invoked_at]


def lose_a_row(story: Story, pick: Pick) -> Broken:
    row = pick(story.stored[:-1])
    return story.operations, [one for one in story.stored if one is not row]


def overwrite_an_acknowledged_write(story: Story, pick: Pick) -> Broken:
    lost = pick(story.acknowledged)
    return story.operations, [replace(one, marker="") if one.marker == lost.marker else one for one in story.stored]


def tell_a_number_that_it_did_not_get(story: Story, pick: Pick) -> Broken:
    return retold(story, pick(story.acknowledged), seq=len(story.stored) + 1)


def tell_two_the_same_version(story: Story, pick: Pick) -> Broken:
    one = pick(story.versions)
    return retold(story, one, version=pick(other.version for other in story.versions if other is not one))


def write_again_what_is_there(story: Story, pick: Pick) -> Broken:
    return with_one_more(story, pick(story.stored).marker)


def write_what_was_refused(story: Story, pick: Pick) -> Broken:
    return with_one_more(story, pick(story.refused).marker)


def write_what_nobody_asked_for(story: Story, pick: Pick) -> Broken:
    return with_one_more(story, pick(["", "ghost"]))


def name_an_older_version(story: Story, pick: Pick) -> Broken:
    one = pick(one for one in story.versions if one.base_version is not None)
    return retold(story, one, base_version=pick(range(one.base_version or 0)))


def exchange_two_writes(story: Story, pick: Pick) -> Broken:
    """Let the later of two have been first, in all that was told and stored of them."""
    stored = {entry.marker: entry for entry in story.stored}
    later = [one for one in story.operations if not one.reads and one.marker in stored]
    pairs = one_after_the_other(story.acknowledged, later)
    one, other = pick(pair for pair in pairs if len({stored[each.marker].version is None for each in pair}) == 1)
    swapped = {one.marker: other.marker, other.marker: one.marker}
    entries = [replace(entry, marker=swapped.get(entry.marker, entry.marker)) for entry in story.stored]
    told = {each.marker: stored[swapped[each.marker]] for each in (one, other) if each.outcome == "ok"}
    return [
        replace(each, version=told[each.marker].version, seq=told[each.marker].seq) if each.marker in told else each
        for each in story.operations
    ], entries


def read_less_than_was_acknowledged(story: Story, pick: Pick) -> Broken:
    write, read = pick(one_after_the_other(story.versions, story.reads))
    return retold(story, read, version=pick(range(write.version or 0)))


def read_less_than_was_read(story: Story, pick: Pick) -> Broken:
    one, other = pick(one_after_the_other(story.reads, story.reads))
    return retold(story, other, version=pick(range(one.version or 0)))


def read_what_is_not_there(story: Story, pick: Pick) -> Broken:
    return retold(story, pick(story.reads), version=story.session.version + 1)


def read_what_was_not_asked_for(story: Story, pick: Pick) -> Broken:
    read, write = pick(one_after_the_other(story.reads, story.versions))
    return retold(story, read, version=write.version)


def read_the_content_of_another_version(story: Story, pick: Pick) -> Broken:
    read = pick(story.reads)
    return retold(story, read, marker=pick(one.marker for one in story.stored if one.marker != read.marker))


def refuse_for_nothing(story: Story, pick: Pick) -> Broken:
    one = pick(story.refused)
    return retold(story, one, version=pick(range((one.base_version or 0) + 1)))


def refuse_for_what_was_not_asked_for(story: Story, pick: Pick) -> Broken:
    refused, write = pick(one_after_the_other(story.refused, story.versions))
    return retold(story, refused, version=write.version)


def refuse_for_less_than_was_acknowledged(story: Story, pick: Pick) -> Broken:
    write, refused = pick(one_after_the_other(story.versions, story.refused))
    return retold(story, refused, version=pick(range(write.version or 0)))


def mark_two_alike(story: Story, pick: Pick) -> Broken:
    one = pick(story.acknowledged)
    return retold(story, one, marker=pick(other.marker for other in story.acknowledged if other is not one))


BREAKS: dict[Callable[[Story, Pick], Broken], str] = {
    lose_a_row: "gap",
    overwrite_an_acknowledged_write: "lost",
    tell_a_number_that_it_did_not_get: "lost",
    tell_two_the_same_version: "given twice",
    write_again_what_is_there: "stored twice",
    write_what_was_refused: "refused but stored",
    write_what_nobody_asked_for: "written by nobody",
    name_an_older_version: "wrong base",
    exchange_two_writes: "out of order",
    read_less_than_was_acknowledged: "stale read",
    read_less_than_was_read: "backward read",
    read_what_is_not_there: "impossible read",
    read_what_was_not_asked_for: "impossible read",
    read_the_content_of_another_version: "torn read",
    refuse_for_nothing: "wrong conflict",
    refuse_for_what_was_not_asked_for: "wrong conflict",
    refuse_for_less_than_was_acknowledged: "wrong conflict",
    mark_two_alike: "marked twice",
}


@pytest.mark.parametrize("break_it", BREAKS)
@given(steps=STEPS, data=st.data())
@settings(deadline=None, max_examples=20)
def test_one_thing_wrong_with_a_history_is_found(
    break_it: Callable[[Story, Pick], Broken], steps: list[Step], data: st.DataObject
) -> None:
    operations, stored = break_it(tell_story(steps), Pick(data))
    assert BREAKS[break_it] in {violation.partition(":")[0] for violation in check(operations, stored)}


def test_there_is_a_way_to_break_every_rule() -> None:
    assert set(BREAKS.values()) == RULES.keys()
