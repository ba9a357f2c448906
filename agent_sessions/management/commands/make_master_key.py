"""Make a master key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import services
from agent_sessions.conf import settings
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Make a master key in the file of keys (which is made too if there is none) or in the PKCS#11 token. It wraps "
        "from now on; what older ones wrapped is wrapped anew by rotate_master_key. A site on several machines gives "
        "each the file first: --inactive, then copy it, then --activate."
    )
    # Before there is a key, the system checks find that there is none.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="1 to 64 visible ASCII characters, never used before: 2026-11")
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--inactive", action="store_true", help="add it to the file, behind the active one")
        choice.add_argument("--activate", action="store_true", help="make none: have one that is in the file wrap")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["activate"]:
            services.activate_master_key(options["id"])
        else:
            services.make_master_key(options["id"], activate=not options["inactive"])
        self.stdout.write(f"{settings.key_provider.active_id} is the active master key")
