"""Session tokens: what an agent holds, and what only this site can read.

A token is ``ags_`` and unpadded base64url of: version byte 1, length of the master key id, the id, the
generation (4 bytes, big endian), a 12-byte nonce, and AES-256-GCM ciphertext with its tag. Everything before
the nonce is authenticated. The encrypted claims end in 32 random bytes. One token has exactly one spelling.

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
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_sessions.crypto.encoding import from_base64url, to_base64url
from agent_sessions.crypto.keys import KeyProvider, UnknownMasterKey
from agent_sessions.exceptions import InvalidToken, InvalidValue, KeyProblem

PREFIX: Final = "ags_"
MAX_LENGTH: Final = 1024
"""Characters; longer texts are refused before anything is computed from them."""

_LABEL: Final = b"agent-session-token/v1\0"
_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16
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
    master_id = provider.active_id
    name = master_id.encode("utf-8")
    if not 0 < len(name) < 256:
        raise KeyProblem("The active master key's id has to be 1 to 255 bytes long.", master_id=master_id)
    if not 0 <= generation < 2**32:
        raise InvalidValue("generation", "is not between 0 and 2^32-1")
    if started_at.tzinfo is None:
        raise InvalidValue("started_at", "has no time zone")
    epoch = generation.to_bytes(4, "big")
    header = bytes((_VERSION, len(name))) + name + epoch
    try:
        started = (started_at - _EPOCH) // _MICROSECOND
        claims = _pack((session_id.bytes, consumer, merchant, started, version, os.urandom(32)))
    except (UnicodeEncodeError, OverflowError):
        raise InvalidValue("claims", "cannot be written into a token") from None
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(provider.derive(master_id, _LABEL + epoch)).encrypt(nonce, claims, header)
    token = PREFIX + to_base64url(header + nonce + sealed)
    if len(token) > MAX_LENGTH:
        raise InvalidValue("claims", f"would make a token of {len(token)} characters; {MAX_LENGTH} is the limit")
    return token


def read_token(provider: KeyProvider, token: object) -> TokenClaims:
    """Read a token that this site issued.

    Raises InvalidToken, always the same, for whatever else it is given: forged, altered, cut, respelled,
    issued under an unknown key, not text at all. Only a provider that is out of reach shows, as KeyProblem.
    """
    if not isinstance(token, str) or len(token) > MAX_LENGTH or not token.startswith(PREFIX):
        raise InvalidToken
    try:
        raw = from_base64url(token[len(PREFIX) :])
        return _read(provider, raw)
    except (ValueError, InvalidTag, UnknownMasterKey, OverflowError):
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


def _read(provider: KeyProvider, raw: bytes) -> TokenClaims:
    """Take a token apart; ValueError (also from decoding) or InvalidTag when it is not one."""
    if len(raw) < 2 or raw[0] != _VERSION:
        raise ValueError("unknown version")
    start = 2 + raw[1]
    end = start + 4
    if raw[1] == 0 or len(raw) < end + _NONCE + _TAG:
        raise ValueError("too short")
    master_id = raw[2:start].decode("utf-8")
    epoch = raw[start:end]
    key = provider.derive(master_id, _LABEL + epoch)
    claims = AESGCM(key).decrypt(raw[end : end + _NONCE], raw[end + _NONCE :], raw[:end])
    # What follows was written by issue_token: the tag says so. A wrong shape would be another site's
    # software.
    session, consumer, merchant, started, version, _random = _unpack(claims)
    return TokenClaims(
        session_id=uuid.UUID(bytes=session),
        consumer=consumer,
        merchant=merchant,
        started_at=_EPOCH + timedelta(microseconds=started),
        version=version,
        generation=int.from_bytes(epoch, "big"),
        master_id=master_id,
    )
