"""Endpoints that have failed, so that whoever goes on with a session knows of it (S5)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import Call
from agent_sessions.domain.checkpoints import CODE
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import InvalidValue
from agent_sessions.selectors._heads import SessionHead, require_live
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.services.checkpoints import written
from agent_sessions.types import Patch

FAILED, RECOVERED = "endpoint.failed", "endpoint.recovered"


def note_endpoint_failure(
    session: SessionHead | uuid.UUID, endpoint: str, *, code: str, actor: Actor = SYSTEM
) -> Committed:
    """Note that an endpoint, such as a payment provider, has failed again: how often in a row, when, and the code.

    ``endpoint`` and ``code`` are single words: up to 64 letters, digits and ``. _ : -``. Also while the session is
    paused: it is a fact. Raises InvalidValue and what ``change_session`` raises.
    """
    _check_word("/endpoint", endpoint)
    _check_word("/code", code)

    def write(head: SessionHead) -> Committed:
        before: Any = entries(current_state(head).state, "recovery", "endpoints").get(endpoint, {})
        now = format_time(max(timezone.now(), head.updated_at))
        failure = {"failures": before.get("failures", 0) + 1, "code": code, "last_at": now}
        call = Call(params={"endpoint": endpoint, "code": code})
        patch: Patch = {"recovery": {"endpoints": {endpoint: failure}}}
        return commit(head, Draft(FAILED, actor, call, patch, expected_version=head.version), row=_although_paused)

    return written(session, write, None)


def note_endpoint_success(
    session: SessionHead | uuid.UUID, endpoint: str, *, actor: Actor = SYSTEM
) -> Committed | None:
    """Note that an endpoint works again; None if it is not noted as failed. Raises what ``change_session`` raises."""
    _check_word("/endpoint", endpoint)

    def write(head: SessionHead) -> Committed | None:
        if endpoint not in entries(current_state(head).state, "recovery", "endpoints"):
            return None
        patch: Patch = {"recovery": {"endpoints": {endpoint: None}}}
        draft = Draft(RECOVERED, actor, Call(params={"endpoint": endpoint}), patch, expected_version=head.version)
        return commit(head, draft, row=_although_paused)

    return written(session, write, None)


def _although_paused(head: SessionHead, now: datetime) -> RowChange:
    require_live(head, now)
    return RowChange({})


def _check_word(path: str, text: object) -> None:
    if not isinstance(text, str) or not CODE.fullmatch(text):
        raise InvalidValue(path, "Send one word: up to 64 letters, digits and . _ : -")
