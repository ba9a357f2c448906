"""End sessions whose deadline has passed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "End sessions whose deadline has passed or whose key was revoked, seal artifacts that are still missing, and "
        "delete recorded answers that are a day old. Run it every minute, from cron or a scheduler; two at once do no "
        "harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="sessions per round (default: 500)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            due = selectors.due_sessions()
            to_end = f"{due.overdue} to expire, {due.revoked} to revoke, {due.unsealed} to seal"
            self.stdout.write(f"{to_end}, {due.answers} answers to delete")
            return
        ended = sealed = failed = purged = 0
        while True:
            done = services.expire_sessions(limit=options["batch"])
            ended, sealed, purged = ended + done.ended, sealed + done.sealed, purged + done.purged
            failed = max(failed, done.failed)  # those that fail are tried again in each round
            if not done.ended + done.sealed + done.purged:
                break
            self.stderr.write(f"{ended} ended, {sealed} sealed, {purged} answers deleted so far")
        self.stdout.write(f"{ended} ended, {sealed} sealed, {failed} failed, {purged} answers deleted")
        if failed:
            raise SystemExit(1)
