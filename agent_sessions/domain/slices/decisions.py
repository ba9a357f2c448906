"""The slices ``decisions`` and ``checkout``: what was decided, by whom, and where paying stands (S2)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.fields import (
    Amount,
    Currency,
    Entry,
    FreeMap,
    LastFour,
    Name,
    Ordinal,
    Percentage,
    Slice,
    Text,
    Time,
    check_money,
)

PaymentOutcome: TypeAlias = Literal["started", "succeeded", "declined", "failed", "unknown", "cancelled"]
ApprovalStatus: TypeAlias = Literal["pending", "granted", "rejected", "escalated", "expired", "void", "used"]
PolicyResult: TypeAlias = Literal["allow", "deny"]


class PaymentAttempt(Entry, frozen=True):
    """One attempt to pay; ``code`` is why it was declined or failed, ``provider_ref`` the provider's own id of it.

    Of a card nothing is kept but its brand and last four digits (S8).
    """

    method: Name
    outcome: PaymentOutcome
    code: Text = ""
    amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    attempted_at: Time | UnsetType = UNSET
    ended_at: Time | UnsetType = UNSET
    provider_ref: Text = ""
    brand: Text = ""
    last4: LastFour | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_money(self.amount, self.currency)


class ApprovalNote(Entry, frozen=True):
    """What became of a question to a human, keyed by the approval's id.

    ``capability`` is what the agent wants to call, ``rule`` the policy that asked, ``reason`` why the agent paused,
    ``version`` that of the cart in question.
    """

    status: ApprovalStatus
    capability: Text = ""
    rule: Text = ""
    reason: Text = ""
    amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    version: Ordinal | UnsetType = UNSET
    requested_at: Time | UnsetType = UNSET
    expires_at: Time | UnsetType = UNSET
    decided_at: Time | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_money(self.amount, self.currency)


class PolicyApplied(Entry, frozen=True):
    """What a policy last said, keyed by its rule, and about which capability."""

    result: PolicyResult
    capability: Text = ""
    at: Time | UnsetType = UNSET


class Fallback(Entry, frozen=True):
    """What the agent tried when its first way failed, how that went, and how sure it was (percent)."""

    tried: Name
    outcome: Text = ""
    code: Text = ""
    confidence: Percentage | UnsetType = UNSET
    at: Time | UnsetType = UNSET


class Recommendation(Entry, frozen=True):
    """An item that the agent recommended, why, and how sure it was (percent)."""

    item: Name
    reason: Text = ""
    confidence: Percentage | UnsetType = UNSET
    at: Time | UnsetType = UNSET


class Decisions(Slice, frozen=True):
    """What was tried and decided (S2); policies are keyed by rule, everything else by an id of its own."""

    payments: dict[str, PaymentAttempt] = {}
    approvals: dict[str, ApprovalNote] = {}
    policies: dict[str, PolicyApplied] = {}
    fallbacks: dict[str, Fallback] = {}
    recommendations: dict[str, Recommendation] = {}


class Checkout(Slice, frozen=True):
    """Where paying stands.

    ``approval`` is the id of the approval that was asked for the cart as it is, whatever came of it, until it is used;
    ``handoff`` that of the link that a human has, ``method`` the chosen payment method.
    """

    approval: Text = ""
    handoff: Text = ""
    method: Text = ""
    extra: FreeMap = {}
