"""Mark what is stale in the sessions that depend on what the shop has changed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Carry what the shop has reported as changed into the live sessions that depend on it. Run it often, from cron "
        "or a scheduler, because until then an agent does not hear of it; two at once do no harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="sessions per round (default: 500)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{selectors.count_open_changes()} changes to carry into sessions")
            return
        changes = sessions = failed = 0
        remaining = True
        while remaining:
            done = services.mark_stale(limit=options["batch"])
            changes, sessions, failed = changes + done.changes, sessions + done.sessions, failed + done.failed
            remaining = done.remaining
            if remaining:
                self.stderr.write(f"{changes} changes, {sessions} sessions so far")
        self.stdout.write(f"{changes} changes, {sessions} sessions marked, {failed} failed")
        if failed:
            raise SystemExit(1)
