"""Write a session's signed artifact."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Write the signed artifact of an ended session, canonical JSON, to standard output or a file. Check it with "
        "`agent-sessions-verify FILE --key KEY`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", type=uuid.UUID, help="the session's id")
        parser.add_argument("--output", type=Path, help="file to write (default: standard output)")
        parser.add_argument(
            "--disclose",
            choices=selectors.DISCLOSURES,
            default="purpose",
            help="private values to open: the agent's purpose (default), all that is not erased, or none",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        artifact = services.get_artifact(options["session"], disclose=options["disclose"])
        if options["output"] is None:
            self.stdout.write(artifact.decode(), ending="")
            return
        try:
            options["output"].write_bytes(artifact)
        except OSError as error:
            raise CommandError(str(error)) from error
