"""Asking a human before an agent goes on, and using their yes: for the cart as it was shown, once, in time (L5).

An approval is asked for what hands the cart over, such as ``checkout``. The answer is in ``services.answers``.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.approvals import OPEN, ApprovalStatus, asked, asked_id, is_open, refusal_of, settled
from agent_sessions.domain.calls import APPROVAL_REQUESTED, APPROVAL_USED, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.shown_cart import amount_of, shown_cart
from agent_sessions.exceptions import (
    ApprovalClosed,
    ApprovalExpired,
    CartProblem,
    InvalidValue,
    VersionConflict,
)
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_changeable
from agent_sessions.selectors._states import seal_document
from agent_sessions.selectors.approvals import body_place, stored_approvals
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._policies import denial, session_facts
from agent_sessions.services._texts import MAX_NOTE, check_text
from agent_sessions.services._voiding import void_event
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.capabilities import NOTHING, Capability, CapabilityCall
from agent_sessions.store.cart import cart_fingerprint, cart_lines, repriced
from agent_sessions.store.offer import Offer, offer
from agent_sessions.store.policies import Verdict, decide_after, decide_before
from agent_sessions.types import Patch, State

_ATTEMPTS = 8
_NOBODY = StoreContext()


@dataclass(frozen=True, slots=True)
class Requested:
    """An approval that was asked for.

    ``url`` is for the human who is asked, and is shown this once. ``version`` is the session's, with the cart that the
    human sees; ``amount`` is in minor units, ``expires_at`` UTC. ``rule`` is the policy that asked, if one did.
    """

    approval_id: uuid.UUID
    url: str
    version: int
    amount: int
    currency: str
    rule: str
    requested_at: datetime
    expires_at: datetime


Writing = Callable[[Callable[[], Requested]], Requested]


def _as_it_is(write: Callable[[], Requested]) -> Requested:
    return write()


def request_approval(
    session: SessionHead | uuid.UUID,
    *,
    reason: str,
    capability: str = "checkout",
    expected_version: int | None = None,
    ctx: StoreContext = _NOBODY,
    actor: Actor = AGENT,
    writing: Writing = _as_it_is,
) -> Requested:
    """Ask a human whether the agent may go on with the cart as it is; return the link for them (L5).

    ``reason`` is why the agent paused, 1 to 1000 characters, sealed; ``capability`` what it wants to call: one that hands
    the cart over. The store is asked for prices once more first, so that the human sees what the cart costs now. There is
    time for the setting TTL ``approval``, and no longer than the session. A session has one approval at a time: asking
    again voids the one before. ``writing`` is as in ``call_capability``.

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
            question = _question(head, reason, named, offered, expected_version, ctx, actor)
            return writing(lambda: question.store())  # noqa: B023 - it is called at once
        except VersionConflict:
            if expected_version is not None or number == _ATTEMPTS - 1:
                raise
            head = read_head(head.session_id)
    raise AssertionError  # the last round returns or raises


def use_approval(session: SessionHead, state: State, *, capability: str, version: int) -> int:
    """Use the approval that was asked for the cart that is handed over; return the version that this made.

    Call it in the transaction that hands over, after the change that made ``version``: the session's row is locked then.
    ``state`` is the one before that change. If none was asked for, nothing is done and ``version`` is returned.

    Raises ApprovalWaiting, ApprovalExpired and ApprovalClosed: a human who was asked has not said yes to this very cart.
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
        patch = apply_policy(patch, row.rule, "allow", capability, now)
    call = Call(capability, params={**public_facts(row), **time_facts(row)}, policy_rule=row.rule)
    made = commit(head, Draft(APPROVAL_USED, AGENT, call, patch=patch, expected_version=version))
    granted = stored_approvals().filter(pk=row.pk, status=ApprovalStatus.GRANTED.value)
    if not granted.update(status=ApprovalStatus.USED.value, used_at=now):
        raise ApprovalClosed(found.id, ApprovalStatus.USED.value)
    return made.version


def public_facts(row: Approval) -> dict[str, str | int]:
    """Return what every event of an approval says of it in the clear."""
    facts: dict[str, str | int] = {"approval": str(row.pk), "amount": row.amount, "currency": row.currency}
    return {**facts, "version": row.version, **({"rule": row.rule} if row.rule else {})}


def time_facts(row: Approval, decided_at: datetime | None = None) -> dict[str, int]:
    """Return how long the human had, and took from first seeing it (or from the request), in milliseconds (A2)."""
    decided_at = decided_at or row.decided_at
    facts = {"had_ms": _milliseconds(row.requested_at, row.expires_at)}
    if decided_at is not None:
        facts["took_ms"] = _milliseconds(row.opened_at or row.requested_at, decided_at)
    return facts


def apply_policy(patch: Patch, rule: str, result: str, capability: str, at: datetime) -> Patch:
    """Add to a patch of the decisions what a policy has said (S2)."""
    decisions = patch.get("decisions")
    noted: Patch = {rule: {"result": result, "capability": capability, "at": format_time(at)}}
    return {**patch, "decisions": {**(decisions if isinstance(decisions, dict) else {}), "policies": noted}}


@dataclass(frozen=True, slots=True)
class _Question:
    """An approval ready to be stored: what it asks, and of which state."""

    head: SessionHead
    actor: Actor
    before: State
    after: State
    row: Approval
    reason: str
    expected_version: int

    def store(self) -> Requested:
        return _rows.in_transaction(f"Session {self.head.session_id}", self._store)

    def _store(self) -> Requested:
        row, head = self.row, self.head
        call = Call(row.capability, params={**public_facts(row), **time_facts(row)}, policy_rule=row.rule)
        made = commit(
            head,
            Draft(
                APPROVAL_REQUESTED,
                self.actor,
                call,
                patch=diff(self.before, self.after),
                expected_version=self.expected_version,
                private={"reason": self.reason},
            ),
        )
        stored_approvals().filter(session_id=head.session_id, status__in=OPEN).update(status=ApprovalStatus.VOID.value)
        if is_open(self.before, asked_id(self.before)):
            commit(head.session_id, void_event(self.before, asked_id(self.before), "replaced"))
        # Made in here, because the whole is repeated where the database asks for that.
        token = secrets.token_urlsafe(32)
        row.token_digest = token_digest(token)
        row.save(force_insert=True, using=_rows.write_connection().alias)
        return Requested(
            row.pk,
            settings.site + reverse("agent_sessions:approve", args=[token]),
            made.version,
            row.amount,
            row.currency,
            row.rule,
            row.requested_at,
            row.expires_at,
        )


def _question(
    head: SessionHead,
    reason: str,
    capability: Capability,
    offered: Offer,
    expected_version: int | None,
    ctx: StoreContext,
    actor: Actor,
) -> _Question:
    """Price the cart, find the policy that asks, and make the question; nothing is written yet."""
    now = max(timezone.now(), head.updated_at)
    require_changeable(head, actor, now)
    if expected_version not in (None, head.version):
        raise conflict_with(head, expected_version)
    before = current_state(head).state
    params = {name: one.default for name, one in capability.params.items() if one.default is not NOTHING}
    ctx = replace(ctx, consumer=head.consumer)
    call = CapabilityCall(capability, params, offered.store, ctx, session_facts(head), before, now)
    if not cart_lines(before):
        raise CartProblem("The cart is empty. Put something into it before you ask a person about it.")
    priced = before if offered.store is None else apply_patch(before, repriced(call, about=None))
    amount = amount_of(shown_cart(priced))
    if amount is None:
        raise CartProblem("Nobody has said what this cart costs, so a person cannot be asked about it.")
    approval_id, expires_at = new_id(), min(now + settings.approval_ttl, head.expires_at)
    call = replace(call, state=priced)
    asking = _objection(offered, call)
    rule = "" if asking is None else asking.rule
    row = Approval(
        id=approval_id,
        session_id=head.session_id,
        capability=capability.name,
        rule=rule,
        version=head.version + 1,
        fingerprint=cart_fingerprint(priced),
        amount=amount[0],
        currency=amount[1],
        body=seal_document(head.data_key(), head.session_id, body_place(approval_id), 0, {"reason": reason}),
        requested_at=now,
        expires_at=expires_at,
    )
    _require_helpful(offered, call, apply_patch(priced, _noted(row, reason, ApprovalStatus.GRANTED)))
    after = apply_patch(priced, _noted(row, reason, ApprovalStatus.PENDING, replaced=before))
    return _Question(head, actor, before, after, row, reason, head.version)


def _objection(offered: Offer, call: CapabilityCall) -> Verdict | None:
    """Return what the policies have against the call on its own state, None if nothing."""
    verdict = decide_before(offered.policies, call)
    if verdict.allowed:
        later = decide_after(offered.policies, call, call.state)
        return None if later is None or later.allowed else later
    return verdict


def _require_helpful(offered: Offer, call: CapabilityCall, granted: State) -> None:
    """Refuse to ask a human where their yes would not help: another rule stands in the way as well."""
    objection = _objection(offered, replace(call, state=granted))
    if objection is not None:
        raise denial(objection, call)


def _noted(row: Approval, reason: str, status: ApprovalStatus, *, replaced: State | None = None) -> Patch:
    """Return the patch that notes the question in the state; the one of ``replaced`` that is still open is void."""
    note: Patch = {
        "status": status.value,
        "capability": row.capability,
        "reason": reason,
        "amount": row.amount,
        "currency": row.currency,
        "version": row.version,
        "requested_at": format_time(row.requested_at),
        "expires_at": format_time(row.expires_at),
    }
    if row.rule:
        note["rule"] = row.rule
    notes: Patch = {str(row.pk): note}
    if replaced is not None and is_open(replaced, asked_id(replaced)):
        notes[asked_id(replaced)] = {"status": ApprovalStatus.VOID.value}
    patch: Patch = {"checkout": {"approval": str(row.pk)}, "decisions": {"approvals": notes}}
    return apply_policy(patch, row.rule, "deny", row.capability, row.requested_at) if row.rule else patch


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


def _milliseconds(since: datetime, until: datetime) -> int:
    return max(0, int((until - since).total_seconds() * 1000))
