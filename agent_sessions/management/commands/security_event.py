"""Answer a security event."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import services
from agent_sessions.exceptions import KeyProblem, SessionBusy
from agent_sessions.management.base import SessionsCommand
from agent_sessions.services import SecurityReport


class Command(SessionsCommand):
    help = (
        "Make every token worthless, end every live session, change the keys of tokens, artifacts and the log and the "
        "master key, and have the log say so outside. New sessions can be opened at once. If it is interrupted, "
        "--resume goes on where it stopped. Exit status 1 if something is left to do, which is said."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--reason", help="what happened, 1 to 200 characters, nothing personal")
        what.add_argument("--resume", action="store_true", help="go on with the last one, which was interrupted")
        parser.add_argument(
            "--keep-master-key", action="store_true", help="make no new one: for a file of keys on several machines"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        how: dict[str, Any] = {"new_master_key": not options["keep_master_key"], "tell": self.stderr.write}
        try:
            if options["resume"]:
                report = services.resume_security_event(**how)
            else:
                report = services.answer_security_event(reason=options["reason"], **how)
        except (KeyProblem, SessionBusy) as problem:
            raise CommandError(f"{problem.message} What is said above is done; go on with --resume.") from problem
        for name, value in _lines(report).items():
            self.stdout.write(f"{name + ':':20}{value}")
        if report.left or report.master_key_problem or (report.master_key and report.still_old):
            raise SystemExit(1)


def _lines(report: SecurityReport) -> dict[str, str]:
    kept = f"not changed. {report.master_key_problem}".strip()
    return {
        "reason": report.reason,
        "began": f"{report.began_at:%Y-%m-%d %H:%M:%S} UTC",
        "sessions ended": f"{report.ended}, {report.left} left",
        "master key": report.master_key or kept,
        "keys wrapped anew": f"{report.rewrapped}, {report.still_old} left",
        "key of artifacts": "new",
        "key of the log": "new",
        "event in the log": "exported" if report.exported else "not exported yet",
    }
