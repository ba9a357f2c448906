"""What a log hands to a witness: a tree head, and the proof that it continues the one the witness knows.

One text for both ways: the body of a request (C2SP tlog-witness, ``add-checkpoint``), and a file in a folder where
there is no network between the two. Files are read in order, each continuing the one before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent_sessions.audit.notes import MAX_NOTE, Checkpoint, hash_lines, parse_checkpoint, parse_note, read_hashes
from agent_sessions.exceptions import NoteRefused

MAX_SUBMISSION: Final = MAX_NOTE + 4096
"""Bytes of the largest submission that is read: 63 hashes and a note."""

HEAD_FILES: Final = "head-*.txt"

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed head (``note``) with the consistency proof from the size ``old``, 0 for a witness that knows none."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def head(self) -> Checkpoint:
        """The tree head, its signatures unchecked."""
        return parse_checkpoint(parse_note(self.note).text)

    @property
    def text(self) -> str:
        """Write it as it is sent."""
        return f"old {self.old}\n{hash_lines(self.proof)}\n{self.note}"


def read_submission(written: bytes) -> Submission:
    """Read what ``Submission.text`` wrote. Raises NoteRefused for anything malformed; signatures are not checked."""
    if len(written) > MAX_SUBMISSION:
        raise NoteRefused(f"it has more than {MAX_SUBMISSION} bytes")
    try:
        head, blank, note = written.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise NoteRefused(f"it is not UTF-8 (byte {error.start})") from None
    first, *lines = head.split("\n")
    found = _OLD.fullmatch(first)
    if not found or not blank:
        raise NoteRefused("it does not begin with the old size, a proof and a blank line")
    submission = Submission(int(found[1]), tuple(read_hashes(lines)), note)
    if submission.old > submission.head.size:
        raise NoteRefused(f"its old size {submission.old} is larger than its head's ({submission.head.size})")
    return submission


def head_file(size: int) -> str:
    """Name the file for the head of this size, so that names sort as sizes do."""
    return f"head-{size:020}.txt"


def cosignature_file(head: str, key_id: bytes) -> str:
    """Name the file in which a witness answers, beside the head's file."""
    return f"{head.removesuffix('.txt')}.{key_id.hex()}.cosignature"
