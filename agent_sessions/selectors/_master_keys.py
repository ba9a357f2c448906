"""What the site's own events say of master keys: which were made active, and which were destroyed (A8)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from agent_sessions.models import SiteEvent
from agent_sessions.selectors import _rows

ROTATED: Final = "keys.rotated"
DESTROYED: Final = "keys.destroyed"
SETTLED: Final = timedelta(minutes=2)
"""After so long every process has noticed that another key is active, and has stored what it wrapped with the old."""


@dataclass(frozen=True, slots=True)
class MasterKeyEvent:
    """A master key was made active, or destroyed, at ``at`` (UTC); ``first`` if none had wrapped anything before."""

    seq: int
    master_id: str
    at: datetime
    first: bool = False


def was_destroyed(master_id: str) -> bool:
    """Tell whether a master key was destroyed on purpose: the site's events say so."""
    return any(event.master_id == master_id for event in master_key_events(DESTROYED))


def master_key_events(kind: str) -> list[MasterKeyEvent]:
    """Return the events of a kind, oldest first. There are a few a month."""
    return [
        MasterKeyEvent(seq, str(params.get("master_key", "")), at, params.get("first") is True)
        for seq, at, params in site_facts(kind)
    ]


def is_superseded(master_id: str) -> bool:
    """Tell whether a master key was active, and another one is by the latest event."""
    known = [event.master_id for event in master_key_events(ROTATED)]
    return master_id in known and known[-1] != master_id


def replaced_at(master_id: str) -> datetime | None:
    """Return when another key was made active after this one (UTC), None if none was.

    Of a key that no event names: when the first one was.
    """
    rotated = master_key_events(ROTATED)
    own = max((event.seq for event in rotated if event.master_id == master_id), default=0)
    return next((event.at for event in rotated if event.seq > own), None)


def site_facts(kind: str) -> Iterator[tuple[int, datetime, dict[str, Any]]]:
    """Yield number, time and facts of the site's events of a kind, oldest first."""
    events = SiteEvent.objects.using(_rows.write_connection().alias).filter(kind=kind).order_by("seq")
    for seq, at, canonical in events.values_list("seq", "created_at", "canonical"):
        yield seq, at, json.loads(bytes(canonical)).get("params") or {}
