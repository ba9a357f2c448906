"""End sessions whose deadline has passed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "End sessions whose deadline has passed or whose key was revoked, and seal artifacts that are still missing. "
        "Run it every minute, from cron or a scheduler; two at once do no harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="sessions per round (default: 500)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            due = selectors.due_sessions()
            self.stdout.write(f"{due.overdue} to expire, {due.revoked} to revoke, {due.unsealed} to seal")
            return
        ended = sealed = failed = 0
        while True:
            done = services.expire_sessions(limit=options["batch"])
            ended, sealed = ended + done.ended, sealed + done.sealed
            failed = max(failed, done.failed)  # those that fail are tried again in each round
            if not done.ended + done.sealed:
                break
            self.stderr.write(f"{ended} ended, {sealed} sealed so far")
        self.stdout.write(f"{ended} ended, {sealed} sealed, {failed} failed")
        if failed:
            raise SystemExit(1)
