"""Deal with steps that were started and not heard of again."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Find out what became of steps that were started and not heard of again, and do what their rules say. Run it "
        "every minute, from cron or a scheduler; two at once do no harm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, default=100, help="steps per round (default: 100)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{selectors.count_unknown_outcomes()} of unknown outcome")
            return
        total: Counter[str] = Counter()
        while True:
            done = services.resolve_unknown_steps(limit=options["batch"])
            total.update(done)
            if sum(done.values()) < options["batch"]:
                break
            self.stderr.write(f"{sum(total.values())} so far")
        self.stdout.write(", ".join(f"{total[name]} {name}" for name in done))
        if total["failed"]:
            raise SystemExit(1)
