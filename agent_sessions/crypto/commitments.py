"""Salted commitments: evidence of a private value that says nothing about it once its salt is gone.

The chain holds ``c = HMAC-SHA256(r, domain ‖ JCS([session, seq, path, value]))``. Giving away ``r`` and the
value proves the value; without ``r`` even a value from a short list cannot be guessed. ``r`` comes from the
session's own data key and never from a master secret: destroying that key destroys every salt, and with it
the link to the person.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import to_base64url
from agent_sessions.exceptions import InvalidValue

_SALT: Final = b"agent-session-salt/v1\0"
_COMMIT: Final = b"agent-session-commit/v1\0"


def salt_for(data_key: bytes, session: str, seq: int, path: str) -> bytes:
    """Derive the salt (32 bytes) of one private value from its session's data key.

    No two places share a salt, so that opening one tells nothing about another.
    """
    return hmac.digest(data_key, _SALT + canonical_bytes([session, seq, path]), hashlib.sha256)


def commitment(salt: bytes, session: str, seq: int, path: str, value: object) -> str:
    """Commit to a value: 43 characters of unpadded base64url.

    Raises InvalidValue for what canonical JSON cannot hold.
    """
    return to_base64url(hmac.digest(salt, _COMMIT + canonical_bytes([session, seq, path, value]), hashlib.sha256))


def opens(c: str, salt: bytes, session: str, seq: int, path: str, value: object) -> bool:
    """Tell in constant time whether a commitment is to this value at this place."""
    try:
        expected = commitment(salt, session, seq, path, value)
    except InvalidValue:
        return False  # nothing can have been committed to it
    return hmac.compare_digest(expected.encode("ascii"), c.encode("utf-8", "surrogatepass"))
