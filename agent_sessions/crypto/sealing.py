"""Sealing: a session's content, encrypted under its own data key and bound to the place where it is kept.

Sealed bytes are one format byte (1 plain, 2 deflated with a dictionary), a random 12-byte nonce and AES-256-GCM
ciphertext with its 16-byte tag. The associated data is the place and the format byte, so that nothing opens
elsewhere or otherwise.

Nonces are random: NIST SP 800-38D allows 2^32 seals under one key, and a key is one session's.
GCM does not commit to its plaintext, so ciphertext is never hashed as evidence (see ``commitments``).
"""

from __future__ import annotations

import os
import uuid
import zlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_sessions.exceptions import InvalidValue, KeyProblem, SealBroken

KEY_SIZE: Final = 32
MAX_PLAINTEXT: Final = 64 * 1024 * 1024
"""Bytes that one seal can hold; also what a forged seal can make the reader inflate at most."""

_PREFIX: Final = b"agent-sessions/v1\0"
_NONCE: Final = 12
_TAG: Final = 16
_PLAIN: Final = b"\x01"
_DEFLATED: Final = b"\x02"
_WORTH_COMPRESSING: Final = 32
"""Bytes; shorter text has nothing to save."""
_SMALL: Final = 512
"""Bytes; for text up to here deflate's smallest tables do, which are quicker to set up."""
_WORDS: Final = (
    b'{"purpose":"{"note":"{"role":"user","content":"{"role":"agent","content":"'
    b'{"conversation":{"summary":"","window":{"products":{"questions":{"agent":{'
    b'{"shopping":{"instructions":"","quote":{"total":,"delivery":{"vouchers":{"discounts":{"amount":'
    b'{"shopping":{"lines":{"":{"quantity":null}}}}'
    b'{"shopping":{"lines":{"":{"item":"","title":"","quantity":1,"unit_price":,"currency":"EUR"}}}}'
)
"""What patches are made of, so that deflate has something to refer to in a short one; the likeliest comes last.

Part of format 2: other words need another format byte.
"""


def new_data_key() -> bytes:
    """Make a data key: 32 bytes from the operating system's generator."""
    return os.urandom(KEY_SIZE)


def place(session_id: uuid.UUID, what: str, number: int) -> bytes:
    """Name a place unambiguously: which session, what is kept there (``version.patch``), and its number.

    Raises InvalidValue when ``what`` has a NUL or ``number`` is not in 0 … 2^64-1.
    """
    if "\0" in what:
        raise InvalidValue("what", "has a NUL character, which ends the name in the place")
    try:
        return b"%b%b%b\0%b" % (_PREFIX, session_id.bytes, what.encode("utf-8"), number.to_bytes(8, "big"))
    except OverflowError:
        raise InvalidValue("number", "is not between 0 and 2^64-1") from None


def seal(key: bytes, place: bytes, plaintext: bytes, *, level: int = 1) -> bytes:
    """Encrypt ``plaintext`` so that it opens only with this key at this place.

    Text of more than 32 bytes is deflated first when that makes it smaller; ``level`` is how hard to try, from 1 to
    9. Raises KeyProblem when the key is not 32 bytes and InvalidValue above 64 MiB.
    """
    aead = _aead(key)
    if len(plaintext) > MAX_PLAINTEXT:
        raise InvalidValue(describe_place(place), f"has {len(plaintext)} bytes; a seal holds {MAX_PLAINTEXT}")
    form, body = _PLAIN, plaintext
    if len(plaintext) > _WORTH_COMPRESSING:
        deflated = _deflate(plaintext, level)
        if len(deflated) < len(plaintext):
            form, body = _DEFLATED, deflated
    nonce = os.urandom(_NONCE)
    return form + nonce + aead.encrypt(nonce, body, place + form)


def unseal(key: bytes, place: bytes, sealed: bytes) -> bytes:
    """Open what ``seal`` made.

    Raises SealBroken, naming the place, for another key or place, a changed or truncated seal, an unknown
    format and anything that would inflate beyond 64 MiB; KeyProblem when the key is not 32 bytes.
    """
    aead = _aead(key)
    form = sealed[:1]
    if len(sealed) < 1 + _NONCE + _TAG or form not in (_PLAIN, _DEFLATED):
        raise SealBroken(describe_place(place))
    try:
        body = aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], place + form)
    except InvalidTag:
        raise SealBroken(describe_place(place)) from None
    return body if form == _PLAIN else _inflate(body, place)


def describe_place(place: bytes) -> str:
    """Say for people which place it is: ``version.patch 12 of session 0190…``."""
    rest = place.removeprefix(_PREFIX)
    if len(rest) < 16 + 1 + 8 or len(rest) == len(place) or rest[-9:-8] != b"\0":
        return f"an unnamed place ({place[:32].hex()})"
    what = rest[16:-9].decode("utf-8", "backslashreplace")
    return f"{what} {int.from_bytes(rest[-8:], 'big')} of session {uuid.UUID(bytes=rest[:16])}"


def _aead(key: bytes) -> AESGCM:
    if len(key) != KEY_SIZE:  # AESGCM would quietly take 16 or 24 bytes too
        raise KeyProblem(f"A data key has {len(key)} bytes; it must have {KEY_SIZE}.")
    return AESGCM(key)


def _deflate(plaintext: bytes, level: int) -> bytes:
    small = len(plaintext) <= _SMALL
    # Raw (negative): the checksum of the wrapped form says nothing that the tag does not.
    deflater = zlib.compressobj(
        level, zlib.DEFLATED, -10 if small else -15, 1 if small else 8, zlib.Z_DEFAULT_STRATEGY, _WORDS
    )
    return deflater.compress(plaintext) + deflater.flush()


def _inflate(body: bytes, place: bytes) -> bytes:
    inflater = zlib.decompressobj(-15, zdict=_WORDS)
    try:
        plaintext = inflater.decompress(body, MAX_PLAINTEXT)
    except zlib.error:
        raise SealBroken(describe_place(place)) from None
    if not inflater.eof or inflater.unused_data:
        raise SealBroken(describe_place(place))
    return plaintext
