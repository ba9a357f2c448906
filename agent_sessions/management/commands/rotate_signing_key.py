"""Sign artifacts, or tree heads of the log, with a new key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Make a new key for signing artifacts, or with --log one for the log's tree heads, and list the keys. What "
        "older keys signed stays good. Witnesses of the log have to be given its new key before the next rotation."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--list", action="store_true", help="list the public keys, make none")
        parser.add_argument("--log", action="store_true", help="the key of the log, not that of artifacts")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["list"]:
            services.rotate_log_key() if options["log"] else services.rotate_signing_key()
        if options["log"]:
            for one in selectors.log_keys():
                self.stdout.write(f"{'active ' if one.active else 'retired'}  {one.vkey}")
            return
        for key in services.signing_keys():
            self.stdout.write(f"{key.key_id}  {'active ' if key.active else 'retired'}  {key.public_key}")
