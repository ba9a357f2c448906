"""Answer a security event."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Make every session token worthless, end every live session and seal its artifact. New sessions can be opened "
        "at once, with a new token key. If it is interrupted, run it with --resume."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", help="why, 1 to 200 characters; kept with the key and in every session")
        parser.add_argument(
            "--resume", action="store_true", help="end what an interrupted run left, revoke nothing new"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        note = options["reason"] or ""
        ended = (
            services.end_revoked_sessions(note=note) if options["resume"] else services.revoke_all_sessions(reason=note)
        )
        self.stdout.write(f"{ended} sessions ended")
