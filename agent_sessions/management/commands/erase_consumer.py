"""Erase a consumer, over all their sessions."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.management.base import SessionsCommand, read_customer
from agent_sessions.selectors import Receipt


class Command(SessionsCommand):
    help = (
        "Erase what all sessions of a consumer say, and print the receipt. The shop's own id of the customer is asked "
        "for, or read from standard input, so that it stands in no shell history and no list of processes. A run that "
        "was interrupted is gone on with when it is started again, or by finish_erasures."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--merchant", default="", help="the merchant whose customer it is (default: the site's)")
        parser.add_argument("--by", default="", help="who you are: a user's primary key or another pseudonym")
        parser.add_argument(
            "--receipt", type=uuid.UUID, metavar="ID", help="print an earlier erasure's receipt instead"
        )
        parser.add_argument(
            "--check",
            type=Path,
            metavar="FILE",
            help="tell instead whether a receipt is one of this site's, as it gave it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"] is not None:
            self._check(options["check"])
            return
        if options["receipt"] is not None:
            receipt = selectors.get_receipt(options["receipt"])
        else:
            actor = Actor("staff", options["by"]) if options["by"] else Actor("system")
            receipt = services.erase_consumer(
                read_customer(), merchant=options["merchant"], actor=actor, progress=self._progress
            )
        self.stdout.write(json.dumps(receipt.document, indent=2, ensure_ascii=False))
        self.stderr.write(_summary(receipt))

    def _check(self, path: Path) -> None:
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read as JSON: {error}") from error
        problems = selectors.check_receipt(document) if isinstance(document, dict) else ["It is no receipt."]
        for problem in problems:
            self.stdout.write(problem)
        if problems:
            raise SystemExit(1)
        self.stdout.write("genuine: the histories of the site and of its sessions tell the same")

    def _progress(self, sessions: int) -> None:
        self.stderr.write(f"{sessions} sessions so far")


def _summary(receipt: Receipt) -> str:
    sessions = receipt.document["sessions"]
    count = len(sessions) if isinstance(sessions, dict) else 0
    kept = f"{receipt.left} classes of content had to be kept" if receipt.left else "nothing had to be kept"
    return f"erasure {receipt.erasure_id}: {count} sessions, {kept}"
