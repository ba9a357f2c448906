from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import (
    SLICES,
    SessionState,
    Slice,
    check_shape,
    check_whole,
    state_json_schema,
)
from agent_sessions.domain.values import MAX_INTEGER
from agent_sessions.exceptions import InvalidValue
from tests.domain import strategies
from tests.domain.strategies import changes, patches, states

LINE = {"item": "mug-1", "quantity": 2, "unit_price": 1250, "currency": "EUR"}
DELIVERY = {"method": "express", "amount": 490, "currency": "EUR"}
QUOTE = {"total": 2990, "currency": "EUR"}
NOON = "2026-05-01T12:00:00Z"
MONEY = {"amount": 12000, "currency": "EUR"}
STATE = {
    "shopping": {
        "lines": {"1": LINE, "2": {**LINE, "options": {"size": "L"}, "extra": {"sku": ["A", {"b": True}]}}},
        "discounts": {"d": {"amount": -500, "currency": "EUR", "code": "SUMMER", "applies_to": "1"}},
        "vouchers": {"GIFT-1": {}},
        "delivery": {**DELIVERY, "earliest": "2026-05-01T10:00:00Z", "latest": "2026-05-02T10:00:00+02:00"},
        "quote": {**QUOTE, "fingerprint": "f1", "valid_until": "2026-05-01T10:10:00Z"},
        "instructions": "Leave it at the door",
    },
    "conversation": {
        "summary": "",
        "window_start": 3,
        "products": {"mug-1": "Blue mug"},
        "questions": {"q": "Size?"},
        "files": {"f": "Photo of the old mug"},
    },
    "customer": {
        "preferences": {"colours": ["blue"], "gift": {"wrap": True}},
        "loyalty": {"tier": "gold", "points": 120},
        "addresses": {"home": {"label": "Home", "address_ref": "addr-7", "country": "DE"}},
        "extra": {"language": "de"},
    },
    "decisions": {
        "payments": {
            "p1": {
                **MONEY,
                "method": "card",
                "outcome": "declined",
                "code": "insufficient_funds",
                "attempted_at": NOON,
                "ended_at": NOON,
                "provider_ref": "pi_1",
                "brand": "visa",
                "last4": "4242",
            },
            "p2": {"method": "paypal", "outcome": "started"},
        },
        "approvals": {
            "a1": {
                **MONEY,
                "status": "granted",
                "rule": "spend_over",
                "reason": "More than 100.00 EUR",
                "version": 4,
                "requested_at": NOON,
                "expires_at": NOON,
                "decided_at": NOON,
            }
        },
        "policies": {"scope": {"result": "allow", "capability": "cart.add", "at": NOON}},
        "fallbacks": {"f1": {"tried": "paypal", "outcome": "worked", "code": "ok", "confidence": 100, "at": NOON}},
        "recommendations": {"r1": {"item": "mug-1", "reason": "Blue", "confidence": 0, "at": NOON}},
    },
    "checkout": {"approval": "a1", "handoff": "h1", "method": "card", "extra": {"split": False}},
    "inventory": {
        "holds": {"h": {"item": "mug-1", "quantity": 2, "held_at": NOON, "until": NOON, "released_at": NOON}},
        "stock": {"mug-1": {"available": 0, "at": NOON}},
    },
    "recovery": {
        "steps": {
            "payment": {
                "outcome": "failed",
                "attempt": 2,
                "started_at": NOON,
                "ended_at": NOON,
                "code": "card_declined",
                "method": "card",
                "tried": {"card": "declined"},
            },
            "delivery": {"outcome": "skipped"},
        },
        "next": "payment",
        "retry": {"rule": "backoff", "step": "payment", "attempts_left": 0, "not_before": NOON},
        "endpoints": {"payments": {"failures": 1, "code": "timeout", "last_at": NOON}},
        "interventions": {"i": {"kind": "approval", "since": NOON, "reason": "Too much"}},
    },
    "facts": {"known": {"returns": {"value": ["30 days"], "source": "erp", "fetched_at": NOON, "expires_at": NOON}}},
    "agent": {"anything": [1, {"goes": True}]},
    "stale": {"parts": {"item:mug-1": {"kind": "item", "ref": "mug-1", "what": "price", "since": NOON}}},
}


def line(**fields) -> dict:
    return {"shopping": {"lines": {"a/b": {**LINE, **fields}}}}


def shopping(**fields) -> dict:
    return {"shopping": fields}


def decided(**fields) -> dict:
    return {"decisions": fields}


def payment(**fields) -> dict:
    return decided(payments={"p": {"method": "card", "outcome": "started", **fields}})


def held(**fields) -> dict:
    return {"inventory": {"holds": {"h": {"item": "mug-1", "quantity": 2, "held_at": NOON, **fields}}}}


def step(**fields) -> dict:
    return {"recovery": {"steps": {"payment": {"outcome": "started", **fields}}}}


PAYMENT = "/decisions/payments/p"
STEP = "/recovery/steps/payment"
MISFITS = [
    (line(quantity=0), "/shopping/lines/a~1b/quantity", "1 to 1000000"),
    (line(quantity=1_000_001), "/shopping/lines/a~1b/quantity", "1 to 1000000"),
    (line(quantity="2"), "/shopping/lines/a~1b/quantity", "whole number"),
    (line(quantity=True), "/shopping/lines/a~1b/quantity", "whole number"),
    (line(unit_price=-1), "/shopping/lines/a~1b/unit_price", "minor units"),
    (line(unit_price="12.50"), "/shopping/lines/a~1b/unit_price", "minor units"),
    (line(currency="eur"), "/shopping/lines/a~1b/currency", "ISO 4217"),
    (line(currency="EURO"), "/shopping/lines/a~1b/currency", "ISO 4217"),
    (line(currency="EUR\n"), "/shopping/lines/a~1b/currency", "ISO 4217"),
    (line(item=""), "/shopping/lines/a~1b/item", "not empty"),
    (line(title=5), "/shopping/lines/a~1b/title", "text"),
    (line(options={"size": 5}), "/shopping/lines/a~1b/options/size", "text"),
    (line(options=[]), "/shopping/lines/a~1b/options", "map"),
    (line(extra=[]), "/shopping/lines/a~1b/extra", "map"),
    (line(colour="blue"), "/shopping/lines/a~1b/colour", "item, quantity"),
    (shopping(lines={"1": {"quantity": 3}}), "/shopping/lines/1", "item, unit_price, currency"),
    (shopping(lines={"1": 5}), "/shopping/lines/1", "map"),
    (shopping(lines=[LINE]), "/shopping/lines", "map"),
    (shopping(line={}), "/shopping/line", "lines, discounts"),
    (shopping(discounts={"d": {"amount": 1}}), "/shopping/discounts/d", "currency"),
    (shopping(vouchers=["GIFT-1"]), "/shopping/vouchers", "map"),
    (shopping(vouchers={"GIFT-1": {"label": 1}}), "/shopping/vouchers/GIFT-1/label", "text"),
    (shopping(delivery={"label": "Express"}), "/shopping/delivery", "method"),
    (shopping(delivery={"method": "x", "amount": 1}), "/shopping/delivery", "together"),
    (shopping(delivery={"method": "x", "currency": "EUR"}), "/shopping/delivery", "together"),
    (shopping(delivery={**DELIVERY, "amount": -1}), "/shopping/delivery/amount", "minor units"),
    (shopping(delivery={**DELIVERY, "earliest": "2026-05-01"}), "/shopping/delivery/earliest", "RFC 3339"),
    (
        shopping(delivery={**DELIVERY, "latest": "2026-02-30T10:00:00Z"}),
        "/shopping/delivery/latest",
        "RFC 3339",
    ),
    (
        shopping(quote={**QUOTE, "valid_until": "2026-05-01T10:00:00"}),
        "/shopping/quote/valid_until",
        "offset",
    ),
    (shopping(quote={**QUOTE, "total": -1}), "/shopping/quote/total", "minor units"),
    (shopping(instructions=["a"]), "/shopping/instructions", "text"),
    ({"shopping": 5}, "/shopping", "map"),
    ({"conversation": {"window_start": -1}}, "/conversation/window_start", "turn"),
    ({"conversation": {"products": {"mug-1": {}}}}, "/conversation/products/mug-1", "text"),
    ({"conversation": {"questions": {"q": 5}}}, "/conversation/questions/q", "text"),
    ({"conversation": {"files": {"f": {}}}}, "/conversation/files/f", "text"),
    ({"customer": {"preferences": []}}, "/customer/preferences", "map"),
    ({"customer": {"addresses": {"a": {"country": "de"}}}}, "/customer/addresses/a/country", "ISO 3166"),
    ({"customer": {"addresses": {"a": {"street": "X"}}}}, "/customer/addresses/a/street", "address_ref"),
    ({"customer": {"email": "x"}}, "/customer/email", "preferences, loyalty"),
    (payment(outcome="refused"), f"{PAYMENT}/outcome", "started, succeeded, declined, failed, unknown, cancelled"),
    (payment(outcome=1), f"{PAYMENT}/outcome", "started"),
    (payment(amount=1), PAYMENT, "together"),
    (payment(amount=-1, currency="EUR"), f"{PAYMENT}/amount", "minor units"),
    (payment(last4="424"), f"{PAYMENT}/last4", "four digits"),
    (payment(last4="4242\n"), f"{PAYMENT}/last4", "four digits"),
    (payment(last4="٤٢٤٢"), f"{PAYMENT}/last4", "four digits"),
    (payment(last4=4242), f"{PAYMENT}/last4", "four digits"),
    (payment(last4="4242424242424242"), f"{PAYMENT}/last4", "four digits"),
    (payment(number="4242"), f"{PAYMENT}/number", "method, outcome"),
    (payment(attempted_at="12:00"), f"{PAYMENT}/attempted_at", "RFC 3339"),
    (decided(approvals={"a": {"status": "maybe"}}), "/decisions/approvals/a/status", "pending, granted"),
    (decided(approvals={"a": {"rule": "x"}}), "/decisions/approvals/a", "status"),
    (decided(approvals={"a": {"status": "used", "currency": "EUR"}}), "/decisions/approvals/a", "together"),
    (decided(approvals={"a": {"status": "used", "version": 0}}), "/decisions/approvals/a/version", "1 or more"),
    (decided(policies={"scope": {"result": "ask"}}), "/decisions/policies/scope/result", "allow, deny"),
    (decided(fallbacks={"f": {"tried": "x", "confidence": 101}}), "/decisions/fallbacks/f/confidence", "0 to 100"),
    (decided(fallbacks={"f": {"tried": "x", "confidence": -1}}), "/decisions/fallbacks/f/confidence", "0 to 100"),
    (decided(recommendations={"r": {"item": ""}}), "/decisions/recommendations/r/item", "not empty"),
    (decided(payments=[]), "/decisions/payments", "map"),
    ({"checkout": {"method": {}}}, "/checkout/method", "text"),
    (held(quantity=0), "/inventory/holds/h/quantity", "1 to 1000000"),
    (held(until="soon"), "/inventory/holds/h/until", "RFC 3339"),
    ({"inventory": {"holds": {"h": {"item": "mug-1"}}}}, "/inventory/holds/h", "quantity, held_at"),
    ({"inventory": {"stock": {"m": {"available": -1, "at": NOON}}}}, "/inventory/stock/m/available", "0 or more"),
    ({"inventory": {"stock": {"m": {"available": 1}}}}, "/inventory/stock/m", "at"),
    (step(outcome="stuck"), f"{STEP}/outcome", "started, done, failed, skipped"),
    (step(attempt=0), f"{STEP}/attempt", "1 or more"),
    (step(tried={"card": 1}), f"{STEP}/tried/card", "text"),
    ({"recovery": {"next": 1}}, "/recovery/next", "text"),
    ({"recovery": {"retry": {"step": "x"}}}, "/recovery/retry", "rule"),
    ({"recovery": {"endpoints": {"e": {"failures": 0}}}}, "/recovery/endpoints/e/failures", "1 or more"),
    ({"recovery": {"interventions": {"i": {"kind": "x"}}}}, "/recovery/interventions/i", "since"),
    ({"facts": {"known": {"f": {"value": 1, "fetched_at": NOON}}}}, "/facts/known/f", "source"),
    ({"facts": {"stock": 1}}, "/facts/stock", "known"),
    ({"stale": {"parts": {"item:m": {"kind": "item", "ref": "m"}}}}, "/stale/parts/item:m", "since"),
    ({"agent": []}, "/agent", "map"),
    ({"basket": {}}, "/basket", ", ".join(SLICES)),
]


@pytest.mark.parametrize(("tree", "path", "says"), MISFITS)
def test_a_misfit_is_named_by_its_place_and_what_to_send(tree, path, says):
    for check in (check_whole, lambda tree: check_shape(tree, apply_patch({}, tree))):
        with pytest.raises(InvalidValue) as refused:
            check(tree)
        assert refused.value.path == path
        assert says in refused.value.problem


def test_a_part_of_an_entry_fits_onto_the_entry_that_is_there():
    patch = {"shopping": {"lines": {"1": {"quantity": 3}}, "delivery": {"label": "Express"}}}
    check_shape(patch, apply_patch(STATE, patch))


@pytest.mark.parametrize("edge", [1, 1_000_000])
def test_the_edges_fit(edge):
    check_whole(line(quantity=edge, unit_price=MAX_INTEGER))
    check_whole(line(unit_price=0))


def test_a_state_that_uses_everything_fits():
    check_whole(STATE)
    check_shape(STATE, STATE)
    check_whole({})


@given(states())
def test_a_whole_state_fits(state):
    check_whole(state)


@given(changes())
def test_every_change_between_two_states_fits(change):
    state, patch = change
    check_shape(patch, apply_patch(state, patch))


@given(states(), patches())
def test_what_a_patch_passes_keeps_the_state_whole(state, patch):
    after = apply_patch(state, patch)
    try:
        check_shape(patch, after)
    except InvalidValue:
        return
    check_whole(after)


@given(states(), patches(), states())
def test_a_checked_patch_and_a_checked_state_agree(state, odd, other):
    """A patch that mixes right and wrong parts is refused exactly if the state that it leads to is."""
    field, value = next(iter(odd.items()), ("lines", {}))
    slice_patch = {**other.get("shopping", {}), "lines": {"1": {field: value}, "2": LINE}}
    patch = {**other, "shopping": slice_patch, "agent": odd}
    after = apply_patch(state, patch)
    assert fits(check_shape, patch, after) == fits(check_whole, after)


def fits(check, *arguments) -> bool:
    try:
        check(*arguments)
    except InvalidValue:
        return False
    return True


# A patch is checked where it touches


def test_a_touched_line_is_checked_as_a_whole():
    patch = {"shopping": {"lines": {"1": {"currency": None}}}}
    with pytest.raises(InvalidValue, match="currency") as refused:
        check_shape(patch, apply_patch(STATE, patch))
    assert refused.value.path == "/shopping/lines/1"


def test_a_touched_delivery_is_checked_as_a_whole():
    patch = {"shopping": {"delivery": {"currency": None}}}
    with pytest.raises(InvalidValue, match="together"):
        check_shape(patch, apply_patch(STATE, patch))


def test_what_a_patch_does_not_touch_is_not_read():
    damaged = {
        "shopping": {"lines": {"1": LINE, "2": "damaged"}, "delivery": "damaged"},
        "conversation": "damaged",
    }
    patch = {"shopping": {"lines": {"1": {"quantity": 3}}, "instructions": "x"}}
    check_shape(patch, apply_patch(damaged, patch))
    with pytest.raises(InvalidValue):
        check_whole(damaged)


@pytest.mark.parametrize(
    "patch",
    [
        {"shopping": None},
        {"shopping": {"lines": None}},
        {"shopping": {"lines": {"1": None, "never there": None}}},
        {"shopping": {"delivery": None, "quote": None}},
        {"agent": {"anything": None}},
        {"agent": None, "conversation": None},
        {},
    ],
)
def test_everything_can_be_deleted(patch):
    check_shape(patch, apply_patch(STATE, patch))


@pytest.mark.parametrize(
    ("patch", "path"), [({"basket": None}, "/basket"), ({"shopping": {"linse": None}}, "/shopping/linse")]
)
def test_deleting_by_a_wrong_name_is_refused(patch, path):
    with pytest.raises(InvalidValue) as refused:
        check_shape(patch, apply_patch(STATE, patch))
    assert refused.value.path == path


def test_a_whole_state_is_checked_for_its_values_too():
    for value in (None, 1.5, "\0"):
        with pytest.raises(InvalidValue) as refused:
            check_whole({"agent": {"plan": value}})
        assert refused.value.path == "/agent/plan"


@pytest.mark.parametrize("field", ["preferences", "loyalty", "extra"])
def test_of_a_free_map_only_what_a_patch_touches_is_read(field):
    patch = {"customer": {field: {"a": {"b": 1}}}}
    after = apply_patch({"customer": {field: {"other": object()}}}, patch)
    check_shape(patch, after)
    assert after["customer"][field].keys() == {"other", "a"}


# The shape itself


def test_the_strategies_and_the_state_of_these_tests_leave_no_slice_out():
    assert tuple(strategies.SLICES) == SLICES
    assert STATE.keys() == set(SLICES)
    for name, shape in ((field.name, field.type) for field in msgspec.structs.fields(SessionState)):
        if name != "agent":
            assert STATE[name].keys() == {field.name for field in msgspec.structs.fields(shape)}


def test_every_field_of_a_slice_is_optional():
    """A slice comes into being with the first patch that touches it, whatever that sets."""
    for shape in (SessionState, *Slice.__subclasses__()):
        assert not [field.name for field in msgspec.structs.fields(shape) if field.required]


def test_json_schema_is_complete_by_itself():
    schema = state_json_schema()
    text = json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert '"$id"' not in text
    wanted = set()

    def gather(part: object) -> None:
        if isinstance(part, dict):
            wanted.update([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
            for inner in part.values():
                gather(inner)
        elif isinstance(part, list):
            for inner in part:
                gather(inner)

    gather(schema)
    assert wanted == {f"#/$defs/{name}" for name in schema["$defs"]}
    assert {"SessionState", "Shopping", "Line", "JSONValue"} <= schema["$defs"].keys()


def test_json_schema_states_the_rules():
    definitions = state_json_schema()["$defs"]
    assert tuple(definitions["SessionState"]["properties"]) == SLICES
    assert definitions["SessionState"]["additionalProperties"] is False
    of_line = definitions["Line"]
    assert of_line["additionalProperties"] is False
    assert set(of_line["required"]) == {"item", "quantity", "unit_price", "currency"}
    assert (of_line["properties"]["quantity"]["minimum"], of_line["properties"]["unit_price"]["minimum"]) == (
        1,
        0,
    )
    assert of_line["properties"]["currency"]["pattern"] == "^[A-Z]{3}$"
    assert of_line["properties"]["extra"]["additionalProperties"] == {"$ref": "#/$defs/JSONValue"}
    assert definitions["Fact"]["properties"]["value"] == {"$ref": "#/$defs/JSONValue"}
    of_payment = definitions["PaymentAttempt"]["properties"]
    assert set(of_payment["outcome"]["enum"]) == {
        "started",
        "succeeded",
        "declined",
        "failed",
        "unknown",
        "cancelled",
    }
    assert of_payment["last4"]["pattern"] == "^[0-9]{4}$"
    confidence = definitions["Fallback"]["properties"]["confidence"]
    assert (confidence["type"], confidence["minimum"], confidence["maximum"]) == ("integer", 0, 100)
    assert {part["type"] for part in definitions["JSONValue"]["anyOf"]} == {
        "string",
        "boolean",
        "integer",
        "array",
        "object",
    }
