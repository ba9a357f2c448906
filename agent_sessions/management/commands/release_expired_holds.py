"""Release holds whose deadline has passed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Release holds whose deadline has passed. Nothing depends on it being on time: such pieces count as free by "
        "themselves. Run it every minute, from cron or a scheduler; two at once do no harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="holds per round (default: 500)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{selectors.count_due_holds()} to release")
            return
        released = 0
        while done := services.release_expired_holds(limit=options["batch"]):
            released += done
            self.stderr.write(f"{released} released so far")
        self.stdout.write(f"{released} released")
