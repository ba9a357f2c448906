"""Close approvals whose window has passed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Close approvals that nobody answered, or used, in time. Nothing depends on it being on time: one whose window "
        "has passed is refused by itself. Run it every minute, from cron or a scheduler; two at once do no harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="approvals per round (default: 500)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{selectors.count_lapsed_approvals()} to expire")
            return
        expired = 0
        while done := services.expire_approvals(limit=options["batch"]):
            expired += done
            self.stderr.write(f"{expired} expired so far")
        self.stdout.write(f"{expired} expired")
