"""Opening, changing and ending sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.utils import timezone

from agent_sessions.audit.events import ENDED, format_time
from agent_sessions.domain.calls import NO_CALL, Call, check_kind
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor, Agent, Scope
from agent_sessions.domain.lifecycle import LIVE, EndReason, Lineage, Status, is_expired
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import InvalidValue, SessionHeld
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, lock_head, require_live
from agent_sessions.services._commit import Changing, Committed, commit
from agent_sessions.services._endings import StillHolding, release_at_end, require_nothing_held
from agent_sessions.services._entries import Draft
from agent_sessions.services._opening import OpenedSession, prepare
from agent_sessions.services._quarantine import closing_damaged
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.services.artifacts import try_to_seal
from agent_sessions.types import Patch, State


def open_session(
    *,
    agent: Agent,
    consumer: str = "",
    merchant: str = "",
    scope: Scope | None = None,
    kind: str = "standard",
    purpose: str = "",
    state: State | None = None,
    parent_request: str = "",
    lineage: Lineage | None = None,
    caller: str = "",
    bound_to: str = "",
    max_sessions: int = 0,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> OpenedSession:
    """Open a session and return its token.

    ``consumer`` is a pseudonym from ``consumer_pseudonym``, never a name or an address; ``merchant`` defaults to the
    setting MERCHANT; ``kind`` is a key of the setting TTL, which gives the time to live; the session also ends when
    the ``scope`` expires. ``purpose`` is the agent's own words, at most 1000 characters, sealed. ``state`` is the
    state to begin with; it becomes version 1. ``lineage`` says which session it came from; see ``renew_session``,
    ``fork_session`` and ``accept_transfer``.

    ``caller`` and ``bound_to`` are pseudonyms from ``caller_pseudonym``: of who opens the session, who has at most
    ``max_sessions`` live ones (0: any number; exact under a race), and of the address that its token works from.

    Raises InvalidValue, PaymentDataRefused, LimitExceeded, TooManySessions, KeyProblem.
    """
    opening = prepare(
        agent=agent,
        consumer=consumer,
        merchant=merchant,
        scope=scope,
        kind=kind,
        purpose=purpose,
        state=state,
        parent_request=parent_request,
        lineage=lineage,
        caller=caller,
        bound_to=bound_to,
        max_sessions=max_sessions,
        actor=actor,
        call=call,
    )
    _rows.with_retries(f"Session {opening.opened.session_id}", opening.store)
    return opening.opened


def change_session(
    session: SessionHead | uuid.UUID,
    *,
    expected_version: int,
    patch: Patch,
    kind: str = "state.changed",
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
) -> Committed:
    """Change the session's state: one version and one event, or nothing (V1, V3).

    ``patch`` is an RFC 7396 merge patch of the state at ``expected_version``. ``kind`` says what happened, dotted and
    past tense (``cart.item_added``); ``note`` says why, in at most 1000 characters, sealed. Give ``session`` as the
    SessionHead that ``authenticate`` returned to save reading it again.

    Inside a transaction of the caller the change commits and rolls back with it.

    Raises VersionConflict (with what has changed since), SessionNotFound, SessionEnded, SessionExpired,
    SessionRevoked, SessionQuarantined, ContentErased, InvalidValue, PaymentDataRefused, LimitExceeded, SchemaUnknown,
    KeyProblem, SessionBusy.
    """
    check_kind(kind)
    check_patch(patch)
    if not isinstance(expected_version, int) or isinstance(expected_version, bool):
        raise InvalidValue("/expected_version", "Send the number of the version that the change is based on.")
    draft = Draft(kind, actor, call, patch=patch, expected_version=expected_version, private=sealed_note(note))
    return commit(session, draft)


def record_event(
    session: SessionHead | uuid.UUID, *, kind: str, actor: Actor = AGENT, call: Call = NO_CALL, note: str = ""
) -> Committed:
    """Record in the session's chain what changed no state: an audited read, a refusal, a decision (A1).

    Needs no expected version: whoever only adds is never refused because others did too.

    Raises what ``change_session`` raises, but VersionConflict.
    """
    check_kind(kind)
    return commit(session, Draft(kind, actor, call, private=sealed_note(note)))


def end_session(
    session: SessionHead | uuid.UUID,
    *,
    reason: EndReason = EndReason.DELETED,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
) -> Committed:
    """End the session and seal its artifact (L6). The token is dead from here on; the history stays readable.

    ``reason`` is COMPLETED, DELETED or REVOKED; expiry is not anyone's decision, see ``expire_session``; RENEWED and
    TRANSFERRED are for ``renew_session`` and ``accept_transfer``. Without ``expected_version`` the session ends at
    whatever version it has, paused or not.

    Raises what ``change_session`` raises; SessionExpired if the deadline came first.
    """
    if reason not in (EndReason.COMPLETED, EndReason.DELETED, EndReason.REVOKED):
        raise InvalidValue("/reason", "Send completed, deleted or revoked; for a deadline call expire_session.")
    reason = EndReason(reason)
    draft = Draft(ENDED, actor, call, patch={}, expected_version=expected_version, private=sealed_note(note))

    def end(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if head.held_by and actor.kind == "agent":
            raise SessionHeld(head.session_id, head.held_by)
        return _ended(now, reason, when_overdue=None if reason is EndReason.REVOKED else False)

    return _end(session, draft, end)


def end_for_successor(
    head: SessionHead,
    successor: uuid.UUID,
    *,
    reason: EndReason,
    actor: Actor,
    check: Callable[[SessionHead, datetime], None],
) -> Committed:
    """End a session in whose place another one goes on, in the transaction that stores that one.

    ``check`` raises if the session, as it stands then, may not be replaced. Its artifact is not sealed yet: that is not
    for a transaction. Raises what ``change_session`` raises.
    """

    def end(now_head: SessionHead, now: datetime) -> RowChange:
        require_live(now_head, now)
        check(now_head, now)
        return _ended(now, reason, when_overdue=False)

    call = Call(params={"successor": str(successor)})
    return _write_end(head, Draft(ENDED, actor, call, patch={}, expected_version=head.version), end)


def expire_session(session: SessionHead | uuid.UUID) -> Committed:
    """End a session whose deadline has passed, as of its deadline, and seal its artifact.

    Raises SessionEnded if it has ended, InvalidValue if the deadline has not passed.
    """

    def end(head: SessionHead, now: datetime) -> RowChange:
        if head.status not in LIVE:
            require_live(head, now)
        if not is_expired(now, head.expires_at):
            raise InvalidValue("/expires_at", f"The session is live until {head.expires_at.isoformat()}.")
        return _ended(head.expires_at, EndReason.EXPIRED, when_overdue=True)

    return _end(session, Draft(ENDED, SYSTEM, patch={}), end)


def _ended(ended_at: datetime, reason: EndReason, *, when_overdue: bool | None) -> RowChange:
    return RowChange(
        {"status": Status.ENDED.value, "ended_at": ended_at, "end_reason": reason.value},
        told={"ended_at": format_time(ended_at), "end_reason": reason.value},
        when_overdue=when_overdue,
    )


def _end(session: SessionHead | uuid.UUID, draft: Draft, end: Changing) -> Committed:
    made = _write_end(session, draft, end)
    try_to_seal(made.session_id)
    return made


def _write_end(session: SessionHead | uuid.UUID, draft: Draft, end: Changing) -> Committed:
    session_id = session.session_id if isinstance(session, SessionHead) else session

    def end_if_free(head: SessionHead, now: datetime) -> RowChange:
        ended = end(head, now)
        require_nothing_held(head.session_id)
        return ended

    try:
        return commit(session, draft, row=end_if_free)
    except StillHolding:
        with closing_damaged(session_id):
            return _rows.in_transaction(f"Session {session_id}", lambda: _release_and_end(session_id, draft, end))


def _release_and_end(session_id: uuid.UUID, draft: Draft, end: Changing) -> Committed:
    head = lock_head(session_id)
    ended = end(head, timezone.now())
    if draft.expected_version in (None, head.version):
        version = release_at_end(head, EndReason(str(ended.told["end_reason"])))
        draft = draft if draft.expected_version is None else replace(draft, expected_version=version)
    return commit(session_id, draft, row=end)
