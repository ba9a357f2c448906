"""Texts that people and agents send: how long they may be, and that they are fit to be kept."""

from __future__ import annotations

from agent_sessions.domain.values import check_value
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import JSONValue

MAX_NOTE = 1000
"""Characters of a purpose and of a note."""


def check_text(path: str, text: str, longest: int) -> None:
    """Refuse what is no text, is too long, or cannot be kept. Raises InvalidValue."""
    check_value(text, path)
    if not isinstance(text, str) or len(text) > longest:
        raise InvalidValue(path, f"Send text of at most {longest} characters.")


def sealed_note(note: str, path: str = "/note") -> dict[str, JSONValue]:
    """Return a note as a private value of an event; nothing for an empty one. Raises InvalidValue."""
    check_text(path, note, MAX_NOTE)
    return {"note": note} if note else {}
