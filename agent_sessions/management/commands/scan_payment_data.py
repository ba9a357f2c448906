"""Search what is stored for payment data."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from agent_sessions import selectors
from agent_sessions.exceptions import KeyProblem, SessionDamaged
from agent_sessions.management.base import SessionsCommand
from agent_sessions.selectors.payment_data import StoredFinding, payment_data_in_columns, payment_data_in_session


class Command(SessionsCommand):
    help = (
        "Search sealed content and all columns of the package's tables for card numbers, track data, security codes "
        "and PINs (PCI DSS 12.10.7), and say where they are, never what. Changes nothing. Exit status 1 if anything "
        "was found, or could not be searched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--session", type=_session_id, help="only this session (default: all, oldest first)")
        parser.add_argument("--dry-run", action="store_true", help="what it does anyway: it only reports")

    def handle(self, *args: Any, **options: Any) -> None:
        only: uuid.UUID | None = options["session"]
        searched = unread = 0
        found = self._report(payment_data_in_columns(only))
        for searched, session_id in enumerate([only] if only else selectors.session_ids(), start=1):
            try:
                found += self._report(payment_data_in_session(session_id))
            except (KeyProblem, SessionDamaged) as error:
                self.stdout.write(f"{session_id}: not searched to its end. {error.message}")
                unread += 1
            if searched % 1000 == 0:
                self.stderr.write(f"{searched} sessions searched")
        self.stdout.write(f"{searched} sessions searched, {found} places found, {unread} sessions could not be read")
        if found or unread:
            raise SystemExit(1)

    def _report(self, findings: Iterable[StoredFinding]) -> int:
        """Write the findings down; return how many there were."""
        count = 0
        for one in findings:
            count += 1
            self.stdout.write(f"{one.session_id or 'no session'}: {one.place} {one.pointer or '/'} [{one.rule}]")
        return count


def _session_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a session id") from None
