"""Texts that others hold and only this site can read: session tokens and consumer assertions.

Such a text is its prefix and unpadded base64url of: version byte 1, length of the master key id, the id, the generation
of the token key (4 bytes, big endian), a 12-byte nonce, and AES-256-GCM ciphertext with its tag. Everything before the
nonce is authenticated. One text has exactly one spelling.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_sessions.crypto.encoding import from_base64url, to_base64url
from agent_sessions.crypto.keys import KeyProvider, UnknownMasterKey
from agent_sessions.exceptions import InvalidValue, KeyProblem

MAX_LENGTH: Final = 1024
"""Characters; longer texts are refused before anything is computed from them."""
UNREADABLE: Final = (ValueError, InvalidTag, UnknownMasterKey, OverflowError)
"""What ``SealedTexts.open``, and taking its claims apart, raises for what this site did not write."""

_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16


class Opened(NamedTuple):
    claims: bytes
    master_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class SealedTexts:
    """One kind of them: ``name`` with its article, ``label`` that its keys are derived by."""

    name: str
    prefix: str
    label: bytes

    def seal(self, provider: KeyProvider, generation: int, claims: bytes) -> str:
        """Seal claims under the active master key. Raises InvalidValue when the text would be too long, KeyProblem."""
        master_id = provider.active_id  # once: it may change in between
        name = master_id.encode("utf-8")
        if not 0 < len(name) < 256:
            raise KeyProblem("The active master key's id has to be 1 to 255 bytes long.", master_id=master_id)
        epoch = generation.to_bytes(4, "big")
        header = bytes((_VERSION, len(name))) + name + epoch
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(provider.derive(master_id, self.label + epoch)).encrypt(nonce, claims, header)
        text = self.prefix + to_base64url(header + nonce + sealed)
        if len(text) > MAX_LENGTH:
            problem = f"would make {self.name} of {len(text)} characters; {MAX_LENGTH} is the limit"
            raise InvalidValue("claims", problem)
        return text

    def open(self, provider: KeyProvider, text: object) -> Opened:
        """Open what ``seal`` made. Raises one of UNREADABLE for whatever else it is given, KeyProblem if the provider
        is out of reach.
        """
        if not isinstance(text, str) or len(text) > MAX_LENGTH or not text.startswith(self.prefix):
            raise ValueError("another text")
        raw = from_base64url(text[len(self.prefix) :])
        if len(raw) < 2 or raw[0] != _VERSION:
            raise ValueError("unknown version")
        start = 2 + raw[1]
        end = start + 4
        if raw[1] == 0 or len(raw) < end + _NONCE + _TAG:
            raise ValueError("too short")
        master_id, epoch = raw[2:start].decode("utf-8"), raw[start:end]
        key = provider.derive(master_id, self.label + epoch)
        claims = AESGCM(key).decrypt(raw[end : end + _NONCE], raw[end + _NONCE :], raw[:end])
        return Opened(claims, master_id, int.from_bytes(epoch, "big"))
