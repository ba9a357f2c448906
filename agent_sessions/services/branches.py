"""Branches: trying alternatives in sessions of their own, of which one can check out (L3)."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Final, cast

from django.utils import timezone

from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor, Agent
from agent_sessions.domain.lifecycle import Origin
from agent_sessions.domain.succession import branched
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, get_session, read_head, require_changeable
from agent_sessions.selectors.history import current_state, state_at_version
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._opening import OpenedSession, prepare_from
from agent_sessions.services._write import RowChange
from agent_sessions.services.marking import mark_if_overtaken
from agent_sessions.types import Patch

FORKED = "session.forked"
_SINCE_READ: Final = timedelta(seconds=1)
"""How long ago a caller may have read the head that it gives."""


def fork_session(
    session: SessionHead | uuid.UUID,
    *,
    from_version: int | None = None,
    agent: Agent | None = None,
    max_sessions: int = 0,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> OpenedSession:
    """Open a branch of a live session: a session of its own that begins as that one was at ``from_version`` (L3).

    Without ``from_version`` it begins as the session is now. Agent (unless another is given), consumer, scope, kind and
    parent request are the session's. The branch lives no longer than the session it came from; from there on neither
    knows of the other, but that one of the family at most checks out. It begins without holds, approvals, and the steps
    that the session has begun. It counts towards the caller's ``max_sessions``.

    Raises VersionNotFound; SessionEnded and its kinds for a session that is over; SessionPaused; SessionHeld for an
    agent while a person has it; TooManySessions; what ``open_session`` raises.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    read_at = timezone.now() - _SINCE_READ
    version = head.version if from_version is None else from_version
    now = current_state(head).state
    begins = branched(now if version == head.version else state_at_version(head, version).state, now)
    opening = prepare_from(
        head,
        Origin.FORK,
        begins,
        version=version,
        agent=agent,
        until=head.expires_at,
        caller=get_session(head.session_id).caller,
        bound_to=head.bound_to,
        max_sessions=max_sessions,
        actor=actor,
        call=call,
    )
    facts: dict[str, str | int] = {"branch": str(opening.opened.session_id), "from_version": version}

    def still_allowed(now_head: SessionHead, moment: datetime) -> RowChange:
        require_changeable(now_head, actor, moment)
        return RowChange({}, told=facts)

    def act() -> None:
        commit(head, Draft(FORKED, actor), row=still_allowed)
        opening.store()
        mark_if_overtaken(read_head(opening.opened.session_id), {}, begins, cast("Patch", begins), since=read_at)

    _rows.in_transaction(f"Session {head.session_id}", act)
    return opening.opened
