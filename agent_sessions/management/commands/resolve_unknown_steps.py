from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from agent_sessions import services
from agent_sessions.selectors.checkpoints import unknown_outcomes


class Command(BaseCommand):
    help = "Find out what became of steps that were started and not heard of again; what their rules say is done."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--limit", type=int, default=100, help="How many steps at most (100).")
        parser.add_argument("--dry-run", action="store_true", help="Only count them.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            self.stdout.write(f"{unknown_outcomes().count()} steps are of unknown outcome.")
            return
        done = services.resolve_unknown_steps(limit=options["limit"])
        told = ", ".join(f"{number} {name}" for name, number in done.items())
        self.stdout.write(f"Steps of unknown outcome: {told}.")
