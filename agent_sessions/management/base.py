"""What the commands share."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time
from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime

from agent_sessions.exceptions import AgentSessionsError


class SessionsCommand(BaseCommand):
    """A command that tells errors of the package in a sentence and not in a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except AgentSessionsError as error:
            raise CommandError(error.message) from error


def read_customer() -> str:
    """Ask for the shop's own id of a customer, or read it from standard input: then it stands in no shell history.

    Raises CommandError if nothing is there.
    """
    if sys.stdin.isatty():
        reference = getpass("The shop's own id of the customer (not shown): ")
    else:
        reference = sys.stdin.readline()
    reference = reference.rstrip("\r\n")
    if not reference:
        raise CommandError("Nothing was read. Type the shop's own id of the customer, or write it to standard input.")
    return reference


def read_moment(text: str | None, option: str) -> datetime | None:
    """Read a day (its first moment) or a time; without a zone it is UTC. Raises CommandError."""
    if text is None:
        return None
    try:
        day = parse_date(text)
        moment = parse_datetime(text) if day is None else datetime.combine(day, time.min)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{option}: write a day as 2026-12-31, or a time as 2026-12-31T18:00:00Z.")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
