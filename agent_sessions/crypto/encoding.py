"""Base64 with one spelling per value: no two texts stand for the same bytes (RFC 4648 section 3.5)."""

from __future__ import annotations

import base64
import binascii


def to_base64url(raw: bytes) -> str:
    """Write bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Read what ``to_base64url`` writes; ValueError for every other spelling."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64url") from None
    if to_base64url(raw) != text:
        raise ValueError("is not base64url in its one spelling (no padding, no stray bits)")
    return raw


def to_base64(raw: bytes) -> str:
    """Write bytes as standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(text: str) -> bytes:
    """Read what ``to_base64`` writes; ValueError for every other spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if to_base64(raw) != text:
        raise ValueError("is not base64 in its one spelling (padded, no stray bits)")
    return raw
