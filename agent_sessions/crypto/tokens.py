"""Session tokens: what an agent holds, and what only this site can read.

It is a sealed text (``sealed_texts``) that begins with ``ags_``. The encrypted claims end in 32 random bytes.

A token that opens was issued here; whether it is still good (ended, expired, superseded) the database
decides. Raising the generation makes every token of an older one worthless at once (contract item 28).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agent_sessions.crypto.keys import KeyProvider
from agent_sessions.crypto.sealed_texts import UNREADABLE, SealedTexts
from agent_sessions.exceptions import InvalidToken, InvalidValue

PREFIX: Final = "ags_"
_TEXTS: Final = SealedTexts("a token", PREFIX, b"agent-session-token/v1\0")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_Claims = tuple[bytes, str, str, int, int, bytes]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says. ``started_at`` is UTC; ``version`` is the session's when the token was issued."""

    session_id: uuid.UUID
    consumer: str
    merchant: str
    started_at: datetime
    version: int
    generation: int
    master_id: str


def issue_token(
    provider: KeyProvider,
    *,
    generation: int,
    session_id: uuid.UUID,
    consumer: str,
    merchant: str,
    started_at: datetime,
    version: int,
) -> str:
    """Issue a token under the active master key. Each holds 256 random bits (contract item 6).

    Raises InvalidValue when the generation does not fit 32 bits, ``started_at`` has no time zone, or the
    names are so long that the token would exceed 1024 characters; KeyProblem when the provider fails.
    """
    if not 0 <= generation < 2**32:
        raise InvalidValue("generation", "is not between 0 and 2^32-1")
    if started_at.tzinfo is None:
        raise InvalidValue("started_at", "has no time zone")
    try:
        started = (started_at - _EPOCH) // _MICROSECOND
        claims = _pack((session_id.bytes, consumer, merchant, started, version, os.urandom(32)))
    except (UnicodeEncodeError, OverflowError):
        raise InvalidValue("claims", "cannot be written into a token") from None
    return _TEXTS.seal(provider, generation, claims)


def read_token(provider: KeyProvider, token: object) -> TokenClaims:
    """Read a token that this site issued.

    Raises InvalidToken, always the same, for whatever else it is given: forged, altered, cut, respelled,
    issued under an unknown key, not text at all. Only a provider that is out of reach shows, as KeyProblem.
    """
    try:
        opened = _TEXTS.open(provider, token)
        # What follows was written by issue_token: the tag says so. A wrong shape would be another site's software.
        session, consumer, merchant, started, version, _random = _unpack(opened.claims)
        return TokenClaims(
            session_id=uuid.UUID(bytes=session),
            consumer=consumer,
            merchant=merchant,
            started_at=_EPOCH + timedelta(microseconds=started),
            version=version,
            generation=opened.generation,
            master_id=opened.master_id,
        )
    except UNREADABLE:
        raise InvalidToken from None


def token_digest(token: str) -> bytes:
    """Hash a token for storage: plain SHA-256, 32 bytes.

    A token holds 256 random bits, so there is nothing to guess and a slow or keyed hash would add nothing
    (OWASP ASVS 5.0, 6.5.2).
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def same_digest(a: bytes, b: bytes) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(a, b)
