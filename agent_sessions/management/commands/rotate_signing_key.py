"""Sign artifacts with a new key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = "Make a new key for signing artifacts, or list the keys. What older keys signed stays good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--list", action="store_true", help="list the public keys, make none")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["list"]:
            services.rotate_signing_key()
        for key in services.signing_keys():
            self.stdout.write(f"{key.key_id}  {'active ' if key.active else 'retired'}  {key.public_key}")
