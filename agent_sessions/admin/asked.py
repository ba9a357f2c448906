"""What an address or a form asks for, read without trust."""

from __future__ import annotations


def read_number(text: str) -> int | None:
    """Read a number of up to nine digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
