"""Signed notes and the tree heads in them: C2SP signed-note, tlog-checkpoint and tlog-cosignature.

A note is text, a blank line, and signature lines. A checkpoint is a note whose text says how large a log is and what
its root is: the tree head that is exported, witnessed and put beside an artifact. (It has nothing to do with the
checkpoints of a session.) Its first line, the *origin*, names the log and is the name of the key that signs for it. A
cosignature is a signature of another kind on the same note: a witness says with it at what time it saw this to be the
largest consistent head.

Only Ed25519 is read. Lines of other signers are kept and otherwise ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from agent_sessions.audit.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from agent_sessions.audit.vkeys import CONTROL, COSIGNS, SIGNS, NoteKey, cosigned_message, is_key_name
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.exceptions import KeyProblem, NoteRefused

MAX_NOTE: Final = 256 * 1024
"""Bytes of the largest note that is read."""
MAX_SIGNATURES: Final = 100
MAX_HASHES: Final = 63
"""Hashes of the longest proof: one a level."""

_DASH: Final = "— "
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)

Sign: TypeAlias = Callable[[bytes], bytes]
"""Makes an Ed25519 signature; a key service can stand behind it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note. ``signature`` is what follows the key id: 64 bytes, for a cosignature 72."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line as it stands in the note, with its newline."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.signature)}\n"

    def is_by(self, key: NoteKey) -> bool:
        """Tell whether this line claims to be by the key; whether it is, ``NoteKey.verifies`` tells."""
        return self.name == key.name and self.key_id == key.key_id

    @property
    def time(self) -> int:
        """Of a cosignature: when it was made, in seconds since 1970 UTC."""
        return int.from_bytes(self.signature[:8], "big")


@dataclass(frozen=True, slots=True)
class Note:
    """A note: its text (with the final newline) and all its signatures, whoever made them."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """Write the note."""
        return self.text + "\n" + "".join(one.line for one in self.signatures)


def parse_note(written: str | bytes) -> Note:
    """Read a note; signatures are not checked. Raises NoteRefused for anything malformed."""
    if len(written) > MAX_NOTE:
        raise NoteRefused(f"it has more than {MAX_NOTE} bytes")
    if isinstance(written, bytes):
        try:
            written = written.decode()
        except UnicodeDecodeError as error:
            raise NoteRefused(f"it is not UTF-8 (byte {error.start})") from None
    if CONTROL.search(written):
        raise NoteRefused("it has control characters or half a character")
    body, blank, lines = written.rpartition("\n\n")
    if not blank or not body:
        raise NoteRefused("it has no text with a blank line after it")
    return Note(body + "\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Read signature lines, as they end a note and as a witness answers. Raises NoteRefused."""
    if not lines.endswith("\n"):
        raise NoteRefused("it does not end with signature lines, each with a newline")
    written = lines[:-1].split("\n")
    if len(written) > MAX_SIGNATURES:
        raise NoteRefused(f"it has more than {MAX_SIGNATURES} signatures")
    return tuple(_signature(line, number) for number, line in enumerate(written, 1))


def _signature(line: str, number: int) -> Signature:
    dash, name, coded = line[: len(_DASH)], *line[len(_DASH) :].partition(" ")[::2]
    try:
        raw = from_base64(coded)
    except ValueError as error:
        raise NoteRefused(f"the base64 of signature {number} {error}") from None
    if dash != _DASH or not is_key_name(name) or len(raw) < 5:
        raise NoteRefused(f"signature {number} is not an em dash, a name and base64 of an id and a signature")
    return Signature(name, raw[:4], raw[4:])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's name, how many leaves it has, and the root over them (32 bytes).

    ``extensions`` are further lines that other logs may have; ours never do.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise NoteRefused for what no log can say."""
        if not self.origin or any(not line or "\n" in line for line in self.extensions) or "\n" in self.origin:
            raise NoteRefused("a tree head has an empty line or no origin")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_SIZE:
            raise NoteRefused(f"a tree head's size is 0 to {MAX_SIZE} and its root {HASH_SIZE} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteRefused("a tree without leaves has another root")

    @property
    def text(self) -> str:
        """The text that is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, to_base64(self.root), *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint (a note without its signatures). Raises NoteRefused for anything else."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not _NUMBER.fullmatch(lines[1]):
        raise NoteRefused("its text is not a tree head: origin, size and root, each on a line")
    try:
        root = from_base64(lines[2])
    except ValueError as error:
        raise NoteRefused(f"its root hash {error}") from None
    return Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:-1]))


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Sign) -> str:
    """Write a checkpoint as a note signed with a log's key.

    Raises KeyProblem when the key is not the log's (its name is not the origin) or ``sign`` does not fit it.
    """
    if key.kind != SIGNS or key.name != checkpoint.origin:
        raise KeyProblem(
            f"The key {key.name!r} does not sign for the log {checkpoint.origin!r}. Use the log's own key."
        )
    return str(Note(checkpoint.text, (_made(checkpoint.text, key, sign(checkpoint.text.encode())),)))


def cosign(text: str, key: NoteKey, sign: Sign, *, time: int) -> Signature:
    """Make a witness's cosignature (type 0x04) on a checkpoint's text; ``time`` is seconds since 1970 UTC.

    Call it only for the largest head that was found consistent: that is what the signature says. Raises KeyProblem
    when the key is not a witness's or ``sign`` does not fit it.
    """
    if key.kind != COSIGNS or not 0 <= time <= MAX_SIZE:
        raise KeyProblem(f"The key {key.name!r} makes no cosignatures of this time. Use a witness's key (0x04).")
    return _made(text, key, time.to_bytes(8, "big") + sign(cosigned_message(text, time)))


def add_signatures(note: str, signatures: Sequence[Signature]) -> str:
    """Return the note with further signature lines; those that it has already are not repeated."""
    parsed = parse_note(note)
    return str(Note(parsed.text, (*parsed.signatures, *(one for one in signatures if one not in parsed.signatures))))


def _made(text: str, key: NoteKey, signature: bytes) -> Signature:
    if not key.verifies(text, signature):
        raise KeyProblem(f"The signing key does not belong to {key.text}. Configure both halves of one key pair.")
    return Signature(key.name, key.key_id, signature)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that was opened: the whole note, and which of the keys given have signed it.

    ``cosigned`` has for each witness that signed the latest time it gave, in seconds since 1970 UTC.
    """

    checkpoint: Checkpoint
    note: Note
    signed_by: tuple[NoteKey, ...]
    cosigned: tuple[tuple[NoteKey, int], ...]


def open_checkpoint(written: str | bytes, keys: Sequence[NoteKey]) -> SignedCheckpoint:
    """Read a signed checkpoint and check every signature by one of ``keys`` (logs' and witnesses' alike).

    Raises NoteRefused when it is malformed, when the log's own key (one of ``keys`` with the origin's name) has not
    signed, and when a signature by any of the keys is not good. What others have signed is ignored.
    """
    note = parse_note(written)
    checkpoint = parse_checkpoint(note.text)
    signed_by: list[NoteKey] = []
    cosigned: dict[NoteKey, int] = {}
    for signature in note.signatures:
        for key in keys:
            if not signature.is_by(key):
                continue
            if not key.verifies(note.text, signature.signature):
                raise NoteRefused(f"the signature of {key.name!r} (key {key.key_id.hex()}) is not over this text")
            if key.kind == COSIGNS:
                cosigned[key] = max(signature.time, cosigned.get(key, 0))
            elif key.name == checkpoint.origin and key not in signed_by:
                signed_by.append(key)
    if not signed_by:
        raise NoteRefused(f"none of the keys given has signed for the log {checkpoint.origin!r}")
    return SignedCheckpoint(checkpoint, note, tuple(signed_by), tuple(cosigned.items()))


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose word is needed: one of the log's keys, and ``quorum`` of the witnesses."""

    logs: tuple[NoteKey, ...]
    witnesses: tuple[NoteKey, ...] = ()
    quorum: int = 0

    def open(self, written: str | bytes) -> SignedCheckpoint:
        """Open a checkpoint as ``open_checkpoint`` does; NoteRefused too when fewer witnesses than needed signed."""
        opened = open_checkpoint(written, (*self.logs, *self.witnesses))
        # One public key counts once, under however many names it is given: names are not in what a witness signs.
        count = len({key.public for key, _ in opened.cosigned})
        if count < self.quorum:
            raise NoteRefused(f"{count} of the witnesses given have signed it and {self.quorum} are needed")
        return opened


def hash_lines(hashes: Sequence[bytes]) -> str:
    """Write the hashes of a proof, each as base64 on a line of its own."""
    return "".join(f"{to_base64(one)}\n" for one in hashes)


def read_hashes(lines: Sequence[str]) -> list[bytes]:
    """Read the lines of a proof. Raises NoteRefused for what is not base64 of a hash, and for more than 63."""
    if len(lines) > MAX_HASHES:
        raise NoteRefused(f"a proof has more than {MAX_HASHES} hashes")
    try:
        hashes = [from_base64(line) for line in lines]
    except ValueError as error:
        raise NoteRefused(f"a line of a proof {error}") from None
    if any(len(one) != HASH_SIZE for one in hashes):
        raise NoteRefused(f"a line of a proof is not base64 of {HASH_SIZE} bytes")
    return hashes
