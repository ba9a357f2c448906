"""Whether what many processes saw of one session can have happened: a check of recorded histories, without a database.

Every process records each of its operations: when it asked, when it was answered, and what it was told. Beside that is
what the database holds in the end. ``check`` names every rule that the two break together. What it knows of the package
is only its promise (V1, V3): every write happens at one moment between question and answer, or not at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Outcome = Literal["ok", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one process on the session.

    Times are nanoseconds of a clock that all processes share and that never runs backwards. The outcome is unknown, and
    there is no answer, if the process was killed or lost its connection before it was told.
    """

    process: int
    kind: str
    invoked_at: int
    answered_at: int | None = None
    outcome: Outcome = "unknown"
    base_version: int | None = None
    """The version that the write named, None if it named none."""
    version: int | None = None
    """What a write made (None: no version), what a read saw, or what a conflict said is current."""
    seq: int | None = None
    """The number of the write's event, where the answer told it."""
    marker: str = ""
    """Of a write: what it and no other wrote. Of a read: the marker in the state it was given, if it looked."""
    reads: bool = False
    code: str = ""
    """Of a refusal: the stable code of the error."""

    def __str__(self) -> str:
        told = {"on": self.base_version, "version": self.version, "seq": self.seq}
        words = [f"{name} {number}" for name, number in told.items() if number is not None]
        return " ".join([self.kind, f"({self.marker or 'unmarked'}, process {self.process})", self.outcome, *words])


@dataclass(frozen=True, slots=True)
class Entry:
    """One event that the database holds, and the version that it made, if any.

    ``marker`` is that of the write that made it; refused calls leave events without one. ``shows`` is the marker that
    the session's state holds from here on.
    """

    seq: int
    version: int | None = None
    marker: str = ""
    shows: str = ""


def check(operations: Iterable[Operation], stored: Sequence[Entry]) -> list[str]:
    """Return every violation, with the name of its rule in front; ``stored`` is in the order of the database's keys."""
    history = _History(operations, stored)
    return [f"{name}: {violation}" for name, rule in RULES.items() for violation in rule(history)]


class _Known:
    """What was known at any moment: the highest number that anybody had been told by then."""

    def __init__(self, told: Iterable[tuple[Operation, int | None]]) -> None:
        self._times: list[int] = []
        self._highest: list[tuple[int, Operation]] = []
        answers = [(one.answered_at, number, one) for one, number in told if one.answered_at is not None and number]
        for answered_at, number, operation in sorted(answers, key=lambda answer: answer[:2]):
            if not self._highest or number > self._highest[-1][0]:
                self._times.append(answered_at)
                self._highest.append((number, operation))

    def before(self, moment: int) -> tuple[int, Operation] | None:
        """Return the highest number told before ``moment``, and to which operation."""
        place = bisect_left(self._times, moment)
        return self._highest[place - 1] if place else None


class _History:
    def __init__(self, operations: Iterable[Operation], stored: Sequence[Entry]) -> None:
        every = list(operations)
        self.stored = stored
        self.writes = [one for one in every if not one.reads]
        self.acknowledged = [one for one in self.writes if one.outcome == "ok"]
        self.reads = [one for one in every if one.reads and one.outcome == "ok"]
        self.conflicts = [one for one in self.writes if one.outcome == "refused" and one.version is not None]
        self.by_marker = {one.marker: one for one in self.writes}
        self.times_stored = Counter(entry.marker for entry in stored if entry.marker)
        self._entries = {entry.marker: entry for entry in reversed(stored)}
        self._by_version = {entry.version: entry for entry in stored if entry.version is not None}

    def entry(self, write: Operation) -> Entry | None:
        """Return where a write is stored first."""
        return self._entries.get(write.marker)

    def made_by(self, version: int | None) -> Entry | None:
        """Return the entry that made a version."""
        return None if version is None else self._by_version.get(version)

    def version(self, write: Operation) -> int | None:
        """Return the version that a write was told, or that it made without anybody being told."""
        if write.outcome == "ok":
            return write.version
        entry = self.entry(write)
        return None if entry is None else entry.version

    def seq(self, write: Operation) -> int | None:
        if write.seq is not None:
            return write.seq
        entry = self.entry(write)
        return None if entry is None else entry.seq

    def why_impossible(self, told: Operation) -> str:
        """Say why nobody can have been told of its version when it was; empty if somebody can."""
        entry = self.made_by(told.version)
        if entry is None:
            return "which is not stored"
        write = self.by_marker.get(entry.marker)
        too_early = write is not None and told.answered_at is not None and told.answered_at < write.invoked_at
        return f"which {write} had not been asked for" if too_early else ""

    @cached_property
    def versions_written(self) -> _Known:
        return _Known((one, one.version) for one in self.acknowledged)

    @cached_property
    def versions_seen(self) -> _Known:
        return _Known((one, one.version) for one in [*self.reads, *self.conflicts])

    @cached_property
    def events_written(self) -> _Known:
        return _Known((one, self.seq(one)) for one in self.acknowledged)


# The rules, each yielding what breaks it


def _gaps(history: _History) -> Iterator[str]:
    for what, numbers in (
        ("versions", [entry.version for entry in history.stored if entry.version is not None]),
        ("events", [entry.seq for entry in history.stored]),
    ):
        wrong = next((at for at, number in enumerate(numbers, start=1) if number != at), None)
        if wrong is not None:
            yield f"of the {what}, number {wrong} is {numbers[wrong - 1]}"


def _given_twice(history: _History) -> Iterator[str]:
    for what in ("version", "seq"):
        first: dict[int, Operation] = {}
        for write in history.acknowledged:
            number = getattr(write, what)
            if number is not None and first.setdefault(number, write) is not write:
                yield f"{what} {number} was given to {first[number]} and to {write}"


def _lost(history: _History) -> Iterator[str]:
    for write in history.acknowledged:
        entry = history.entry(write)
        if entry is None:
            yield f"{write} is not stored"
        elif write.version != entry.version or write.seq not in (None, entry.seq):
            yield f"{write} is stored as version {entry.version}, seq {entry.seq}"


def _stored_twice(history: _History) -> Iterator[str]:
    for marker, times in history.times_stored.items():
        if times > 1:
            yield f"{history.by_marker.get(marker, marker)} is stored {times} times"


def _refused_but_stored(history: _History) -> Iterator[str]:
    for write in history.writes:
        if write.outcome == "refused" and (entry := history.entry(write)) is not None:
            yield f"{write} is stored as version {entry.version}, seq {entry.seq}"


def _written_by_nobody(history: _History) -> Iterator[str]:
    for entry in history.stored:
        if entry.marker not in history.by_marker and (entry.marker or entry.version is not None):
            yield f"{entry}"


def _wrong_base(history: _History) -> Iterator[str]:
    for write in history.writes:
        made = history.version(write) if write.outcome != "refused" else None
        if made is not None and write.base_version is not None and made != write.base_version + 1:
            yield f"{write} made version {made}"


def _out_of_order(history: _History) -> Iterator[str]:
    """A write that was asked for after another was answered comes after it, whether its own answer came or not."""
    for write in history.writes:
        if write.outcome == "refused":
            continue
        version, seq = history.version(write), history.seq(write)
        for number, known in (
            (version, history.versions_written),
            (version, history.versions_seen),
            (seq, history.events_written),
        ):
            before = known.before(write.invoked_at)
            if number is not None and before is not None and number <= before[0]:
                yield f"{write} got {number}, after {before[0]} was told: {before[1]}"


def _stale_read(history: _History) -> Iterator[str]:
    yield from _older_than(history.versions_written, history.reads)


def _backward_read(history: _History) -> Iterator[str]:
    """Also between processes: what one has seen, nobody who asks later is shown as it was before."""
    yield from _older_than(history.versions_seen, history.reads)


def _impossible_read(history: _History) -> Iterator[str]:
    yield from _told_too_early(history, history.reads)


def _torn_read(history: _History) -> Iterator[str]:
    for read in history.reads:
        entry = history.made_by(read.version)
        if read.marker and entry is not None and read.marker != entry.shows:
            yield f"{read}, where the state shows {entry.shows or 'nothing'}"


def _wrong_conflict(history: _History) -> Iterator[str]:
    """A conflict tells of a newer version than was named, of no older one than was known, and of none of the future."""
    for conflict in history.conflicts:
        if (conflict.version or 0) <= (conflict.base_version or 0):
            yield f"{conflict}: nothing was in the way"
    yield from _older_than(history.versions_written, history.conflicts)
    yield from _older_than(history.versions_seen, history.conflicts)
    yield from _told_too_early(history, history.conflicts)


def _marked_twice(history: _History) -> Iterator[str]:
    """Not the package's fault, but what the other rules rest on."""
    for marker, times in Counter(one.marker for one in history.writes).items():
        if times > 1 or not marker:
            yield f"{times} writes have the marker {marker!r}"


def _older_than(known: _Known, told: Iterable[Operation]) -> Iterator[str]:
    for one in told:
        before = known.before(one.invoked_at)
        if before is not None and (one.version or 0) < before[0]:
            yield f"{one}, after {before[0]} was told: {before[1]}"


def _told_too_early(history: _History, told: Iterable[Operation]) -> Iterator[str]:
    """Not "acknowledged by then": a write is there from its moment on, which is before its writer is told."""
    for one in told:
        if why := history.why_impossible(one):
            yield f"{one}, {why}"


RULES: Mapping[str, Callable[[_History], Iterator[str]]] = {
    "gap": _gaps,
    "given twice": _given_twice,
    "lost": _lost,
    "stored twice": _stored_twice,
    "refused but stored": _refused_but_stored,
    "written by nobody": _written_by_nobody,
    "wrong base": _wrong_base,
    "out of order": _out_of_order,
    "stale read": _stale_read,
    "backward read": _backward_read,
    "impossible read": _impossible_read,
    "torn read": _torn_read,
    "wrong conflict": _wrong_conflict,
    "marked twice": _marked_twice,
}
