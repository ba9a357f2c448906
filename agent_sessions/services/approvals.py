"""Asking a human before an agent goes on, and using their yes: for the cart as it was shown, once, in time (L5).

An approval is asked for what hands the cart over, such as ``checkout``. The answer is in ``services.answers``.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.urls import reverse
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.domain.approvals import ApprovalStatus, asked, refusal_of, settled
from agent_sessions.domain.calls import APPROVAL_USED, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import (
    ApprovalClosed,
    ApprovalExpired,
    InvalidValue,
    PolicyDenied,
    VersionConflict,
)
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.approvals import stored_approvals
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._policies import record_denial
from agent_sessions.services._questions import Question, make_question, public_facts, time_facts, with_policy
from agent_sessions.services._texts import MAX_NOTE, check_text
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.cart import cart_fingerprint
from agent_sessions.store.offer import offer
from agent_sessions.types import State

_ATTEMPTS = 8
_NOBODY = StoreContext()


@dataclass(frozen=True, slots=True)
class Requested:
    """An approval that was asked for.

    ``url`` is for the human who is asked, and is shown this once. ``version`` is the session's, with the cart that the
    human sees; ``amount`` is in minor units, ``expires_at`` UTC. ``rule`` is the policy that asked, if one did.
    """

    approval_id: uuid.UUID
    capability: str
    url: str
    version: int
    amount: int
    currency: str
    rule: str
    requested_at: datetime
    expires_at: datetime


def request_approval(
    session: SessionHead | uuid.UUID,
    *,
    reason: str,
    capability: str = "checkout",
    expected_version: int | None = None,
    ctx: StoreContext = _NOBODY,
    actor: Actor = AGENT,
    writing: Writing[Requested] = as_it_is,
) -> Requested:
    """Ask a human whether the agent may go on with the cart as it is; return the link for them (L5).

    ``reason`` is why the agent paused, 1 to 1000 characters, sealed; ``capability`` what it wants to call: one that
    hands the cart over. The store is asked for prices once more first, so that the human sees what the cart costs now.
    There is time for the setting TTL ``approval``, and no longer than the session. A session has one approval at a
    time: asking again voids the one before. ``writing`` is as in ``call_capability``.

    Raises InvalidValue, CartProblem and ItemNotFound (an empty cart, or one that the store will not sell), PolicyDenied
    (a rule forbids it whatever a human says), NoStore, VersionConflict, and what ``change_session`` raises.
    """
    check_text("/reason", reason, MAX_NOTE)
    if not reason.strip():
        raise InvalidValue("/reason", f"Say in 1 to {MAX_NOTE} characters why a person is asked.")
    offered = offer()
    named = next((one for one in offered.capabilities if one.name == capability and one.human_handoff), None)
    if named is None:
        names = ", ".join(one.name for one in offered.capabilities if one.human_handoff)
        raise InvalidValue("/capability", f"Send what hands the cart to a human: {names or 'this site has nothing'}.")
    head = session if isinstance(session, SessionHead) else read_head(session)
    for number in range(_ATTEMPTS):
        try:
            question = make_question(
                head, named, offered, reason=reason, expected_version=expected_version, ctx=ctx, actor=actor
            )
            return writing(partial(_ask, question))
        except PolicyDenied as refused:
            record_denial(head, refused, capability=capability)
            raise
        except VersionConflict:
            if expected_version is not None or number == _ATTEMPTS - 1:
                raise
            head = read_head(head.session_id)
    raise AssertionError  # the last round returns or raises


def use_approval(session: SessionHead, state: State, *, capability: str, version: int) -> int:
    """Use the approval that was asked for the cart that is handed over; return the version that this made.

    Call it in the transaction that hands over, after the change that made ``version``: the session's row is locked
    then. ``state`` is the one before that change. If none was asked for, nothing is done and ``version`` is returned.

    Raises ApprovalWaiting, ApprovalExpired and ApprovalClosed: a human who was asked has not said yes to this cart.
    """
    now = timezone.now()
    found = asked(state, now)
    if found is None or found.capability != capability:
        return version
    if found.status is not ApprovalStatus.GRANTED:
        raise refusal_of(found)
    row = _granted(session.session_id, found.id)
    head = read_head(session.session_id)
    if cart_fingerprint(current_state(head).state) != row.fingerprint:
        raise ApprovalClosed(found.id, ApprovalStatus.VOID.value)
    if now >= row.expires_at:
        raise ApprovalExpired(found.id)
    patch = settled(found.id, ApprovalStatus.USED)
    if row.rule:
        patch = with_policy(patch, row.rule, "allow", capability, now)
    call = Call(capability, params={**public_facts(row), **time_facts(row)}, policy_rule=row.rule)
    made = commit(head, Draft(APPROVAL_USED, AGENT, call, patch=patch, expected_version=version))
    granted = stored_approvals().filter(pk=row.pk, status=ApprovalStatus.GRANTED.value)
    if not granted.update(status=ApprovalStatus.USED.value, used_at=now):
        raise ApprovalClosed(found.id, ApprovalStatus.USED.value)
    return made.version


def _ask(question: Question) -> Requested:
    row, token = question.row, secrets.token_urlsafe(32)
    made = _rows.in_transaction(f"Session {row.session_id}", lambda: question.store(token))
    url = settings.site + reverse("agent_sessions:approve", args=[token])
    return Requested(
        row.pk,
        row.capability,
        url,
        made.version,
        row.amount,
        row.currency,
        row.rule,
        row.requested_at,
        row.expires_at,
    )


def _granted(session_id: uuid.UUID, approval_id: str) -> Approval:
    """Return the row of the approval that the state says is granted, if it is so and of this session."""
    try:
        row = stored_approvals().filter(pk=uuid.UUID(approval_id), session_id=session_id).first()
    except ValueError:
        row = None
    if row is None:  # it was granted to another session: this one came from it
        raise ApprovalClosed(approval_id, ApprovalStatus.VOID.value)
    if row.status == ApprovalStatus.EXPIRED:
        raise ApprovalExpired(approval_id)
    if row.status != ApprovalStatus.GRANTED:
        raise ApprovalClosed(approval_id, row.status)
    return row
