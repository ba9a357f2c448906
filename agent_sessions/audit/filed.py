"""A proof in a file: written a piece at a time, its long lists read again an item at a time.

So that the proof of a session is made and checked in as much memory whether it has ten events or a million, but for the
eight bytes that say where each of them lies.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import IO, Any, Final

import msgspec

from agent_sessions.audit.events import event_hash
from agent_sessions.audit.shapes import Problem
from agent_sessions.crypto.canonical import read_canonical

_READ: Final = 1 << 16
_decode = msgspec.json.Decoder().decode


class ProofFile:
    """A file that a proof is written to, from where it stands; ``sha256`` and ``size`` are of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def put(self, part: bytes) -> None:
        self._file.write(part)
        self._digest.update(part)
        self.size += len(part)

    def put_list(self, items: Iterable[bytes]) -> Filed:
        """Write a list of documents, each as it comes, and return it to be read again."""
        self.put(b"[")
        at, starts = self._file.tell(), array("Q")
        for item in items:
            self.put(b"," + item if starts else item)
            at += bool(starts)
            starts.append(at)
            at += len(item)
        self.put(b"]")
        return Filed(self._file, starts, at)


class Filed:
    """A list of documents in a file. Reading one reads JSON and checks nothing: ``raw`` is what there is to check."""

    def __init__(self, file: IO[bytes], starts: array[int], end: int) -> None:
        self._file, self._starts, self._end = file, starts, end

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Any:
        return _decode(self.raw(index))

    def __iter__(self) -> Iterator[Any]:
        return map(_decode, self.raws())

    def raw(self, index: int) -> bytes:
        """Return the bytes of one, counted from 0, or from the end with a negative number."""
        number = range(len(self))[index]
        end = self._starts[number + 1] - 1 if number + 1 < len(self) else self._end
        self._file.seek(self._starts[number])
        return self._file.read(end - self._starts[number])

    def raws(self) -> Iterator[bytes]:
        """Yield the bytes of all, reading many of the short ones at once."""
        first = 0
        while first < len(self):
            start = self._starts[first]
            last = max(bisect_right(self._starts, start + _READ, first) - 1, first + 1)
            end = self._starts[last] if last < len(self) else self._end + 1
            self._file.seek(start)
            read = self._file.read(end - 1 - start)
            for number in range(first, last):
                after = self._starts[number + 1] if number + 1 < last else end
                yield read[self._starts[number] - start : after - 1 - start]
            first = last


def not_canonical(items: Filed, where: str) -> list[Problem]:
    """Return what is wrong with the first document that is no object in its canonical spelling."""
    for number, raw in enumerate(items.raws()):
        if read_canonical(raw) is None:
            return [Problem("not_canonical", f"{where}[{number}]", "is not canonical (RFC 8785)")]
    return []


class Hashes(Sequence[str]):
    """The hashes of events in a file, each made when it is asked for."""

    def __init__(self, events: Filed) -> None:
        self._events = events

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: Any) -> Any:
        return event_hash(self._events.raw(index))

    def __iter__(self) -> Iterator[str]:
        return map(event_hash, self._events.raws())
