"""How decisions, holds, steps, facts and customers are told (S2, S4, S5, S6, X1, X3)."""

from __future__ import annotations

import json

import pytest

from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import SLICES, check_whole

NOON = "2026-05-01T12:00:00Z"
SOON = "2026-05-01T16:32:10+02:00"
STATE = {
    "customer": {
        "preferences": {"colour": "blue"},
        "loyalty": {"points": 120},
        "addresses": {"a1": {"label": "Home", "country": "DE"}},
        "extra": {"language": "de"},
    },
    "conversation": {"files": {"f": "Photo"}},
    "decisions": {
        "payments": {"p": {"method": "card", "outcome": "started", "amount": 2490, "currency": "EUR"}},
        "approvals": {"a": {"status": "pending", "amount": 12000, "currency": "EUR", "rule": "spend_over"}},
        "policies": {"scope": {"result": "allow", "capability": "cart.add", "at": NOON}},
        "fallbacks": {"f": {"tried": "paypal", "confidence": 80}},
        "recommendations": {"r": {"item": "MUG-1"}},
    },
    "checkout": {"method": "card", "handoff": "h1", "extra": {"split": 1}},
    "inventory": {
        "holds": {"h": {"item": "MUG-1", "quantity": 2, "held_at": NOON, "until": SOON}},
        "stock": {"MUG-1": {"available": 2, "at": NOON}},
    },
    "recovery": {
        "steps": {"payment": {"outcome": "started", "method": "card"}},
        "next": "payment",
        "retry": {"rule": "backoff", "step": "payment", "attempts_left": 2},
        "endpoints": {"payments": {"failures": 1}},
        "interventions": {"i": {"kind": "approval", "since": NOON, "reason": "Too much"}},
    },
    "facts": {"known": {"returns": {"value": "30 days", "source": "erp", "fetched_at": NOON}}},
    "stale": {"parts": {"item:MUG-1": {"kind": "item", "ref": "MUG-1", "what": "price", "since": NOON}}},
}


def only(patch) -> Difference:
    after = apply_patch(STATE, patch)
    (difference,) = describe(STATE, after)
    assert describe(STATE, json.loads(json.dumps(after))) == (difference,)  # whether or not the two share
    return difference


def decided(**fields) -> dict:
    return {"decisions": fields}


def payment(**fields) -> dict:
    return decided(payments={"p": fields})


def approval(**fields) -> dict:
    return decided(approvals={"a": fields})


def hold(**fields) -> dict:
    return {"inventory": {"holds": {"h": fields}}}


def recovery(**fields) -> dict:
    return {"recovery": fields}


def step(**fields) -> dict:
    return recovery(steps={"payment": fields})


def stale(**parts) -> dict:
    return {"stale": {"parts": parts}}


SAID = [
    # Decisions
    (
        decided(payments={"q": {"method": "card", "outcome": "declined", "code": "insufficient_funds"}}),
        "payment.declined",
        "/decisions/payments/q",
        "Payment card declined (insufficient_funds)",
    ),
    (
        payment(outcome="succeeded", brand="visa", last4="4242"),
        "payment.succeeded",
        "/decisions/payments/p",
        "Payment card succeeded: 24.90 EUR",
    ),
    (
        payment(amount=2590),
        "payment.changed",
        "/decisions/payments/p",
        "Payment card started: 24.90 EUR → Payment card started: 25.90 EUR",
    ),
    (
        payment(provider_ref="pi_1"),
        "payment.changed",
        "/decisions/payments/p",
        "Payment card started: 24.90 EUR: provider_ref set to “pi_1”",
    ),
    (
        decided(payments={"p": None}),
        "payment.removed",
        "/decisions/payments/p",
        "Removed: Payment card started: 24.90 EUR",
    ),
    (
        approval(status="granted", rule=None),
        "approval.granted",
        "/decisions/approvals/a",
        "Approval granted: 120.00 EUR",
    ),
    (
        approval(status="expired"),
        "approval.expired",
        "/decisions/approvals/a",
        "Approval expired: 120.00 EUR (spend_over)",
    ),
    (
        decided(approvals={"b": {"status": "void"}}),
        "approval.void",
        "/decisions/approvals/b",
        "Approval void",
    ),
    (
        decided(policies={"spend_cap": {"result": "deny"}}),
        "policy.denied",
        "/decisions/policies/spend_cap",
        "Policy spend_cap denied the call",
    ),
    (
        decided(policies={"scope": {"capability": "checkout"}}),
        "policy.changed",
        "/decisions/policies/scope",
        "Policy scope allowed cart.add → Policy scope allowed checkout",
    ),
    (
        decided(policies={"scope": {"at": SOON}}),
        "policy.changed",
        "/decisions/policies/scope",
        "Policy scope allowed cart.add again",
    ),
    (
        decided(fallbacks={"g": {"tried": "paypal", "outcome": "failed", "code": "timeout", "confidence": 0}}),
        "fallback.tried",
        "/decisions/fallbacks/g",
        "Fallback paypal: failed (timeout), confidence 0%",
    ),
    (
        decided(recommendations={"s": {"item": "TENT-9", "reason": "Fits four", "confidence": 90}}),
        "recommendation.made",
        "/decisions/recommendations/s",
        "Recommended TENT-9: Fits four, confidence 90%",
    ),
    # Checkout
    ({"checkout": {"method": "paypal"}}, "checkout.method_changed", "/checkout/method", None),
    (
        {"checkout": {"approval": "a"}},
        "checkout.approval_changed",
        "/checkout/approval",
        "Approval for this cart set to “a”",
    ),
    (
        {"checkout": {"handoff": None}},
        "checkout.handoff_changed",
        "/checkout/handoff",
        "Handoff for this cart removed (was “h1”)",
    ),
    ({"checkout": {"extra": {"split": 2}}}, "changed", "/checkout/extra/split", "checkout/extra/split: 1 → 2"),
    # Inventory
    (
        {"inventory": {"holds": {"i": {"item": "MUG-1", "quantity": 2, "held_at": NOON, "until": SOON}}}},
        "hold.held",
        "/inventory/holds/i",
        "Holding 2 × MUG-1 until 14:32 UTC",
    ),
    (
        hold(until="2026-05-02T00:10:00Z"),
        "hold.changed",
        "/inventory/holds/h",
        "Holding 2 × MUG-1 until 14:32 UTC → Holding 2 × MUG-1 until 2026-05-02 00:10 UTC",
    ),
    (
        hold(released_at="2026-05-01T12:07:00Z"),
        "hold.released",
        "/inventory/holds/h",
        "Released 2 × MUG-1 at 12:07 UTC",
    ),
    (
        {"inventory": {"stock": {"MUG-1": {"available": 1, "at": SOON}}}},
        "stock.changed",
        "/inventory/stock/MUG-1",
        "MUG-1: 2 free at 2026-05-01 12:00 UTC → MUG-1: 1 free at 2026-05-01 14:32 UTC",
    ),
    # Recovery
    (
        step(outcome="failed", code="card_declined", attempt=2),
        "step.failed",
        "/recovery/steps/payment",
        "Step payment failed (card_declined), attempt 2",
    ),
    (
        step(tried={"card": "declined"}),
        "step.changed",
        "/recovery/steps/payment",
        "Step payment started: tried/card set to “declined”",
    ),
    (recovery(next="delivery"), "next_step.changed", "/recovery/next", "Next step: “payment” → “delivery”"),
    (
        recovery(retry={"attempts_left": 1, "not_before": SOON}),
        "retry.changed",
        "/recovery/retry",
        "Retry rule backoff for step payment, 2 left"
        " → Retry rule backoff for step payment, 1 left, not before 2026-05-01 14:32 UTC",
    ),
    (
        recovery(endpoints={"erp": {"failures": 3, "code": "timeout", "last_at": NOON}}),
        "endpoint.failed",
        "/recovery/endpoints/erp",
        "Endpoint erp failed 3 times (timeout), last at 2026-05-01 12:00 UTC",
    ),
    (
        recovery(endpoints={"payments": None}),
        "endpoint.removed",
        "/recovery/endpoints/payments",
        "Removed: Endpoint payments failed once",
    ),
    (
        recovery(interventions={"j": {"kind": "address", "since": NOON}}),
        "intervention.pending",
        "/recovery/interventions/j",
        "A human is needed: address since 2026-05-01 12:00 UTC",
    ),
    (
        recovery(interventions={"i": None}),
        "intervention.ended",
        "/recovery/interventions/i",
        "A human is no longer needed: approval (Too much)",
    ),
    # Facts and what is stale
    (
        {"facts": {"known": {"stock_policy": {"value": [1], "source": "erp", "fetched_at": NOON}}}},
        "fact.learned",
        "/facts/known/stock_policy",
        "Learned stock_policy from erp",
    ),
    (
        {"facts": {"known": {"returns": {"value": "14 days"}}}},
        "fact.changed",
        "/facts/known/returns",
        "Learned returns from erp: value: “30 days” → “14 days”",
    ),
    (
        stale(**{"voucher:X": {"kind": "voucher", "ref": "X", "since": NOON}}),
        "stale.marked",
        "/stale/parts/voucher:X",
        "Stale: voucher X since 2026-05-01 12:00 UTC",
    ),
    (
        stale(**{"item:MUG-1": {"what": "stock"}}),
        "stale.changed",
        "/stale/parts/item:MUG-1",
        "Stale: item MUG-1 (price) since 2026-05-01 12:00 UTC → Stale: item MUG-1 (stock) since 2026-05-01 12:00 UTC",
    ),
    ({"stale": None}, "stale.cleared", "/stale/parts/item:MUG-1", "No longer stale: item MUG-1 (price)"),
    # The customer, and files that are spoken of
    (
        {"customer": {"preferences": {"size": "L"}}},
        "preference.set",
        "/customer/preferences/size",
        "Preference size set to “L”",
    ),
    (
        {"customer": {"loyalty": {"points": 130}}},
        "loyalty.changed",
        "/customer/loyalty/points",
        "Loyalty points: 120 → 130",
    ),
    (
        {"customer": {"addresses": {"a2": {"address_ref": "x"}}}},
        "address.added",
        "/customer/addresses/a2",
        "Address a2",
    ),
    (
        {"customer": {"addresses": {"a1": None}}},
        "address.removed",
        "/customer/addresses/a1",
        "Removed: Address Home (DE)",
    ),
    ({"customer": {"extra": {"language": None}}}, "removed", "/customer/extra/language", None),
    ({"conversation": {"files": {"g": "Sketch"}}}, "file.added", "/conversation/files/g", "File added: “Sketch”"),
    # What does not have its shape
    (payment(outcome="lost"), "changed", "/decisions/payments/p/outcome", None),
    (hold(until="soon"), "changed", "/inventory/holds/h/until", None),
    ({"customer": {"loyalty": 3}}, "loyalty.changed", "/customer/loyalty", None),
    ({"recovery": {"next": 3}}, "changed", "/recovery/next", None),
]


@pytest.mark.parametrize(("patch", "kind", "path", "text"), SAID)
def test_what_is_said(patch, kind, path, text):
    difference = only(patch)
    assert (difference.kind, difference.path) == (kind, path)
    assert text is None or difference.text == text


def test_the_slices_are_told_in_a_fixed_order():
    check_whole(STATE)
    told = [difference.path.split("/")[1] for difference in describe({}, STATE)]
    known = ["stale", "decisions", "checkout", "inventory", "recovery", "facts", "customer", "conversation"]
    assert list(dict.fromkeys(told)) == known
    assert set(known) == set(SLICES) - {"shopping", "agent"}


@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:00-05:00"])
def test_a_time_that_utc_has_no_date_for_is_told_as_it_is(edge):
    seen = {"inventory": {"stock": {"MUG-1": {"available": 1, "at": edge}}}}
    check_whole(seen)
    (told,) = describe({}, seen)
    assert told.text == f"MUG-1: 1 free at {edge}"
    (told,) = describe({}, apply_patch({}, hold(item="MUG-1", quantity=1, held_at=edge, until=NOON)))
    assert told.text.startswith("Holding 1 × MUG-1 until 2026-05-01")


LONG = "x\u202e" * 5000


@pytest.mark.parametrize(
    "patch",
    [
        payment(outcome="failed", method=LONG, code=LONG),
        approval(rule=LONG),
        decided(policies={LONG[:200]: {"result": "deny", "capability": LONG}}),
        decided(fallbacks={"g": {"tried": LONG, "outcome": LONG, "code": LONG}}),
        decided(recommendations={"r": {"reason": LONG}}),
        hold(item=LONG),
        step(code=LONG),
        recovery(next=LONG),
        recovery(retry={"rule": LONG, "step": LONG}),
        recovery(endpoints={LONG[:200]: {"failures": 2, "code": LONG}}),
        recovery(interventions={"j": {"kind": LONG, "since": NOON, "reason": LONG}}),
        {"facts": {"known": {LONG[:200]: {"value": LONG, "source": LONG, "fetched_at": NOON}}}},
        stale(**{"item:MUG-1": {"what": LONG}}),
        {"customer": {"addresses": {"a1": {"label": LONG}}}},
        {"customer": {"preferences": {"colour": LONG}}},
        {"checkout": {"method": LONG}},
    ],
)
def test_no_text_grows_without_bound_or_hides_a_character(patch):
    told = only(patch).text
    assert len(told) < 600
    assert "\u202e" not in told
