"""Prove what is in the log."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors
from agent_sessions.audit.notes import hash_lines
from agent_sessions.management.base import SessionsCommand


class Command(SessionsCommand):
    help = (
        "Write the proof that a session is in the log, the proof that one tree head continues another, a tree head, or "
        "the log's public keys. Only heads that the sinks have count."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("session", nargs="?", type=uuid.UUID, help="the session's id")
        what.add_argument(
            "--consistency", nargs=2, type=int, metavar=("OLD", "NEW"), help="two sizes: a hash a line, in base64"
        )
        what.add_argument(
            "--head", nargs="?", type=int, const=0, metavar="SIZE", help="a tree head (default: the newest)"
        )
        what.add_argument("--keys", action="store_true", help="the keys to give to verifiers and witnesses")
        parser.add_argument("--text", action="store_true", help="a session's proof as C2SP tlog-proof, not as JSON")
        parser.add_argument("--generation", type=int, help="of which log (default: the open one)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["generation"] is not None and not options["consistency"] and options["head"] is None:
            raise CommandError(
                "--generation goes with --consistency and --head; a session's proof says its log itself."
            )
        if options["text"] and not options["session"]:
            raise CommandError("--text goes with a session's id; heads and proofs between them are text anyway.")
        if options["keys"]:
            for one in selectors.log_keys():
                self.stdout.write(f"{'active ' if one.active else 'retired'}  {one.vkey}")
        elif options["consistency"]:
            old, new = options["consistency"]
            hashes = selectors.log_consistency(old, new, generation=options["generation"])
            self.stdout.write(hash_lines(hashes), ending="")
        elif options["head"] is not None:
            note = selectors.tree_head(options["head"] or None, generation=options["generation"])
            self.stdout.write(note, ending="")
        elif options["session"]:
            found = selectors.log_inclusion(options["session"])
            self.stdout.write(found.proof.to_text() if options["text"] else found.to_json().decode() + "\n", ending="")
        else:
            raise CommandError("Give a session's id, --consistency, --head or --keys.")
