"""Another agent takes a session over, because the consumer allows it (T4).

A person grants it: a code, for one use, within minutes. Whoever brings the code gets a session of its own that goes on
from the first one, and the first one, with its token, is over.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import Actor, Agent, may_decide
from agent_sessions.domain.lifecycle import EndReason, Origin
from agent_sessions.domain.succession import carried_on
from agent_sessions.exceptions import (
    ActorRefused,
    SessionEnded,
    SessionHeld,
    SessionQuarantined,
    TransferRefused,
)
from agent_sessions.models import TransferGrant
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, lock_head, read_head, require_live
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import Changing, Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._opening import OpenedSession, prepare_from
from agent_sessions.services._write import RowChange
from agent_sessions.services.artifacts import try_to_seal
from agent_sessions.services.holds import with_holds
from agent_sessions.services.succession import put_in_place, require_no_step_running, until_not_overtaken

GRANTED = "transfer.granted"


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission to take a session over: the code, which is shown this once, and until when (UTC) it is good."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Transferred:
    """The session that an agent has taken over: its own now, and the one that it goes on from."""

    opened: OpenedSession
    predecessor: uuid.UUID


def grant_transfer(session: SessionHead | uuid.UUID, *, actor: Actor, call: Call = NO_CALL) -> Grant:
    """Allow that another agent takes the session over, once, within the setting TRANSFER_GRANT_TTL (T4).

    Call it where the consumer is signed in, or for staff. It replaces an earlier grant of the session that is open.
    While a person has the session, only they grant it, and any of the staff.

    Raises ActorRefused for an agent; SessionHeld; what ``record_event`` raises.
    """
    if not actor.is_person:
        raise ActorRefused
    session_id = id_of(session)
    code = secrets.token_urlsafe(32)

    def allow(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if head.held_by and not may_decide(head.held_by, actor):
            raise SessionHeld(head.session_id, head.held_by)
        return RowChange({}, told={"expires_at": format_time(now + settings.transfer_grant_ttl)})

    def grant() -> Grant:
        made = commit(lock_head(session_id), Draft(GRANTED, actor, call), row=allow)
        expires_at = made.created_at + settings.transfer_grant_ttl
        withdraw_grants(session_id)
        _grants().create(
            session_id=session_id,
            token_digest=token_digest(code),
            granted_by=str(actor),
            created_at=made.created_at,
            expires_at=expires_at,
        )
        return Grant(code, expires_at)

    return _rows.in_transaction(f"Session {session_id}", grant)


def accept_transfer(
    code: str,
    *,
    agent: Agent,
    consumer: str = "",
    caller: str = "",
    bound_to: str = "",
    max_sessions: int = 0,
    call: Call = NO_CALL,
) -> Transferred:
    """Take over the session that ``code`` was granted for: the same state, consumer, scope and deadline (T4).

    The predecessor ends in the same transaction, so that of two agents with one code one gets the session, and no
    change of the first agent is lost or comes after. Paused or with a person, the session is the new agent's to go on
    with: a person has said so. What is held for the session stays held; approvals and a link that a human has are not
    carried over. With ``consumer``, a pseudonym that was proved, the session has to be that consumer's. The rest is as
    in ``open_session``.

    Raises TransferRefused whatever is wrong with the code or its session, StepRefused while a step of it runs,
    TooManySessions, InvalidValue, VersionConflict if eight attempts in a row were overtaken; then the code is still
    good. KeyProblem, SessionBusy.
    """
    grant = _open_grants().filter(token_digest=token_digest(code), expires_at__gt=timezone.now()).first()
    if grant is None:
        raise TransferRefused
    granted_by = Actor.parse(grant.granted_by)

    def check(head: SessionHead, now: datetime) -> None:
        require_live(head, now)
        if (head.held_by and not may_decide(head.held_by, granted_by)) or (consumer and consumer != head.consumer):
            raise TransferRefused

    def use_grant() -> None:
        now = timezone.now()
        if not _open_grants().filter(pk=grant.pk, expires_at__gt=now).update(used_at=now):
            raise TransferRefused

    def attempt() -> Transferred:
        head = read_head(grant.session_id)
        check(head, timezone.now())
        state = current_state(head).state
        require_no_step_running(state)
        opening = prepare_from(
            head,
            Origin.TRANSFER,
            with_holds(carried_on(state), head.session_id),
            version=head.version,
            agent=agent,
            until=head.expires_at,
            caller=caller,
            bound_to=bound_to,
            max_sessions=max_sessions,
            call=call,
        )
        put_in_place(head, opening, reason=EndReason.TRANSFERRED, actor=granted_by, check=check, also=use_grant)
        return Transferred(opening.opened, head.session_id)

    try:
        transferred = until_not_overtaken(attempt)
    except (SessionEnded, SessionQuarantined):
        raise TransferRefused from None
    try_to_seal(transferred.predecessor)
    return transferred


def commit_withdrawing(session: SessionHead | uuid.UUID, draft: Draft, row: Changing) -> Committed:
    """Commit what keeps the agent from going on; done by a person, it also withdraws a grant to take over.

    Raises what ``commit`` raises.
    """
    if not draft.actor.is_person:
        return commit(session, draft, row=row)
    session_id = id_of(session)

    def act() -> Committed:
        made = commit(lock_head(session_id), draft, row=row)
        withdraw_grants(session_id)
        return made

    return _rows.in_transaction(f"Session {session_id}", act)


def withdraw_grants(session_id: uuid.UUID) -> None:
    """Take back what was granted and not used. In the transaction that has the session's lock."""
    _open_grants().filter(session_id=session_id).delete()


def _open_grants() -> QuerySet[TransferGrant]:
    return _grants().filter(used_at__isnull=True)


def _grants() -> QuerySet[TransferGrant]:
    return TransferGrant.objects.using(_rows.write_connection().alias)
