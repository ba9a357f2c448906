"""Write a bundle of evidence of many sessions, for an auditor or for the person they are about."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import services
from agent_sessions.domain.identity import Actor
from agent_sessions.management.base import SessionsCommand, read_customer, read_moment


class Command(SessionsCommand):
    help = (
        "Write evidence and proofs of the sessions that fit all that is given into a zip with a signed manifest. Check "
        "it with `agent-sessions-verify FILE --key KEY`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("output", type=Path, help="the file to write, readable by its owner only")
        parser.add_argument(
            "--consumer",
            action="store_true",
            help="sessions of one customer; the shop's own id of them is asked for, or read from standard input",
        )
        parser.add_argument("--session", type=uuid.UUID, action="append", default=[], help="this session; repeatable")
        parser.add_argument("--order", default="", help="sessions that led to this order, by the shop's reference")
        parser.add_argument("--agent", default="", help="sessions of the agent with this name or verified key")
        parser.add_argument("--request", default="", help="sessions of this parent request")
        parser.add_argument("--from", dest="start", help="sessions opened from this day or time on (UTC)")
        parser.add_argument("--until", dest="end", help="... to before this day or time (UTC)")
        parser.add_argument("--merchant", default="", help="of this merchant only")
        parser.add_argument("--personal", action="store_true", help="with what is personal")
        parser.add_argument("--reason", required=True, help="what it is for; it stands in the site's chain")
        parser.add_argument("--by", default="", help="who you are: a user's primary key or another pseudonym")

    def handle(self, *args: Any, **options: Any) -> None:
        selection = services.select_evidence(
            consumer=read_customer() if options["consumer"] else "",
            sessions=options["session"],
            order=options["order"],
            agent=options["agent"],
            parent_request=options["request"],
            start=read_moment(options["start"], "--from"),
            end=read_moment(options["end"], "--until"),
            merchant=options["merchant"],
        )
        try:
            made = services.export_evidence(
                selection,
                options["output"],
                reason=options["reason"],
                actor=Actor("staff", options["by"]) if options["by"] else Actor("system"),
                personal=options["personal"],
                progress=self._progress,
            )
        except OSError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{made.sessions} sessions: {made.sealed} sealed, {made.live} live, {made.unreadable} unreadable, "
            f"{made.unproven} that do not verify"
        )
        self.stdout.write(f"manifest {made.manifest_sha256}")
        if made.unreadable or made.unproven:
            raise SystemExit(1)

    def _progress(self, sessions: int) -> None:
        if sessions % 100 == 0:
            self.stderr.write(f"{sessions} sessions so far")
