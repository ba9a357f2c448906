"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import secrets
import sys
import time
import uuid


def new_id() -> uuid.UUID:
    """Return a new UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits.

    Rows made one after another land side by side in an index, which random UUIDs would scatter.
    """
    if sys.version_info >= (3, 14):
        return uuid.uuid7()
    return _uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))


def _uuid7(milliseconds: int, random_bits: int) -> uuid.UUID:
    """Lay out a UUID (RFC 9562, section 5.7): time, version, 12 random bits, variant, 62 random bits."""
    high, low = random_bits >> 62, random_bits & (1 << 62) - 1
    return uuid.UUID(int=(milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
