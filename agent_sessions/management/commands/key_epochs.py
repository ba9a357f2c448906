"""Which master keys there are, and by when each has to go."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from agent_sessions import selectors
from agent_sessions.conf import settings
from agent_sessions.management.base import SessionsCommand
from agent_sessions.selectors import KeyEpoch


class Command(SessionsCommand):
    help = (
        "List the master keys with what they wrap, and by when each has to be rotated and destroyed so that what was "
        "erased is gone from backups within ERASURE_HORIZON_DAYS. Exit status 1 if one is overdue: let it raise an "
        "alarm."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one document for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        epochs = selectors.key_epochs(now)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(epoch, now) for epoch in epochs], indent=2))
        else:
            self.stdout.write(f"{'master key':24} {'status':8} {'since':10} {'sessions':>8} {'tokens':>6}  what to do")
            for epoch in epochs:
                counts = f"{epoch.dependents.sessions:8} {epoch.dependents.live_tokens:6}"
                self.stdout.write(
                    f"{epoch.master_id:24} {epoch.status:8} {_day(epoch.since):10} {counts}  {_advice(epoch, now)}"
                )
        if any(epoch.is_overdue(now) for epoch in epochs):
            self.stderr.write(
                f"A master key is older than what was promised: erased content could be read from backups after the "
                f"{settings.erasure_horizon.days} days of ERASURE_HORIZON_DAYS."
            )
            raise SystemExit(1)


def _advice(epoch: KeyEpoch, now: datetime) -> str:
    """Say what comes next with a key, and until when."""
    if epoch.status == "missing":
        return "put it back, or record that it is gone: destroy_master_key"
    when = "OVERDUE since" if epoch.is_overdue(now) else "by"
    if epoch.status == "active":
        if epoch.rotate_by is None:
            return "nothing: nothing was erased since"
        return f"rotate {when} {_day(epoch.destroy_by if epoch.is_overdue(now) else epoch.rotate_by)}"
    until = "" if epoch.destroy_by is None else f" {when} {_day(epoch.destroy_by)}"
    if epoch.dependents.sessions or epoch.dependents.site_keys:
        return f"run rotate_master_key, destroy it{until}"
    if epoch.dependents.live_tokens:
        return f"wait for its tokens to end, destroy it{until}"
    return f"destroy it{until}" if until else "destroy it"


def _as_json(epoch: KeyEpoch, now: datetime) -> dict[str, object]:
    return {
        "master_key": epoch.master_id,
        "status": epoch.status,
        "since": _time(epoch.since),
        "sessions": epoch.dependents.sessions,
        "site_keys": sum(epoch.dependents.site_keys.values()),
        "live_tokens": epoch.dependents.live_tokens,
        "rotate_by": _time(epoch.rotate_by),
        "destroy_by": _time(epoch.destroy_by),
        "overdue": epoch.is_overdue(now),
    }


def _day(moment: datetime | None) -> str:
    return "" if moment is None else moment.date().isoformat()


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
