"""Check stored sessions against their history, and repair what can be made again."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.exceptions import KeyProblem, SessionDamaged
from agent_sessions.management.base import SessionsCommand
from agent_sessions.selectors.divergence import CHECKED, CheckRun
from agent_sessions.services.integrity import record_check


class Command(SessionsCommand):
    help = (
        "Re-hash every event, replay every state, compare everything that is stored of a session with everything "
        "else, and quarantine what is damaged. Exit status 1 if something is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--session", type=_session_id, help="only this session (default: all, oldest first)")
        parser.add_argument("--repair", action="store_true", help="make wrong snapshots, counters and caches again")
        parser.add_argument("--dry-run", action="store_true", help="report only; quarantine and repair nothing")
        parser.add_argument(
            "--record", action="store_true",
            help="put into the site's own chain what all of this found: the overview in the admin tells of it",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if options["record"] and (options["session"] or options["dry_run"]):
            raise CommandError("--record is for a whole run: leave out --session and --dry-run.", returncode=2)
        repairing = options["repair"] and not options["dry_run"]
        checked = damaged = repaired = 0
        run = CheckRun(timezone.now())
        for checked, session_id in enumerate(_ids(options["session"]), start=1):
            try:
                report = selectors.verify_session(session_id)
            except KeyProblem as error:
                self.stdout.write(f"{session_id}: not checked. {error.message}")
                damaged += 1
                run.unread += 1
                continue
            run.sessions += 1
            run.events += report.events
            for problem in report.problems:
                self.stdout.write(f"{session_id}: {problem.where} {problem.message} [{problem.code}]")
            if repairing and self._repair(report):
                repaired += 1
            elif not report.ok:
                damaged += 1
                for problem in report.problems:
                    run.add(str(session_id), problem.code, session=session_id, events=report.events)
                if not options["dry_run"] and services.quarantine_damaged(report):
                    self.stdout.write(f"{session_id}: quarantined")
            if checked % 1000 == 0:
                self.stderr.write(f"{checked} sessions checked")
        if options["record"]:
            record_check(CHECKED, run)
        self.stdout.write(f"{checked} sessions checked, {repaired} repaired, {damaged} with problems")
        if damaged:
            raise SystemExit(1)

    def _repair(self, report: selectors.SessionReport) -> bool:
        """Repair or release a session; return whether anything was done and it is sound now."""
        try:
            if report.ok:
                done = services.release_session(report.session_id)
            else:
                done = services.repair_session(report.session_id).ok
        except SessionDamaged as damage:
            self.stdout.write(f"{report.session_id}: not repaired, {damage.problem}")
            return False
        if done:
            self.stdout.write(f"{report.session_id}: {'released' if report.ok else 'repaired'}")
        return done


def _ids(only: uuid.UUID | None) -> Iterator[uuid.UUID]:
    return iter([only]) if only is not None else selectors.session_ids()


def _session_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a session id") from None
