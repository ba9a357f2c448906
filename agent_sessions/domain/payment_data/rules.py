"""What can be found, and how it is said where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent_sessions.domain.values import escape_key

MASK = "*"
"""Stands in a pointer for a key that would give the number away."""
MAX_SEGMENT = 64
"""Characters of one key that a pointer repeats."""


class Rule(StrEnum):
    """Why something is refused; stable, for programs."""

    CARD_NUMBER = "card_number"
    TRACK_DATA = "track_data"
    SECURITY_CODE = "security_code"
    PIN = "pin"


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that holds payment data. ``pointer`` is a JSON pointer (RFC 6901) that never holds the value."""

    pointer: str
    rule: Rule


def pointer_of(segments: list[str]) -> str:
    return "".join(f"/{escape_key(one if len(one) <= MAX_SEGMENT else one[:MAX_SEGMENT] + '…')}" for one in segments)
