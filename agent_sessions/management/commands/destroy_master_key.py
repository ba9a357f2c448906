"""Destroy a master key for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Destroy an old master key: what it alone could open is gone for good, in every backup too. Lists what would "
        "become unreadable, and asks."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the master key")
        parser.add_argument("--yes-destroy", metavar="ID", help="the same id again: do not ask")
        parser.add_argument("--dry-run", action="store_true", help="list only")

    def handle(self, *args: Any, **options: Any) -> None:
        master_id = options["id"]
        found = selectors.dependents_of(master_id)
        self.stdout.write(f"Master key {master_id} alone opens:")
        self.stdout.write(f"  content of sessions:        {_listed(found.content)}")
        self.stdout.write(f"  personal data of sessions:  {_listed(found.personal)}")
        self.stdout.write(f"  keys of the site:           {_listed(found.site_keys)}")
        self.stdout.write(f"  tokens of live sessions:    {found.live_tokens or 'none'}")
        if options["dry_run"]:
            return
        answer = options["yes_destroy"]
        if answer is None:
            answer = input("All of that becomes unreadable for good. Type the id to go on: ")
        if answer != master_id:
            raise CommandError(f"{answer!r} is not {master_id!r}. Nothing was destroyed.")
        services.destroy_master_key(master_id)
        self.stdout.write(f"{master_id} is destroyed")


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items()) or "none"
