"""Handing a session over to a person, and back (L4): while a person has it, the agent reads and waits."""

from __future__ import annotations

import uuid
from datetime import datetime

from agent_sessions.domain.calls import HANDED_OVER, NO_CALL, TAKEN_BACK, Call
from agent_sessions.domain.identity import AGENT, Actor, may_decide
from agent_sessions.exceptions import InvalidValue, NotHeld, SessionHeld
from agent_sessions.selectors._heads import SessionHead, require_live
from agent_sessions.selectors.actors import waits_unanswered
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.services.transfers import commit_withdrawing


def hand_over(
    session: SessionHead | uuid.UUID,
    *,
    to: Actor,
    note: str = "",
    actor: Actor = AGENT,
    expected_version: int | None = None,
    call: Call = NO_CALL,
) -> Committed:
    """Give the session to a person: to the consumer, to the staff, or to one of the staff (L4).

    ``to`` is ``Actor("consumer")``, ``Actor("staff")`` for whoever takes it up, or ``Actor("staff", "17")``; one of
    the staff takes it up by naming themselves. From there on changes of the agent are refused (SessionHeld); it reads,
    adds to the conversation, and waits. Who has it passes it on, and any of the staff. Done by a person, it withdraws a
    grant to take the session over. ``note`` is sealed, at most 1000 characters.

    Raises InvalidValue; SessionHeld if a person has it and ``actor`` may not pass it on; what ``record_event`` raises,
    VersionConflict against an ``expected_version``.
    """
    if not to.is_person:
        raise InvalidValue("/to", "A session is handed over to a person: the consumer or the staff.")

    def pass_on(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if head.held_by and not may_decide(head.held_by, actor):
            raise SessionHeld(head.session_id, head.held_by)
        return _held_by(str(to))

    draft = Draft(HANDED_OVER, actor, call, expected_version=expected_version, private=sealed_note(note))
    return commit_withdrawing(session, draft, pass_on)


def take_back(
    session: SessionHead | uuid.UUID,
    *,
    note: str = "",
    actor: Actor = AGENT,
    expected_version: int | None = None,
    call: Call = NO_CALL,
) -> Committed:
    """Give the session back to its agent (L4).

    That is for the person who has it and for any of the staff; for the agent only if it has asked for the person itself
    and no person has done anything in the session since. A paused session stays paused.

    Raises NotHeld; SessionHeld if ``actor`` may not; what ``record_event`` raises, VersionConflict against an
    ``expected_version``.
    """

    def give_back(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if not head.held_by:
            raise NotHeld(head.session_id)
        if not (waits_unanswered(head) if actor.kind == "agent" else may_decide(head.held_by, actor)):
            raise SessionHeld(head.session_id, head.held_by)
        return _held_by("")

    draft = Draft(TAKEN_BACK, actor, call, expected_version=expected_version, private=sealed_note(note))
    return commit(session, draft, row=give_back)


def _held_by(person: str) -> RowChange:
    return RowChange({"held_by": person}, told={"held_by": person})
