"""Master keys: who wraps the data keys of sessions, and from what token keys are derived."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent_sessions.exceptions import KeyProblem

KEY_SIZE: Final = 32
_NONCE: Final = 12
_TAG: Final = 16
_WRAP: Final = b"agent-sessions/v1\0wrap"
_DERIVE: Final = b"agent-sessions/v1\0derive\0"
_DERIVED_KEPT: Final = 256
_ID: Final = re.compile(r"[!-~]{1,64}")


class UnknownMasterKey(KeyProblem):
    """There is no master key with this id: it was destroyed, never configured, or the id was made up."""

    def __init__(self, master_id: str) -> None:
        super().__init__(
            f"There is no master key {master_id[:64]!r}. If it was rotated away, put it back behind the "
            "active one where the master keys are kept; if it was destroyed, what it wrapped is gone.",
            master_id=master_id[:64],
        )


class WrappedKeyBroken(KeyProblem):
    """A wrapped key does not unwrap with the master key that it names: it was altered, or belongs elsewhere."""


class KeyProvider(Protocol):
    """What keeps the master keys. Write one to have an outside key service (KMS, Vault, HSM) keep them.

    Such a service must:

    * keep old master keys usable under their ids until every data key was wrapped anew, and destroy them
      afterwards: that is what makes erased content unrecoverable from backups;
    * authenticate ``context`` with the wrapped key (AWS and Google call it encryption context or additional
      authenticated data) and refuse to unwrap with another;
    * answer ``derive`` without a call over the network: it is asked for every token, forged ones included.
      Derive from a secret that was fetched once, and bound what is cached, for callers choose the labels;
    * raise ``UnknownMasterKey`` for an id that it does not have, ``WrappedKeyBroken`` for a wrapped key that was
      altered or belongs to another context, and plain ``KeyProblem`` when it cannot be reached or refuses. It
      decides between "this token is invalid" (401), "this session is damaged" and "try again" (503).

    Instances are shared between threads. No method may log a key. What a provider can do besides is said by
    ``ListsMasterKeys``, ``MakesMasterKeys`` and ``DestroysMasterKeys``. docs/keys.md has an example.
    """

    @property
    def active_id(self) -> str:
        """Id of the master key that wraps new data keys."""

    def wrap(self, data_key: bytes, *, context: bytes) -> tuple[str, bytes]:
        """Encrypt a data key with the active master key; return that key's id and the wrapped bytes."""

    def unwrap(self, master_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt a data key; WrappedKeyBroken when it was altered or wrapped for another context."""

    def derive(self, master_id: str, label: bytes) -> bytes:
        """Derive 32 bytes from a master key: always the same for a label, unrelated for another."""


@runtime_checkable
class ListsMasterKeys(Protocol):
    """A provider that can say which master keys there are."""

    def master_ids(self) -> list[str]:
        """Return the ids of all master keys that unwrap, the active one first. Raises KeyProblem."""


@runtime_checkable
class MakesMasterKeys(Protocol):
    """A provider that can make a master key by itself."""

    def create(self, master_id: str) -> None:
        """Make a master key and have it wrap from now on. Raises KeyProblem if the id is taken or no id."""


@runtime_checkable
class DestroysMasterKeys(Protocol):
    """A provider that can destroy a master key by itself."""

    def destroy(self, master_id: str) -> None:
        """Destroy a master key for good. Raises UnknownMasterKey; KeyProblem for the active one."""


class LocalKeyProvider:
    """Master keys from the settings: good for one site, as safe as the place its settings are kept.

    ``master_keys`` maps an id to 32 random bytes; the first is active, the others still unwrap. Raises
    KeyProblem for no key at all, an id that is not 1 to 64 visible ASCII characters, and an unsafe key.
    """

    def __init__(self, master_keys: Mapping[str, bytes]) -> None:
        if not master_keys:
            raise KeyProblem("There is no master key. Put one into AGENT_SESSIONS['MASTER_KEYS']: base64 of 32 bytes.")
        for master_id, key in master_keys.items():
            check_master_id(master_id)
            reason = unsafe_reason(key)
            if reason is not None:
                raise KeyProblem(
                    f"Master key {master_id!r} {reason}. Make one with: openssl rand -base64 32",
                    master_id=master_id,
                )
        self._keys = dict(master_keys)
        self._active = next(iter(self._keys))
        # Wrapping and deriving each have a key of their own, so that no derived label can ever equal a
        # wrapping key.
        self._wrapping = {name: AESGCM(hkdf(key, _WRAP)) for name, key in self._keys.items()}
        # Bounded: the label holds the generation that a token claims, and anyone can write a token that
        # claims one.
        self._derived = lru_cache(maxsize=_DERIVED_KEPT)(self._derive)

    @property
    def active_id(self) -> str:
        """Id of the first key given."""
        return self._active

    def master_ids(self) -> list[str]:
        """Ids of all keys given, the active one first."""
        return list(self._keys)

    def wrap(self, data_key: bytes, *, context: bytes) -> tuple[str, bytes]:
        """Encrypt with AES-256-GCM, ``context`` as associated data: nonce (12 bytes), ciphertext, tag."""
        nonce = os.urandom(_NONCE)
        return self._active, nonce + self._wrapping[self._active].encrypt(nonce, data_key, context)

    def unwrap(self, master_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt; UnknownMasterKey for an unknown id, WrappedKeyBroken when altered or made for another place."""
        aead = self._wrapping.get(master_id)
        if aead is None:
            raise UnknownMasterKey(master_id)
        if len(wrapped) >= _NONCE + _TAG:
            try:
                return aead.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], context)
            except InvalidTag:
                pass
        raise broken_wrapping(master_id)

    def derive(self, master_id: str, label: bytes) -> bytes:
        """Derive with HKDF-SHA256 (RFC 5869); UnknownMasterKey for an unknown id."""
        return self._derived(master_id, label)

    def _derive(self, master_id: str, label: bytes) -> bytes:
        key = self._keys.get(master_id)
        if key is None:
            raise UnknownMasterKey(master_id)
        return hkdf(key, _DERIVE + label)


def check_master_id(master_id: str) -> None:
    """Raise KeyProblem for what is no id of a master key: 1 to 64 visible ASCII characters."""
    if not _ID.fullmatch(master_id):
        raise KeyProblem(f"Master key id {master_id[:64]!r} is not 1 to 64 visible ASCII characters.")


def active_key_stays(master_id: str) -> KeyProblem:
    """Return the refusal to destroy the active master key."""
    return KeyProblem(
        f"Master key {master_id!r} is the active one. Make another active first: rotate_master_key --new ID.",
        master_id=master_id,
    )


def broken_wrapping(master_id: str) -> WrappedKeyBroken:
    """Return the error for a wrapped key that does not unwrap with the master key that it names."""
    return WrappedKeyBroken(
        f"A data key does not unwrap with master key {master_id!r}: the stored key was altered or is of "
        "another session, or another key was configured under this id. Compare with a backup.",
        master_id=master_id,
    )


def unsafe_reason(key: bytes) -> str | None:
    """Say why bytes are no master key, as the rest of a sentence, or None when nothing is seen against them.

    A heuristic against placeholders and passphrases; it cannot tell whether a key was drawn at random.
    """
    if len(key) != KEY_SIZE:
        return f"has {len(key)} bytes and must have {KEY_SIZE}"
    distinct = len(set(key))
    if distinct == 1:
        return "is one byte repeated"
    # 32 random bytes have 30 different ones on average; fewer than 16 does not happen by chance.
    if distinct < 16:
        return f"has only {distinct} different bytes, so it was not drawn at random"
    return None


def decode_master_key(text: str) -> bytes:
    """Read base64, standard or URL-safe, padded or not; KeyProblem, without the text, when malformed."""
    body = text.strip().replace("-", "+").replace("_", "/")
    unpadded = body.rstrip("=")
    try:
        raw = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    canonical = base64.b64encode(raw).decode("ascii")
    if not raw or body not in (canonical, canonical.rstrip("=")):
        raise KeyProblem("A master key is not base64. It must be base64 of 32 random bytes (44 characters).")
    return raw


def hkdf(key: bytes, info: bytes) -> bytes:
    """Derive 32 bytes with HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=None, info=info).derive(key)
