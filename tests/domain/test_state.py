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
from tests.domain.strategies import changes, patches, states

LINE = {"item": "mug-1", "quantity": 2, "unit_price": 1250, "currency": "EUR"}
DELIVERY = {"method": "express", "amount": 490, "currency": "EUR"}
QUOTE = {"total": 2990, "currency": "EUR"}
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
    },
    "agent": {"anything": [1, {"goes": True}]},
}


def line(**fields) -> dict:
    return {"shopping": {"lines": {"a/b": {**LINE, **fields}}}}


def shopping(**fields) -> dict:
    return {"shopping": fields}


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


# The shape itself


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
    assert {part["type"] for part in definitions["JSONValue"]["anyOf"]} == {
        "string",
        "boolean",
        "integer",
        "array",
        "object",
    }
