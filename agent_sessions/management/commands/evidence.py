"""Write what a decision, a payment or an order of a session rested on."""

from __future__ import annotations

import os
import uuid
from codecs import iterdecode
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Write the evidence of a session, canonical JSON, to standard output or a file: policies and limits, price "
        "and stock seen, approvals and how long there was to review, what the consumer was shown, payments, orders, "
        "and the signed artifact as proof."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", type=uuid.UUID, help="the session's id")
        subject = parser.add_mutually_exclusive_group()
        subject.add_argument("--order", metavar="REF", help="about this order, by the shop's reference")
        subject.add_argument("--payment", metavar="ID", help="about this attempt to pay")
        subject.add_argument("--decision", metavar="EVENT", help="about this event (its number), or approval (its id)")
        parser.add_argument("--personal", action="store_true", help="with what is personal; needs --reason")
        parser.add_argument("--reason", default="", help="why what is personal is shown; it stands in the site's chain")
        parser.add_argument("--by", default="", help="who you are: a user's primary key or another pseudonym")
        parser.add_argument("--output", type=Path, help="file to write, for its owner only (default: standard output)")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = [
            selectors.Subject(kind, options[kind])
            for kind in ("order", "payment", "decision")
            if options[kind] is not None
        ]
        with services.open_evidence(
            options["session"],
            asked[0] if asked else selectors.Subject(),
            personal=options["personal"],
            reason=options["reason"],
            actor=Actor("staff", options["by"]) if options["by"] else Actor("system"),
        ) as found:
            if options["output"] is None:
                for text in iterdecode(found, "utf-8"):
                    self.stdout.write(text, ending="")
                return
            try:
                with open(options["output"], "wb", opener=_for_the_owner) as file:
                    file.writelines(found)
            except OSError as error:
                raise CommandError(str(error)) from error


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
