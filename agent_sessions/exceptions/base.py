"""The base of all errors of the package."""

from __future__ import annotations

from typing import ClassVar


class AgentSessionsError(Exception):
    """Base of all errors of this package; catch it to catch them all."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
