"""Keys that sign notes, with their names (C2SP signed-note): a log's and a witness's.

A key is published as one line, ``name+key id+base64``, called a *vkey*. The id is made of name, kind and key, and
stands in every signature, so that a reader knows whose it claims to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from agent_sessions.audit.merkle import MAX_SIZE
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.crypto.signing import SIGNATURE_SIZE, read_public_key, verify
from agent_sessions.exceptions import KeyProblem

SIGNS: Final = 0x01
"""Kind of a key that signs notes: a log's."""
COSIGNS: Final = 0x04
"""Kind of a key that makes timestamped cosignatures: a witness's."""

CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
"""What no note can hold: control characters but the newline, and halves of characters."""

_NAME: Final = re.compile(r"[^\s+]+")
_VKEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key that signs notes, with its name: ``kind`` is SIGNS or COSIGNS, ``public`` 32 raw bytes."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        """Raise KeyProblem for a name that no note can hold and for a key under which signatures prove nothing."""
        if not is_key_name(self.name):
            raise KeyProblem("A note key's name must be text without spaces and plus signs, as shop.example/log.")
        if self.kind not in (SIGNS, COSIGNS):
            raise KeyProblem(
                f"A note key has kind {self.kind:#04x}. Only Ed25519 (0x01) and cosignatures (0x04) are read."
            )
        read_public_key(to_base64(self.public))

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key in a signature line."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """The key as it is published: ``name+key id+base64`` (a *vkey*)."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Tell whether a signature (what follows the key id) is this key's over a note's text."""
        if self.kind == SIGNS:
            return verify(self.public, text.encode(), signature)
        if len(signature) != 8 + SIGNATURE_SIZE:
            return False
        time = int.from_bytes(signature[:8], "big")
        return time <= MAX_SIZE and verify(self.public, cosigned_message(text, time), signature[8:])


def is_key_name(text: str) -> bool:
    """Tell whether this can be the name of a key and the origin of a log."""
    return _NAME.fullmatch(text) is not None and not CONTROL.search(text)


def read_vkey(text: str) -> NoteKey:
    """Read a key as it is published: ``name+key id+base64``.

    Raises KeyProblem for anything else, for a key id that does not fit, for other algorithms than Ed25519, and for keys
    that are no point of the curve, of low order or not canonical.
    """
    found = _VKEY.fullmatch(text.strip("\n"))
    if not found:
        raise KeyProblem("A log's or witness's key is written name+key id+base64. This is not; get it from them again.")
    try:
        raw = from_base64(found[3])
    except ValueError as error:
        raise KeyProblem(f"The base64 of key {found[1]!r} {error}. Get it from its owner again.") from None
    if raw[:1] not in (bytes([SIGNS]), bytes([COSIGNS])):
        raise KeyProblem(f"Key {found[1]!r} is of a kind that is not supported. Only Ed25519 (0x01 and 0x04) is.")
    key = NoteKey(found[1], raw[0], raw[1:])
    if key.key_id.hex() != found[2]:
        raise KeyProblem(f"Key {found[1]!r} does not have the id {found[2]}: name or key was altered. Get it again.")
    return key


def cosigned_message(text: str, time: int) -> bytes:
    """What a witness signs: the note's text, under a heading of its own with the time (seconds since 1970 UTC)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()
