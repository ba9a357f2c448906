"""Erase what its retention rule keeps no longer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import services
from agent_sessions.domain.retention import RetentionRule
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Erase what sessions say once its retention rule keeps it no longer. Legal holds keep it. Two runs at once "
        "share the work; one that is stopped is finished by the next. --dry-run reports by rule and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count only")
        parser.add_argument("--limit", type=int, default=1_000_000_000, help="sessions per rule (default: all)")
        parser.add_argument(
            "--pause", type=float, default=0.0, help="rest after each batch, as a share of its time (default: 0)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = services.purge(
            limit=options["limit"], dry_run=options["dry_run"], pause=options["pause"], progress=self._progress
        )
        for one in report.rules:
            left, rule = one.left, one.rule
            following = "none" if left.next_due is None else f"{left.next_due:%Y-%m-%d %H:%M} UTC"
            did = f"{left.due - left.held} to erase" if options["dry_run"] else f"{one.erased} erased"
            self.stdout.write(
                f"{rule.name} ({rule.data_class}, {rule.maximum.days} days after the {rule.starts}): {did}, "
                f"{left.held} held back, {one.failed} failed, {left.quarantined} in quarantine; next due: {following}"
            )
        if report.failed:
            raise SystemExit(1)

    def _progress(self, rule: RetentionRule, erased: int) -> None:
        self.stderr.write(f"{rule.name}: {erased} erased so far")
