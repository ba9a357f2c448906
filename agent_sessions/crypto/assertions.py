"""Consumer assertions: what a shop gives an agent to show for whom it acts (C1).

An agent says nothing about its consumer that counts. The shop, where the consumer is signed in, makes an assertion; the
agent sends it along, and all agents that show one of the same consumer are known to belong together.

An assertion is ``agc_`` and unpadded base64url of: version byte 1, length of the master key id, the id, the generation
of the token key (4 bytes, big endian), a 12-byte nonce, and AES-256-GCM ciphertext with its tag. Everything before the
nonce is authenticated. Inside are the consumer's pseudonym, the merchant, and until when it holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_sessions.crypto.encoding import from_base64url, to_base64url
from agent_sessions.crypto.keys import KeyProvider, UnknownMasterKey
from agent_sessions.exceptions import InvalidAssertion, InvalidValue, KeyProblem

PREFIX: Final = "agc_"
MAX_LENGTH: Final = 1024
_LABEL: Final = b"agent-consumer-assertion/v1\0"
_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[str, str, int]).decode


@dataclass(frozen=True, slots=True)
class AssertionClaims:
    """What an assertion says. ``consumer`` is a pseudonym, ``expires_at`` UTC; ``generation`` is the token key's."""

    consumer: str
    merchant: str
    expires_at: datetime
    generation: int


def issue_assertion(
    provider: KeyProvider, *, generation: int, consumer: str, merchant: str, expires_at: datetime
) -> str:
    """Issue an assertion under the active master key.

    Raises InvalidValue if the names are so long that it would exceed 1024 characters, KeyProblem.
    """
    master_id = provider.active_id  # once: it may change in between
    name = master_id.encode("utf-8")
    if not 0 < len(name) < 256:
        raise KeyProblem("The active master key's id has to be 1 to 255 bytes long.", master_id=master_id)
    epoch = generation.to_bytes(4, "big")
    header = bytes((_VERSION, len(name))) + name + epoch
    claims = _pack((consumer, merchant, (expires_at - _EPOCH) // _MICROSECOND))
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(provider.derive(master_id, _LABEL + epoch)).encrypt(nonce, claims, header)
    text = PREFIX + to_base64url(header + nonce + sealed)
    if len(text) > MAX_LENGTH:
        raise InvalidValue("claims", f"would make an assertion of {len(text)} characters; {MAX_LENGTH} is the limit")
    return text


def read_assertion(provider: KeyProvider, text: object) -> AssertionClaims:
    """Read an assertion that this site issued, whether or not it still holds.

    Raises InvalidAssertion for whatever else it is given, KeyProblem if the provider is out of reach.
    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH or not text.startswith(PREFIX):
        raise InvalidAssertion
    try:
        return _read(provider, from_base64url(text[len(PREFIX) :]))
    except (ValueError, InvalidTag, UnknownMasterKey, OverflowError):
        raise InvalidAssertion from None


def _read(provider: KeyProvider, raw: bytes) -> AssertionClaims:
    if len(raw) < 2 or raw[0] != _VERSION:
        raise ValueError("unknown version")
    start = 2 + raw[1]
    end = start + 4
    if raw[1] == 0 or len(raw) < end + _NONCE + _TAG:
        raise ValueError("too short")
    key = provider.derive(raw[2:start].decode("utf-8"), _LABEL + raw[start:end])
    consumer, merchant, expires = _unpack(AESGCM(key).decrypt(raw[end : end + _NONCE], raw[end + _NONCE :], raw[:end]))
    return AssertionClaims(
        consumer, merchant, _EPOCH + timedelta(microseconds=expires), int.from_bytes(raw[start:end], "big")
    )
