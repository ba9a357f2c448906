"""Every tree head that there is, from everywhere, put in order: what the database is compared with.

They are read before the database is: a head is stored before it is exported, so that what a sink has is in the
snapshot that is taken afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agent_sessions.audit.notes import (
    Checkpoint,
    Signature,
    add_signatures,
    parse_checkpoint,
    parse_note,
    parse_signatures,
)
from agent_sessions.audit.submissions import HEAD_FILES, MAX_SUBMISSION, cosignature_file, read_submission
from agent_sessions.audit.vkeys import NoteKey
from agent_sessions.exceptions import NoteRefused
from agent_sessions.selectors.fsck._findings import Finding
from agent_sessions.sinks.base import Sink, SinkFailed

DATABASE: Final = ""
"""Name of the source that is the database itself."""

_TABLE: Final = """
CREATE TABLE head (origin TEXT, size INTEGER, source TEXT, outside INTEGER, root BLOB, note TEXT,
    PRIMARY KEY (origin, size, source, note)) WITHOUT ROWID
"""
_SELECT: Final = "SELECT source, size, root, note, outside FROM head"


class Kept(NamedTuple):
    """A head as one source keeps it."""

    source: str
    size: int
    root: bytes
    note: str
    outside: bool


def named(kept: Kept) -> str:
    """Name a head with where it was found."""
    if kept.source == DATABASE:
        return f"the stored head of {kept.size} leaves"
    return f"the head of {kept.size} leaves in {kept.source}"


class Heads:
    """Heads by log and size, in a temporary file that is gone with it: there can be more than memory holds."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute(_TABLE)
        self._sinks: dict[str, Sink] = {}
        self._late: dict[tuple[str, str], set[int]] = {}

    def __enter__(self) -> Heads:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, source: str, note: str, *, outside: bool = True) -> Checkpoint:
        """Keep a note that ``source`` has; its signatures are checked later. Raises NoteRefused.

        ``outside`` is False for what the database itself says.
        """
        head = parse_checkpoint(parse_note(note).text)
        self._file.execute(
            "INSERT OR IGNORE INTO head VALUES (?, ?, ?, ?, ?, ?)",
            (head.origin, head.size, source, outside, head.root, note),
        )
        return head

    def can_ask(self, sink: Sink) -> None:
        """Note that all heads of a sink were read."""
        self._sinks[sink.name] = sink

    def origins(self) -> list[str]:
        return [origin for (origin,) in self._file.execute("SELECT DISTINCT origin FROM head ORDER BY 1")]

    def sizes(self, origin: str, above: int, up_to: int) -> list[int]:
        """List the sizes of heads in a range, its lower end left out."""
        sql = "SELECT DISTINCT size FROM head WHERE origin = ? AND size > ? AND size <= ? ORDER BY 1"
        return [size for (size,) in self._file.execute(sql, (origin, above, up_to))]

    def of_size(self, origin: str, size: int) -> list[Kept]:
        sql = f"{_SELECT} WHERE origin = ? AND size = ? ORDER BY 1"
        return [_kept(row) for row in self._file.execute(sql, (origin, size))]

    def above(self, origin: str, size: int) -> Iterator[Kept]:
        """Yield heads of more leaves, from the smallest on."""
        sql = f"{_SELECT} WHERE origin = ? AND size > ? ORDER BY size, source"
        return (_kept(row) for row in self._file.execute(sql, (origin, size)))

    def has(self, origin: str, size: int, source: str) -> bool:
        sql = "SELECT 1 FROM head WHERE origin = ? AND size = ? AND source = ?"
        return self._file.execute(sql, (origin, size, source)).fetchone() is not None

    def is_lost(self, origin: str, size: int, sink: str) -> bool:
        """Tell whether a sink that was read does not have a head that it has once taken.

        A head of now may have been exported after the sink was read: of larger ones than it had, it is asked again.
        """
        if sink not in self._sinks or self.has(origin, size, sink):
            return False
        sql = "SELECT max(size) FROM head WHERE origin = ? AND source = ?"
        (largest,) = self._file.execute(sql, (origin, sink)).fetchone()
        if largest is not None and size < largest:
            return True
        if (sink, origin) not in self._late:
            self._late[sink, origin] = {
                one.head.size for one in self._sinks[sink].heads(origin) if one.head.size > (largest or 0)
            }
        return size not in self._late[sink, origin]

    def largest(self, origin: str) -> Kept | None:
        """The largest head that was seen outside the database."""
        sql = (
            "SELECT source, size, root, note, outside FROM head WHERE origin = ? AND outside ORDER BY size DESC LIMIT 1"
        )
        row = self._file.execute(sql, (origin,)).fetchone()
        return None if row is None else _kept(row)

    def counts(self) -> dict[str, int]:
        """Count the heads of each source."""
        return dict(self._file.execute("SELECT source, count(*) FROM head GROUP BY 1 ORDER BY 1"))

    def leave_out(self, origin: str) -> int:
        """Drop the heads of a log; return how many there were."""
        return self._file.execute("DELETE FROM head WHERE origin = ?", (origin,)).rowcount


def read_sinks(heads: Heads, sinks: Sequence[Sink]) -> Iterator[Finding]:
    """Read all that the sinks keep, of those that can be read; yield what could not be."""
    for sink in sinks:
        if not sink.readable:
            continue
        try:
            for origin in sink.origins():
                for submission in sink.heads(origin):
                    heads.add(sink.name, submission.note)
            heads.can_ask(sink)
        except (SinkFailed, NoteRefused) as error:
            yield Finding("sink_unreadable", sink.name, "the sink", f"cannot be read: {error.problem}")


def read_folder(heads: Heads, folder: Path, witnesses: Sequence[NoteKey] = ()) -> Iterator[Finding]:
    """Read the files ``head-*.txt`` in a folder, at any depth: submissions, or bare notes.

    What ``witnesses`` have put beside one is read with it.
    """
    for file in sorted(folder.rglob(HEAD_FILES)):
        try:
            with file.open("rb") as opened:
                note = _note(opened.read(MAX_SUBMISSION + 1))
            heads.add(str(folder), add_signatures(note, _beside(file, witnesses)))
        except (NoteRefused, OSError) as error:
            problem = error.problem if isinstance(error, NoteRefused) else str(error)
            yield Finding("head_unreadable", str(folder), file.name, f"cannot be read: {problem}")


def _beside(file: Path, witnesses: Sequence[NoteKey]) -> list[Signature]:
    """Read the cosignatures beside a head's file. Raises NoteRefused and OSError."""
    found: list[Signature] = []
    for key in witnesses:
        answer = file.with_name(cosignature_file(file.name, key.key_id))
        if answer.is_file():
            with answer.open(encoding="utf-8", errors="replace") as opened:
                found += parse_signatures(opened.read(MAX_SUBMISSION))
    return found


def _kept(row: tuple[str, int, bytes, str, int]) -> Kept:
    return Kept(*row[:4], outside=bool(row[4]))


def _note(written: bytes) -> str:
    return read_submission(written).note if written.startswith(b"old ") else str(parse_note(written))
