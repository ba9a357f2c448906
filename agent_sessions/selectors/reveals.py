"""To whom of the staff what a session says of people is shown at present, as its history tells it (A9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from agent_sessions.audit.events import parse_time
from agent_sessions.conf import settings
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead

REVEALED: Final = "content.revealed"
MASKED: Final = "content.masked"
_CLOCKS_APART: Final = timedelta(minutes=1)
"""How far the clocks of two servers may lie apart; one that is set back further masks, and shows nothing longer."""


@dataclass(frozen=True, slots=True)
class Reveal:
    """A group of ``domain.privacy.GROUPS`` that ``actor`` (an Actor's text) sees ``until`` then, by event ``seq``."""

    actor: str
    group: str
    until: datetime
    seq: int


def reveals(head: SessionHead, now: datetime | None = None) -> list[Reveal]:
    """Return the reveals in force as of the head, by actor and group; at most one query, of its last minutes alone.

    Times in a history never run backwards, so no event before the last one that is too old can matter.
    """
    now = now or timezone.now()
    since = now - settings.reveal_time
    if head.updated_at <= since:
        return []
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
    older = rows.filter(created_at__lte=since).order_by("-seq").values("seq")[:1]
    # With both ends PostgreSQL takes the range for a short one, as it is, and not for a third of a long history.
    late = rows.filter(seq__gt=Coalesce(Subquery(older), 0), seq__lte=head.head_seq)
    told = late.filter(kind__in=(REVEALED, MASKED)).order_by("seq")
    found: dict[tuple[str, str], Reveal] = {}
    for seq, canonical in told.values_list("seq", "canonical"):
        event = _read(bytes(canonical))
        actor = str(event.get("actor"))
        if event.get("kind") == MASKED:
            found = {key: one for key, one in found.items() if one.actor != actor}
        for group in _groups(event):
            until = _until(event)
            if until is not None and now < until <= now + settings.reveal_time + _CLOCKS_APART:
                found[actor, group] = Reveal(actor, group, until, seq)
    return [found[key] for key in sorted(found)]


def _read(canonical: bytes) -> dict[str, Any]:
    try:
        event = parse_strict(canonical)
    except InvalidValue:
        return {}  # verify_session says so
    return event if isinstance(event, dict) else {}


def _groups(event: dict[str, Any]) -> list[str]:
    params = event.get("params")
    named = params.get("groups") if event.get("kind") == REVEALED and isinstance(params, dict) else None
    return [group for group in GROUPS if group in named] if isinstance(named, list) else []


def _until(event: dict[str, Any]) -> datetime | None:
    """Return until when a reveal is good, and no longer than one is today."""
    try:
        told, at = parse_time(str(event["params"].get("until"))), parse_time(str(event.get("timestamp")))
    except InvalidValue:
        return None
    return min(told, at + settings.reveal_time)
