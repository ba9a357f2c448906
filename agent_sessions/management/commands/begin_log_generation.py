"""Begin a new generation of the log."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Close the log and begin it again under the next number, as after the database was restored from a backup. Its "
        "first leaf names the last head of the one before that the sinks keep. The sequencer then puts every session "
        "into it. Witnesses have to be given the new log."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="why, 1 to 200 characters, nothing personal")

    def handle(self, *args: Any, **options: Any) -> None:
        generation = services.begin_log_generation(reason=options["reason"])
        self.stdout.write(f"{generation.origin} begins: {generation.reason}")
