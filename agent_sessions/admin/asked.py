"""Who asks, and what an address or a form asks for, read without trust."""

from __future__ import annotations

from django.http import HttpRequest

from agent_sessions.domain.identity import Actor


def staff_of(request: HttpRequest) -> Actor:
    """Return who of the staff asks, as the history names them."""
    return Actor("staff", str(request.user.pk))


def read_number(text: str) -> int | None:
    """Read a number of up to nine digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
