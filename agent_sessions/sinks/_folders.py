"""What sinks share that keep heads as files: a folder for each log, a file for each head, nothing overwritten.

``ORIGIN/0000000000000012/head-00000000000000123456.txt``: the log's origin, percent-encoded; the size in ten
thousands, so that no folder grows large and the newest head is found by two listings; the head.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, unquote

from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.notes import Checkpoint, parse_checkpoint, parse_note, parse_signatures
from agent_sessions.audit.submissions import Submission, cosignature_file, head_file, read_submission
from agent_sessions.audit.vkeys import COSIGNS, NoteKey, read_vkey
from agent_sessions.exceptions import InvalidValue, KeyProblem, NoteRefused
from agent_sessions.sinks.base import OtherHeadKept, SinkBehind, SinkFailed

_SIZES: Final = 10_000
"""Sizes of one folder."""
_FOLDER: Final = re.compile(r"[0-9]{16}", re.ASCII)
_HEAD: Final = re.compile(r"head-[0-9]{20}\.txt", re.ASCII)


class FolderSink(ABC):
    """A sink of files. What is below it, a file system or a storage, says how they are listed, read and made.

    ``witnesses`` are the keys (vkeys) of witnesses that put their cosignatures beside the heads.
    """

    readable = True

    def __init__(self, name: str, witnesses: Sequence[str] = ()) -> None:
        """Raise InvalidValue for a witness's key that is none."""
        self.name = name
        self.witnesses = [witness_key(text, f"/witnesses/{number}") for number, text in enumerate(witnesses)]

    @abstractmethod
    def _list(self, path: str) -> list[str]:
        """Names in a folder, none if it is not there. Raises SinkFailed."""

    @abstractmethod
    def _read(self, path: str) -> bytes | None:
        """What a file holds (bounded), None if it is not there. Raises SinkFailed."""

    @abstractmethod
    def _create(self, path: str, content: bytes) -> None:
        """Make a file for good, unless there is one by that name. Raises SinkFailed."""

    def write(self, submission: Submission) -> Sequence[str]:
        """Keep a head; see ``Sink.write``."""
        head = submission.head
        path = _path(head)
        if self._read(path) is None:
            self._check_that_it_continues(submission, head)
            self._create(path, submission.text.encode())
        # Read back: somebody else may have come first, and a disk or a service may not have kept what it was given.
        kept = self._submission(path)
        if kept is None:
            raise SinkFailed(self.name, f"{path} is not there after it was written")
        if kept.head != head:
            raise SinkBehind(self.name, head.origin, size=head.size, known=kept.head.size)
        return self.cosignatures(submission.note)

    def newest(self, origin: str) -> Submission | None:
        """Read the largest head of a log that it keeps, None if it keeps none. Raises SinkFailed."""
        for folder in reversed(self._folders(origin)):
            files = self._files(folder)
            if files:
                return self._submission(files[-1])
        return None

    def origins(self) -> list[str]:
        """List the logs whose heads it keeps. Raises SinkFailed."""
        return [unquote(name) for name in self._list("") if self._folders(unquote(name))]

    def heads(self, origin: str) -> Iterator[Submission]:
        """Read the heads of a log as they were written, the smallest first. Raises SinkFailed."""
        for folder in self._folders(origin):
            for file in self._files(folder):
                kept = self._submission(file)
                if kept is not None:
                    yield kept

    def cosignatures(self, note: str) -> Sequence[str]:
        """Return the lines that witnesses have put beside a head. Raises SinkFailed."""
        text = parse_note(note).text
        folder, _, file = _path(parse_checkpoint(text)).rpartition("/")
        lines = []
        for key in self.witnesses:
            answer = self._read(f"{folder}/{cosignature_file(file, key.key_id)}")
            lines += cosigned_lines(answer or b"", key, text)
        return lines

    def _check_that_it_continues(self, submission: Submission, head: Checkpoint) -> None:
        newest = self.newest(head.origin)
        known = newest.head if newest is not None else None
        size = known.size if known else 0
        if size > head.size:
            raise SinkBehind(self.name, head.origin, size=head.size, known=size)
        if submission.old != size:
            raise OtherHeadKept(size)
        if known and not verify_consistency(known.size, head.size, known.root, head.root, submission.proof):
            raise SinkBehind(self.name, head.origin, size=head.size, known=size)

    def _folders(self, origin: str) -> list[str]:
        log = quote(origin, safe="")
        return [f"{log}/{name}" for name in sorted(self._list(log)) if _FOLDER.fullmatch(name)]

    def _files(self, folder: str) -> list[str]:
        return [f"{folder}/{name}" for name in sorted(self._list(folder)) if _HEAD.fullmatch(name)]

    def _submission(self, path: str) -> Submission | None:
        content = self._read(path)
        if content is None:
            return None
        try:
            return read_submission(content)
        except NoteRefused as error:
            raise SinkFailed(self.name, f"{path} is damaged ({error.problem})") from None


def witness_key(text: str, where: str) -> NoteKey:
    """Read a witness's key from the settings. Raises InvalidValue with its place."""
    try:
        key = read_vkey(text)
    except (KeyProblem, TypeError) as error:
        raise InvalidValue(where, f"is no witness's key: {error}") from None
    if key.kind != COSIGNS:
        raise InvalidValue(where, "is a log's key, not a witness's")
    return key


def cosigned_lines(answer: bytes, key: NoteKey, text: str) -> list[str]:
    """Return the lines of a witness's answer that are its cosignatures of a note's text; others are left out."""
    try:
        signatures = parse_signatures(answer.decode())
    except (NoteRefused, UnicodeDecodeError):
        return []
    return [one.line for one in signatures if one.is_by(key) and key.verifies(text, one.signature)]


def _path(head: Checkpoint) -> str:
    return f"{quote(head.origin, safe='')}/{head.size // _SIZES:016}/{head_file(head.size)}"
