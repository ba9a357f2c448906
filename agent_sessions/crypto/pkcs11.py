"""Master keys in a PKCS#11 token: a hardware module, a cloud HSM, or SoftHSM. They never leave it.

A master key is a generic secret of 256 bits, sensitive and not extractable, labelled ``agent-sessions/<id>``. The token
only computes HMAC-SHA256 with it, because every module can, also those that refuse AES-GCM with a nonce of the caller:

* a data key is wrapped with AES-256-GCM under HMAC(``wrap``, salt, context), a key that is used once; stored are the
  salt and the ciphertext, and the context is authenticated twice, by the HMAC and as associated data;
* token keys are derived with HKDF from HMAC(``derive``), which is asked for once per process and master key.

Needs ``pip install agent-sessions[pkcs11]`` (python-pkcs11).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent_sessions.crypto.keys import UnknownMasterKey, active_key_stays, broken_wrapping, check_master_id, hkdf
from agent_sessions.crypto.pkcs11_token import Token
from agent_sessions.exceptions import KeyProblem

_WRAP: Final = b"agent-sessions/v1\0wrap\0"
_DERIVE: Final = b"agent-sessions/v1\0derive"
_SALT: Final = 32
_TAG: Final = 16
_NONCE: Final = bytes(12)
"""Always the same: no key is used twice."""
_DERIVED_KEPT: Final = 256
REFRESH: Final = 60.0
"""Seconds after which a process looks again which keys the token has."""
REFRESH_UNKNOWN: Final = 1.0
"""The same for an id that it does not know: whoever makes ids up causes one look a second at most."""


class PKCS11KeyProvider:
    """Master keys in a token, found by its label.

    ``module`` is the path of the vendor's library. ``active`` names the key that wraps; empty for the last id in the
    order of text, which suits ids such as ``2026-11``: then a new key is active as soon as it is made.

    Every method raises KeyProblem if the token cannot be reached.
    """

    def __init__(
        self, *, module: str, token: str, pin: str, active: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = Token(module=module, label=token, pin=pin, clock=clock)
        self._wanted = active
        self._bases: dict[str, bytes] = {}
        # Bounded: callers choose the labels.
        self._derived = lru_cache(maxsize=_DERIVED_KEPT)(self._derive)

    @property
    def active_id(self) -> str:
        """Id of the key that wraps. Raises KeyProblem if the token has no key, or not the one that was configured."""
        known = self._token.ids(max_age=REFRESH)
        if self._wanted:
            if self._wanted not in known:
                raise UnknownMasterKey(self._wanted)
            return self._wanted
        if not known:
            raise KeyProblem(
                f"The token {self._token.label!r} has no master key. Make one with: manage.py make_master_key ID"
            )
        return max(known)

    def master_ids(self) -> list[str]:
        """Ids of all keys in the token, the active one first."""
        known, active = self._token.ids(), self.active_id
        return [active, *sorted(known - {active})]

    def wrap(self, data_key: bytes, *, context: bytes) -> tuple[str, bytes]:
        """Encrypt: salt (32 bytes), then AES-256-GCM ciphertext and tag."""
        master_id, salt = self.active_id, os.urandom(_SALT)
        once = AESGCM(self._hmac(master_id, _WRAP + salt + context))
        return master_id, salt + once.encrypt(_NONCE, data_key, context)

    def unwrap(self, master_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt; raises UnknownMasterKey, WrappedKeyBroken, and KeyProblem if the token is out of reach."""
        self._require(master_id)
        if len(wrapped) >= _SALT + _TAG:
            once = AESGCM(self._hmac(master_id, _WRAP + wrapped[:_SALT] + context))
            with suppress(InvalidTag):
                return once.decrypt(_NONCE, wrapped[_SALT:], context)
        raise broken_wrapping(master_id)

    def derive(self, master_id: str, label: bytes) -> bytes:
        """Derive 32 bytes, asking the token once per process and master key; raises UnknownMasterKey."""
        self._require(master_id)
        return self._derived(master_id, label)

    def create(self, master_id: str) -> None:
        """Make a key inside the token. Raises KeyProblem if the id is taken or would not become the active one.

        A token does not mind two keys of one name, which none could tell apart: not for two callers at once.
        """
        check_master_id(master_id)
        known = self._token.ids()
        if master_id in known:
            raise KeyProblem(f"The token has a master key {master_id!r} already. Choose another id.")
        if self._wanted not in ("", master_id):
            raise KeyProblem(
                f"AGENT_SESSIONS['PKCS11'] says that {self._wanted!r} is active (ACTIVE), so {master_id!r} would not "
                "be. Take ACTIVE out first."
            )
        if not self._wanted and known and master_id < max(known):
            raise KeyProblem(
                f"The last id in the order of text is active, and {master_id!r} comes before {max(known)!r}. Choose an "
                "id that comes after it."
            )
        self._token.make(master_id)
        self._token.ids()

    def destroy(self, master_id: str) -> None:
        """Destroy a key inside the token, for good. Raises UnknownMasterKey; KeyProblem for the active one."""
        if master_id not in self._token.ids():
            raise UnknownMasterKey(master_id)
        if master_id == self.active_id:
            raise active_key_stays(master_id)
        self._token.destroy(master_id)
        self._bases.pop(master_id, None)
        self._derived.cache_clear()
        self._token.ids()

    def _derive(self, master_id: str, label: bytes) -> bytes:
        if master_id not in self._bases:
            self._bases[master_id] = self._hmac(master_id, _DERIVE)
        return hkdf(self._bases[master_id], label)

    def _hmac(self, master_id: str, message: bytes) -> bytes:
        # Contexts are short, but tokens have a limit that nobody should have to know.
        return self._token.sign(master_id, hashlib.sha256(message).digest())

    def _require(self, master_id: str) -> None:
        """Raise UnknownMasterKey for an id that the token does not have; another process may just have made it."""
        if master_id not in self._token.ids(max_age=REFRESH) and master_id not in self._token.ids(
            max_age=REFRESH_UNKNOWN
        ):
            raise UnknownMasterKey(master_id)
