"""How differences of what was decided, and of where paying stands, are told."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from agent_sessions.domain.leaves import Difference
from agent_sessions.domain.slices.decisions import ApprovalNote, Fallback, PaymentAttempt, PolicyApplied, Recommendation
from agent_sessions.domain.tellers.making import Change, Teller, entries, in_brackets, optional_money, saying, text
from agent_sessions.domain.text import clipped


def _payment(_key: str, payment: PaymentAttempt) -> tuple[str, str]:
    said = f"Payment {clipped(payment.method)} {payment.outcome}{in_brackets(payment.code)}"
    return payment.outcome, said + optional_money(payment.amount, payment.currency)


def _approval(_key: str, approval: ApprovalNote) -> tuple[str, str]:
    said = f"Approval {approval.status}{optional_money(approval.amount, approval.currency)}"
    return approval.status, said + in_brackets(approval.rule)


def _policy(key: str, policy: PolicyApplied) -> tuple[str, str]:
    verb = "allowed" if policy.result == "allow" else "denied"
    return verb, f"Policy {clipped(key)} {verb} {clipped(policy.capability) or 'the call'}"


def _policies(change: Change[PolicyApplied]) -> Iterator[Difference]:
    """Tell a policy that has said the same once more without the two times: when it was is on the event."""
    before, after = change.before, change.after
    if before is not None and after is not None and msgspec.structs.replace(before, at=after.at) == after:
        yield change.told("policy.changed", f"{_policy(change.key, after)[1]} again")
    else:
        yield from saying("policy", _policy)(change)


def _fallback(_key: str, fallback: Fallback) -> tuple[str, str]:
    outcome = f": {clipped(fallback.outcome)}" if fallback.outcome else ""
    said = f"Fallback {clipped(fallback.tried)}{outcome}{in_brackets(fallback.code)}"
    return "tried", said + _confidence(fallback.confidence)


def _recommendation(_key: str, recommendation: Recommendation) -> tuple[str, str]:
    reason = f": {clipped(recommendation.reason)}" if recommendation.reason else ""
    return "made", f"Recommended {clipped(recommendation.item)}{reason}{_confidence(recommendation.confidence)}"


def _confidence(confidence: int | UnsetType) -> str:
    return "" if confidence is UNSET else f", confidence {confidence}%"


DECISIONS: dict[str, Teller] = {
    "payments": entries(PaymentAttempt, saying("payment", _payment)),
    "approvals": entries(ApprovalNote, saying("approval", _approval)),
    "policies": entries(PolicyApplied, _policies),
    "fallbacks": entries(Fallback, saying("fallback", _fallback)),
    "recommendations": entries(Recommendation, saying("recommendation", _recommendation)),
}
CHECKOUT: dict[str, Teller] = {
    "approval": text("checkout.approval_changed", "Approval for this cart"),
    "handoff": text("checkout.handoff_changed", "Handoff for this cart"),
    "method": text("checkout.method_changed", "Payment method"),
}
