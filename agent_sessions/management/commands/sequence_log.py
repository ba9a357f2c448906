"""Put where sessions stand into the log, and take its head out of the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Append a leaf to the log for every session that has moved, sign its head, and export it to the sinks. Two "
        "runs at once share the work; one that is killed is gone on with by the next. Exit status 1 if sinks fail, so "
        "that leaves wait for a head that counts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="tell how far behind the log is")
        parser.add_argument("--batch", type=int, default=50_000, help="sessions per signed head (default: 50000)")

    def handle(self, *args: Any, **options: Any) -> None:
        waiting = 0
        if not options["dry_run"]:
            leaves, remaining = 0, True
            while remaining:
                done = services.sequence_log(limit=options["batch"], progress=self._progress)
                leaves, remaining, waiting = leaves + done.leaves, done.remaining, done.waiting
            self.stdout.write(f"{leaves} leaves appended")
        self._tell_state()
        if waiting:
            raise SystemExit(1)

    def _progress(self, leaves: int) -> None:
        self.stderr.write(f"{leaves} leaves so far")

    def _tell_state(self) -> None:
        state = selectors.log_state()
        if state is None:
            self.stdout.write("No log yet: the first run begins it.")
            return
        now = timezone.now()
        since = "" if state.oldest is None else f", the oldest {(now - state.oldest).total_seconds():.0f} s old"
        self.stdout.write(f"{state.log}: {state.size} leaves, {state.counted} in the newest head that counts")
        self.stdout.write(f"{state.unsequenced} events are in no leaf{since}")
        if state.waiting_since is not None:
            age = (now - state.waiting_since).total_seconds()
            self.stdout.write(f"{state.size - state.counted} leaves wait for the sinks, the oldest for {age:.0f} s")
