"""Check the log, the heads kept outside, and every chain against one another."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from agent_sessions.audit.submissions import HEAD_FILES
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey, read_vkey
from agent_sessions.conf import settings
from agent_sessions.exceptions import InvalidValue, KeyProblem
from agent_sessions.management.base import SessionsCommand
from agent_sessions.selectors.divergence import LOG_CHECKED, CheckRun
from agent_sessions.selectors.fsck import Counted, Finding, Sources, Waiting, check_log
from agent_sessions.services.integrity import record_check
from agent_sessions.sinks import configured_sinks

WRONG_USE: Final = 2


class Command(SessionsCommand):
    help = (
        "Rebuild every generation of the log from its leaves, compare all tree heads with it, hash every event again, "
        "and name what is missing, changed, truncated or not in the log. Changes nothing; with --record one event is "
        "added that tells of it. Exit status: 0 good, 1 something was found, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--heads", type=Path, action="append", default=[], metavar="DIR",
            help="a folder with tree heads that you have kept yourself (head-*.txt); can be given several times",
        )  # fmt: skip
        parser.add_argument(
            "--log-key", action="append", default=[], metavar="VKEY",
            help="a key of the log that you trust: name+id+base64, or a file (default: those that the database names)",
        )  # fmt: skip
        parser.add_argument(
            "--witness-key", action="append", default=[], metavar="VKEY",
            help="a witness whose cosignatures are checked, and missed: name+id+base64, or a file; several times",
        )  # fmt: skip
        parser.add_argument("--no-sinks", action="store_true", help="do not read the sinks")
        parser.add_argument(
            "--accept", type=int, action="append", default=[], metavar="NUMBER",
            help="this generation is known to have begun after a loss; what it says was lost is no finding",
        )  # fmt: skip
        parser.add_argument(
            "--max-age", type=int, default=900, metavar="SECONDS",
            help="how long an event may wait for the log and its head (default: 900)",
        )  # fmt: skip
        parser.add_argument(
            "--record", action="store_true",
            help="put into the site's own chain what was found: the overview in the admin tells of it",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="a JSON document on each line, what was counted last")

    def handle(self, *args: Any, **options: Any) -> None:
        sources = _sources(options)
        counted, now = Counted(), timezone.now()
        run = CheckRun(now)
        patience = timedelta(seconds=options["max_age"])
        for finding in check_log(sources, counted, now=now, patience=patience, tell=self.stderr.write):
            run.add(finding.about, finding.code, session=finding.session)
            self.stdout.write(json.dumps(_as_json(finding)) if options["json"] else str(finding))
        if options["record"]:
            run.sessions, run.events, run.leaves = counted.sessions, counted.events, sum(counted.logs.values())
            run.heads = sum(heads for source, heads in counted.heads.items() if source)
            record_check(LOG_CHECKED, run)
        if options["json"]:
            self.stdout.write(json.dumps({"findings": run.findings, **asdict(counted)}, default=datetime.isoformat))
        else:
            self._report(counted, now, sources)
            self.stdout.write(f"{run.findings} findings" if run.findings else "Good.")
        if run.findings:
            raise SystemExit(1)

    def _report(self, counted: Counted, now: datetime, sources: Sources) -> None:
        """Say what was looked at, and what it was compared with."""
        write = self.stdout.write
        for origin, leaves in counted.logs.items():
            write(f"{origin}: {leaves:,} leaves")
        for restart in counted.restarts:
            write(f"accepted: {restart}")
        for source, heads in counted.heads.items():
            write(f"{source or 'the database'}: {heads:,} heads")
        if counted.other_heads:
            write(f"{counted.other_heads:,} heads of other logs were left out")
        write(
            f"{counted.sessions:,} sessions with {counted.events:,} events, {counted.site_events:,} of the site's own"
        )
        write(f"events in no leaf yet: {_waiting(counted.unsequenced, now)}")
        write(f"leaves under no exported head yet: {_waiting(counted.unexported, now)}")
        for witness, waiting in counted.unwitnessed.items():
            write(f"leaves not co-signed by {witness} yet: {_waiting(waiting, now)}")
        if not sources.keys:
            write("The log's keys are those that the database names. Give the ones you know with --log-key.")
        if not any(counted.heads.get(source) for source in counted.heads if source):
            write("No head from outside the database was there to compare: who can write it could have rewritten all.")


def _sources(options: dict[str, Any]) -> Sources:
    """Read the options; whatever is wrong with one is wrong use."""
    if options["max_age"] < 0:
        raise CommandError("--max-age: give seconds, 0 or more.", returncode=WRONG_USE)
    for folder in options["heads"]:
        if not any(folder.rglob(HEAD_FILES)):
            raise CommandError(f"--heads: there are no files {HEAD_FILES} in {folder}.", returncode=WRONG_USE)
    try:
        return Sources(
            log=settings.log_origin,
            sinks=() if options["no_sinks"] else configured_sinks(),
            folders=options["heads"],
            keys=[_key(text, SIGNS, "--log-key") for text in options["log_key"]],
            witnesses=[_key(text, COSIGNS, "--witness-key") for text in options["witness_key"]],
            accepted=options["accept"],
        )
    except (KeyProblem, InvalidValue, OSError, UnicodeDecodeError) as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error


def _key(text: str, kind: int, option: str) -> NoteKey:
    key = read_vkey(Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text)
    if key.kind != kind:
        given, wanted = ("witness", "log") if kind == SIGNS else ("log", "witness")
        raise KeyProblem(f"{option} was given the key of a {given}. Give the {wanted}'s.")
    return key


def _waiting(waiting: Waiting, now: datetime) -> str:
    if waiting.since is None:
        return f"{waiting.count:,}"
    return f"{waiting.count:,}, the oldest for {int((now - waiting.since).total_seconds()):,} s"


def _as_json(finding: Finding) -> dict[str, object]:
    said = asdict(finding)
    return {**said, "session": None if finding.session is None else str(finding.session)}
