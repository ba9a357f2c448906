"""Pausing a session, and going on exactly where it was (L3).

Neither makes a version: what was based on the version before the pause is based on the current one after it.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import NO_CALL, PAUSED, RESUMED, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import NotPaused, SessionHeld, SessionPaused
from agent_sessions.selectors._heads import SessionHead, require_changeable, require_live
from agent_sessions.selectors.actors import paused_by
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.services.transfers import commit_withdrawing


def pause_session(
    session: SessionHead | uuid.UUID,
    *,
    reason: str = "",
    actor: Actor = AGENT,
    expected_version: int | None = None,
    call: Call = NO_CALL,
) -> Committed:
    """Keep everybody from changing the session until it is resumed (L3).

    It can still be read, talked in, and ended, and its deadline goes on. ``reason`` is sealed, at most 1000 characters.
    Paused by a person, only a person resumes it, and a grant to take it over is withdrawn.

    Raises what ``change_session`` raises: SessionPaused if it is, and SessionHeld for an agent while a person has it.
    """
    draft = Draft(PAUSED, actor, call, expected_version=expected_version, private=sealed_note(reason, "/reason"))

    def pause(head: SessionHead, now: datetime) -> RowChange:
        require_changeable(head, actor, now)
        paused = {"status": Status.PAUSED.value, "paused_at": now}
        return RowChange(paused, told={"paused_at": format_time(now)})

    return commit_withdrawing(session, draft, pause)


def resume_session(
    session: SessionHead | uuid.UUID,
    *,
    actor: Actor = AGENT,
    expected_version: int | None = None,
    call: Call = NO_CALL,
    note: str = "",
) -> Committed:
    """Let a paused session go on where it was (L3).

    Raises NotPaused; for an agent SessionPaused if a person paused it, and SessionHeld while a person has it; and what
    ``record_event`` raises, VersionConflict against an ``expected_version``.
    """

    def resume(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if head.status is not Status.PAUSED:
            raise NotPaused(head.session_id)
        if actor.kind == "agent":
            _require_agents_own_pause(head)
        return RowChange({"status": Status.ACTIVE.value, "paused_at": None}, told={"paused_at": ""})

    draft = Draft(RESUMED, actor, call, expected_version=expected_version, private=sealed_note(note))
    return commit(session, draft, row=resume)


def _require_agents_own_pause(head: SessionHead) -> None:
    if head.held_by:
        raise SessionHeld(head.session_id, head.held_by)
    who = paused_by(head)
    if who.is_person:
        raise SessionPaused(head.session_id, by=who.kind)
