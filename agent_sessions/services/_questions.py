"""The question that an approval is: what it asks, of which cart, because of which policy, and how it is noted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import token_digest
from agent_sessions.domain.approvals import OPEN, ApprovalStatus, asked_id, is_open, settled
from agent_sessions.domain.calls import APPROVAL_REQUESTED, Call
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.shown_cart import amount_of, shown_cart
from agent_sessions.domain.state import SCHEMA_VERSION
from agent_sessions.exceptions import CartProblem
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, require_changeable
from agent_sessions.selectors._states import seal_document
from agent_sessions.selectors.approvals import body_place, stored_approvals
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.stock import held_for
from agent_sessions.services._commit import Committed, commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._policies import denial, session_facts
from agent_sessions.services._voiding import void_event
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.capabilities import NOTHING, Capability, CapabilityCall
from agent_sessions.store.cart import cart_fingerprint, cart_lines, repriced
from agent_sessions.store.offer import Offer
from agent_sessions.store.policies import Verdict, decide_after, decide_before
from agent_sessions.types import Patch, State


@dataclass(frozen=True, slots=True)
class Question:
    """An approval ready to be stored: what it asks, and of which state."""

    head: SessionHead
    actor: Actor
    before: State
    after: State
    row: Approval
    reason: str
    expected_version: int

    def store(self, token: str) -> Committed:
        """Write the question, whose link has ``token``; the one that is open is void. In the caller's transaction."""
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
        row.token_digest = token_digest(token)
        row.save(force_insert=True, using=_rows.write_connection().alias)
        return made


def make_question(
    head: SessionHead,
    capability: Capability,
    offered: Offer,
    *,
    reason: str,
    expected_version: int | None,
    ctx: StoreContext,
    actor: Actor,
) -> Question:
    """Price the cart, find the policy that asks, and make the question; nothing is written yet.

    Raises what ``request_approval`` raises.
    """
    now = max(timezone.now(), head.updated_at)
    require_changeable(head, actor, now)
    if expected_version not in (None, head.version):
        raise conflict_with(head, expected_version)
    before = current_state(head).state
    params = {name: one.default for name, one in capability.params.items() if one.default is not NOTHING}
    ctx = replace(ctx, consumer=head.consumer)
    call = CapabilityCall(capability, params, offered.store, ctx, session_facts(head), before, now, held_for(head))
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
        # An older state is first brought to this installation's schema, as a version of its own.
        version=head.version + (1 if head.schema == SCHEMA_VERSION else 2),
        fingerprint=cart_fingerprint(priced),
        amount=amount[0],
        currency=amount[1],
        body=seal_document(head.data_keys(), head.session_id, body_place(approval_id), 0, {"reason": reason}),
        requested_at=now,
        expires_at=expires_at,
    )
    _require_helpful(offered, call, apply_patch(priced, _noted(row, reason, ApprovalStatus.GRANTED)))
    after = apply_patch(priced, _noted(row, reason, ApprovalStatus.PENDING))
    if is_open(before, asked_id(before)):
        gone = settled(asked_id(before), ApprovalStatus.VOID, keep=True)
        after = apply_patch(after, gone)
    return Question(head, actor, before, after, row, reason, head.version)


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


def _noted(row: Approval, reason: str, status: ApprovalStatus) -> Patch:
    """Return the patch that notes the question in the state (S2, S5)."""
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
    patch: Patch = {
        "checkout": {"approval": str(row.pk)},
        "decisions": {"approvals": {str(row.pk): note}},
        "recovery": {"interventions": {str(row.pk): {"kind": "approval", "since": format_time(row.requested_at)}}},
    }
    return with_policy(patch, row.rule, "deny", row.capability, row.requested_at) if row.rule else patch


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


def with_policy(patch: Patch, rule: str, result: str, capability: str, at: datetime) -> Patch:
    """Add to a patch of the decisions what a policy has said (S2)."""
    decisions = patch.get("decisions")
    noted: Patch = {rule: {"result": result, "capability": capability, "at": format_time(at)}}
    return {**patch, "decisions": {**(decisions if isinstance(decisions, dict) else {}), "policies": noted}}


def _milliseconds(since: datetime, until: datetime) -> int:
    return max(0, int((until - since).total_seconds() * 1000))
