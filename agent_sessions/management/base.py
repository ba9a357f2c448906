"""What the commands share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agent_sessions.exceptions import AgentSessionsError


class SessionsCommand(BaseCommand):
    """A command that tells errors of the package in a sentence and not in a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except AgentSessionsError as error:
            raise CommandError(error.message) from error
