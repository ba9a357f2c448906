"""What of a session was erased, when, and by which rule: the one place that readers ask (A5, A7).

The keys say that something is gone, the events ``pii.purged`` say why. A reader of what is gone is never refused
without being told that, and what was not erased is shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_sessions.audit.events import ERASED, parse_time
from agent_sessions.crypto.canonical import JSON, parse_strict
from agent_sessions.exceptions import ContentErased, InvalidValue
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors._keys import DataClass


@dataclass(frozen=True, slots=True)
class ErasedNote:
    """One class of a session's content that was erased: by which rule, on what basis, and when (UTC).

    ``because`` is ``retention`` or ``erasure`` (a person asked for it). From ``unrecoverable_after`` on, an ISO date,
    no backup gives it back; empty if nothing was said of that. ``rule`` is empty and ``at`` None where the key is gone
    and no event says why.
    """

    data_class: DataClass
    rule: str = ""
    basis: str = ""
    because: str = ""
    at: datetime | None = None
    unrecoverable_after: str = ""

    @property
    def text(self) -> str:
        """Say it as the end of a sentence: "erased under rule X on date Y"."""
        if self.at is None:
            return "erased; its history does not say when or why"
        return f"erased under rule {self.rule!r} on {self.at.date().isoformat()}"


def erased(session: SessionHead | uuid.UUID) -> dict[DataClass, ErasedNote]:
    """Return what of a session was erased, by class; empty, and without a query, if nothing was.

    Raises SessionNotFound.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    keys = head.data_keys()
    gone: list[DataClass] = []
    if not keys.has_content:
        gone.append("content")
    if not keys.has_personal:
        gone.append("personal")
    if not gone:
        return {}
    told = notes_of(_purges(head.session_id))
    return {data_class: told.get(data_class, ErasedNote(data_class)) for data_class in gone}


def notes_of(events: Iterable[Mapping[str, JSON]]) -> dict[str, ErasedNote]:
    """Return what events of the kind ``pii.purged`` say, by class; what is malformed says nothing."""
    notes: dict[str, ErasedNote] = {}
    for event in events:
        params: Any = event.get("params")
        classes = params.get("classes") if isinstance(params, dict) else None
        if event.get("kind") != ERASED or not isinstance(classes, list):
            continue
        for name in classes:
            if name not in ("content", "personal") or name in notes:
                continue  # what is erased stays erased: the first event says when
            facts = {key: str(params.get(key, "")) for key in ("rule", "basis", "because", "unrecoverable_after")}
            notes[name] = ErasedNote(name, at=_time(event.get("timestamp")), **facts)
    return notes


def require_content(head: SessionHead) -> None:
    """Raise ContentErased, with the rule and the date, if the content class of the session was erased."""
    if not head.data_keys().has_content:
        note = erased(head)["content"]
        raise ContentErased(head.session_id, rule=note.rule, at=note.at)


def _purges(session_id: uuid.UUID) -> list[dict[str, JSON]]:
    """Return the events that say what was erased, in order; they are the last ones of an ended session."""
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=session_id, kind=ERASED)
    found: list[dict[str, JSON]] = []
    for canonical in rows.order_by("seq").values_list("canonical", flat=True):
        try:
            event = parse_strict(bytes(canonical))
        except InvalidValue:
            continue  # verify_session says so
        if isinstance(event, dict):
            found.append(event)
    return found


def _time(text: object) -> datetime | None:
    try:
        return parse_time(str(text))
    except InvalidValue:
        return None
