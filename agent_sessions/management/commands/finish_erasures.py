"""Finish erasures of consumers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Go on with erasures of consumers that were interrupted, and erase what a minimum period or a legal hold kept, "
        "once it does so no longer. Names requests that are not answered within a month; then the exit status is 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, default=1_000, help="erasures of each kind (default: 1000)")
        parser.add_argument("--dry-run", action="store_true", help="only name what is overdue")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        if not options["dry_run"]:
            done = services.finish_erasures(limit=options["limit"])
            failed = done["failed"]
            self.stdout.write(f"{done['finished']} finished, {done['left']} with something left, {failed} failed")
        overdue = selectors.overdue_erasures()
        for receipt in overdue:
            asked, due = receipt.requested_at.date().isoformat(), receipt.due_at.date().isoformat()
            self.stdout.write(f"OVERDUE: erasure {receipt.erasure_id}, asked for on {asked}, was due on {due}")
        if overdue or failed:
            raise SystemExit(1)
