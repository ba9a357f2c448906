"""Who did what in a session, read from its events."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.calls import HANDED_OVER, PAUSED
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import InvalidValue, SessionDamaged
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead


@dataclass(frozen=True, slots=True)
class Act:
    """An event's number, and who did what it tells."""

    seq: int
    actor: Actor


def last_of_kind(session_id: uuid.UUID, kind: str) -> Act:
    """Return who did this last. Raises SessionDamaged if no event says so, though the session's row does."""
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=session_id, kind=kind)
    found = rows.order_by("-seq").values_list("seq", "canonical").first()
    if found is None:
        raise SessionDamaged(session_id, f"it has no event {kind}")
    seq, canonical = found
    return Act(seq, _actor_of(session_id, seq, bytes(canonical)))


def person_acted_since(session_id: uuid.UUID, seq: int) -> bool:
    """Tell whether a person has done anything after event ``seq``. Raises SessionDamaged."""
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=session_id, seq__gt=seq)
    later = rows.order_by("-seq").values_list("seq", "canonical").iterator(chunk_size=200)
    return any(_actor_of(session_id, number, bytes(canonical)).is_person for number, canonical in later)


def waits_unanswered(head: SessionHead) -> bool:
    """Tell whether the agent has asked for a person itself and none has done anything since. Raises SessionDamaged."""
    asked = last_of_kind(head.session_id, HANDED_OVER)
    return asked.actor.kind == "agent" and not person_acted_since(head.session_id, asked.seq)


def paused_by(head: SessionHead) -> Actor:
    """Return who paused a paused session. Raises SessionDamaged."""
    return last_of_kind(head.session_id, PAUSED).actor


def _actor_of(session_id: uuid.UUID, seq: int, canonical: bytes) -> Actor:
    try:
        event: Any = parse_strict(canonical)
        return Actor.parse(event["actor"])
    except (InvalidValue, LookupError, TypeError, AttributeError):
        raise SessionDamaged(session_id, f"event {seq} is altered") from None
