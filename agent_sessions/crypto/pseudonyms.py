"""Pseudonyms: how a consumer is named in columns and events that must hold nothing about the person."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import to_base64url

_DOMAIN: Final = b"agent-session-pseudonym/v1\0"
_SIZE: Final = 16  # bytes: 2^64 consumers before two are likely to share one


def pseudonym(key: bytes, merchant: str, reference: str) -> str:
    """Name a merchant's consumer in 22 characters that only the holder of ``key`` can link to the person.

    The same person has different names at different merchants. The reference is taken as it is: bring it into
    one spelling first (case, white space). It is keyed because a plain hash of an e-mail address is still
    personal data.
    """
    message = _DOMAIN + canonical_bytes([merchant, reference])
    return to_base64url(hmac.digest(key, message, hashlib.sha256)[:_SIZE])
