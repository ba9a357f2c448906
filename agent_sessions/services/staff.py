"""What staff leave in a session's history besides what they change: their notes, and what they were refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import AgentSessionsError, ContentErased, InvalidValue, SessionNotFound
from agent_sessions.models import AuditEvent, SiteEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, read_head
from agent_sessions.selectors.erasures import erased
from agent_sessions.services._commit import Committed, commit, in_any_standing
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.services.site_events import record
from agent_sessions.types import JSONValue

NOTED: Final = "note.added"
REFUSED: Final = "action.refused"
APART: Final = timedelta(minutes=1)
"""A refusal of the same action to the same person is recorded once in this time, so that nobody fills a history."""


class _Recorded(Exception):
    """The refusal stands in the history already."""


def add_note(
    session: SessionHead | uuid.UUID, *, note: str, actor: Actor, about_version: int = 0, call: Call = NO_CALL
) -> Committed:
    """Leave a note on a session for whoever looks at it later: 1 to 1000 characters, sealed.

    Also on one that is paused, with a person, overdue or ended. ``about_version`` says which version it is about, if it
    is about one. Raises InvalidValue, PaymentDataRefused, ContentErased once what people said was erased,
    SessionQuarantined, SessionNotFound, KeyProblem, SessionBusy.
    """
    if not note.strip():
        raise InvalidValue("/note", "Write the note.")
    told: dict[str, JSONValue] = {"about_version": about_version} if about_version else {}

    def let_in(head: SessionHead, _now: datetime) -> RowChange:
        allowed = in_any_standing(head, told)
        if not head.data_keys().has_personal:
            gone = erased(head)["personal"]
            raise ContentErased(head.session_id, rule=gone.rule, at=gone.at)
        return allowed

    return commit(id_of(session), Draft(NOTED, actor, call, private=sealed_note(note)), row=let_in)


def note_refused_action(session_id: uuid.UUID | None, *, action: str, actor: Actor) -> bool:
    """Record that somebody of the staff tried what they may not; return whether that made an event.

    In the session's history or, where that takes none (it is quarantined) and without a session, in the site's. Once a
    minute for each person, action and session. ``action`` is a name of the caller's own, never what somebody sent: who
    could choose it could fill a history.

    Raises SessionBusy, KeyProblem.
    """
    moment = timezone.now()
    denied = Call(
        method="POST",
        params={"action": action},
        policy_result="deny",
        policy_rule="permission",
        response_status=403,
    )

    def once(head: SessionHead, _now: datetime) -> RowChange:
        if _recorded(_told_lately(session_id, moment), action, actor):
            raise _Recorded
        return in_any_standing(head, {})

    if session_id is not None:
        try:
            read_head(session_id)
            commit(session_id, Draft(REFUSED, actor, denied), row=once)
            return True
        except (_Recorded, SessionNotFound):
            return False
        except AgentSessionsError:  # it takes no event: then the site's history says it
            pass
    facts: dict[str, Any] = {"action": action, "session": "" if session_id is None else str(session_id)}
    if _recorded(_told_lately(None, moment), action, actor, session=facts["session"]):
        return False
    record(REFUSED, actor, facts)
    return True


def _told_lately(session_id: uuid.UUID | None, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the refusals of the last minute, of a session or of the site."""
    alias = _rows.write_connection().alias
    rows: QuerySet[AuditEvent] | QuerySet[SiteEvent] = SiteEvent.objects.using(alias)
    if session_id is not None:
        rows = AuditEvent.objects.using(alias).filter(session_id=session_id)
    found = rows.filter(kind=REFUSED, created_at__gt=now - APART)
    for canonical in found.order_by("seq").values_list("canonical", flat=True):
        event: Any = parse_strict(bytes(canonical))
        if isinstance(event, dict) and isinstance(event.get("params"), dict):
            yield event


def _recorded(events: Iterator[dict[str, Any]], action: str, actor: Actor, *, session: str = "") -> bool:
    return any(
        event.get("actor") == str(actor)
        and event["params"].get("action") == action
        and event["params"].get("session", "") == session
        for event in events
    )
