"""Wrap what older master keys wrap with the active one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors, services
from agent_sessions.conf import settings
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Wrap the keys of sessions and of the site anew with the active master key, while traffic goes on. Two at once "
        "do no harm; one that is stopped is finished by the next. Exit status 1 if something is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new", metavar="ID", help="make a master key first, which becomes the active one")
        parser.add_argument("--batch", type=int, default=1000, help="keys per round (default: 1000)")
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            for epoch in selectors.key_epochs():
                sessions, site = epoch.dependents.sessions, sum(epoch.dependents.site_keys.values())
                self.stdout.write(
                    f"{epoch.master_id}  {epoch.status:7}  sessions: {sessions}, keys of the site: {site}"
                )
            return
        if options["new"]:
            services.make_master_key(options["new"])
        active = settings.key_provider.active_id
        services.note_active_master_key()  # whoever goes back to an older one means it
        self.stdout.write(f"{active} is the active master key")
        done = 0
        while True:
            made = services.rewrap(limit=options["batch"])
            done += made.done
            if not made.done:
                break
            self.stderr.write(f"{done} wrapped anew, {made.left} left so far")
        self.stdout.write(f"{done} wrapped anew, {made.failed} failed, {made.left} left")
        if made.left:
            raise SystemExit(1)
