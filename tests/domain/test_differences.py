from __future__ import annotations

import json

import pytest

from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.patch import apply_patch

MUG = {
    "item": "mug-1",
    "title": "Blue mug",
    "variant": "size L",
    "quantity": 2,
    "unit_price": 1250,
    "currency": "EUR",
}
TENT = {"item": "tent-9", "quantity": 1, "unit_price": 12000, "currency": "JPY"}
STATE = {
    "shopping": {
        "lines": {"1": MUG},
        "discounts": {
            "d": {
                "amount": -500,
                "currency": "EUR",
                "code": "SUMMER",
                "label": "Summer sale",
                "applies_to": "1",
            }
        },
        "vouchers": {"GIFT-1": {}},
        "delivery": {"method": "std", "label": "Standard", "amount": 490, "currency": "EUR"},
        "quote": {"total": 2490, "currency": "EUR", "fingerprint": "f1"},
        "instructions": "Ring twice",
    },
    "conversation": {
        "summary": "Wants mugs",
        "window_start": 0,
        "products": {"mug-1": "Blue mug"},
        "questions": {"q": "Size?"},
    },
    "agent": {"plan": {"step": 1}, "fast": True},
}


def only(patch) -> Difference:
    after = apply_patch(STATE, patch)
    (difference,) = describe(STATE, after)
    assert describe(STATE, json.loads(json.dumps(after))) == (difference,)  # whether or not the two share
    return difference


def lines(**changes) -> dict:
    return {"shopping": {"lines": changes}}


def line(**changes) -> dict:
    return {"shopping": {"lines": {"1": changes}}}


def shopping(**changes) -> dict:
    return {"shopping": changes}


SAID = [
    # Lines
    (lines(t=TENT), "line.added", "/shopping/lines/t", "Added 1 × tent-9 at 12000 JPY"),
    (
        lines(n={**MUG, "quantity": 3}),
        "line.added",
        "/shopping/lines/n",
        "Added 3 × Blue mug (size L) at 12.50 EUR",
    ),
    (
        lines(o={**TENT, "options": {"size": "L", "colour": "red"}}),
        "line.added",
        "/shopping/lines/o",
        "Added 1 × tent-9 (colour red, size L) at 12000 JPY",
    ),
    (
        {"shopping": {"lines": {"1": None}}},
        "line.removed",
        "/shopping/lines/1",
        "Removed 2 × Blue mug (size L)",
    ),
    (
        line(quantity=3),
        "line.quantity_changed",
        "/shopping/lines/1/quantity",
        "Blue mug (size L): quantity 2 → 3",
    ),
    (
        line(unit_price=2600),
        "line.price_changed",
        "/shopping/lines/1/unit_price",
        "Blue mug (size L): price 12.50 → 26.00 EUR",
    ),
    (
        line(currency="JPY"),
        "line.price_changed",
        "/shopping/lines/1/currency",
        "Blue mug (size L): price 12.50 EUR → 1250 JPY",
    ),
    (
        line(title="Red mug"),
        "line.changed",
        "/shopping/lines/1/title",
        "Red mug (size L): title: “Blue mug” → “Red mug”",
    ),
    (
        line(extra={"gift": {"wrap": True}}),
        "line.changed",
        "/shopping/lines/1/extra/gift/wrap",
        "Blue mug (size L): extra/gift/wrap set to true",
    ),
    (
        line(variant=None),
        "line.changed",
        "/shopping/lines/1/variant",
        "Blue mug: variant removed (was “size L”)",
    ),
    # Discounts and vouchers
    (
        shopping(discounts={"e": {"amount": -100, "currency": "EUR"}}),
        "discount.added",
        "/shopping/discounts/e",
        "Added discount e: -1.00 EUR",
    ),
    (
        shopping(discounts={"d": None}),
        "discount.removed",
        "/shopping/discounts/d",
        "Removed discount SUMMER (Summer sale): -5.00 EUR",
    ),
    (
        shopping(discounts={"d": {"amount": -600}}),
        "discount.changed",
        "/shopping/discounts/d",
        "Discount SUMMER (Summer sale): -5.00 → -6.00 EUR",
    ),
    (
        shopping(discounts={"d": {"applies_to": "2"}}),
        "discount.changed",
        "/shopping/discounts/d",
        "Discount SUMMER (Summer sale): applies_to: “1” → “2”",
    ),
    (
        shopping(vouchers={"GIFT-2": {"label": "Birthday"}}),
        "voucher.added",
        "/shopping/vouchers/GIFT-2",
        "Added voucher GIFT-2 (Birthday)",
    ),
    (
        shopping(vouchers={"GIFT-1": None}),
        "voucher.removed",
        "/shopping/vouchers/GIFT-1",
        "Removed voucher GIFT-1",
    ),
    (
        shopping(vouchers={"GIFT-1": {"extra": {"left": 500}}}),
        "voucher.changed",
        "/shopping/vouchers/GIFT-1",
        "Voucher GIFT-1: extra/left set to 500",
    ),
    # Delivery, quote, instructions
    (
        shopping(delivery={"method": "exp", "label": "Express", "amount": 990}),
        "delivery.changed",
        "/shopping/delivery",
        "Delivery: Standard at 4.90 EUR → Express at 9.90 EUR",
    ),
    (
        shopping(delivery={"address_ref": "home"}),
        "delivery.changed",
        "/shopping/delivery",
        "Delivery Standard at 4.90 EUR: address_ref set to “home”",
    ),
    (
        shopping(delivery=None),
        "delivery.removed",
        "/shopping/delivery",
        "Delivery removed: Standard at 4.90 EUR",
    ),
    (shopping(quote={"total": 2600}), "quote.changed", "/shopping/quote", "Quote 24.90 → 26.00 EUR"),
    (
        shopping(quote={"fingerprint": "f2"}),
        "quote.changed",
        "/shopping/quote",
        "Quote of 24.90 EUR: fingerprint: “f1” → “f2”",
    ),
    (shopping(quote=None), "quote.withdrawn", "/shopping/quote", "Quote of 24.90 EUR withdrawn"),
    (
        shopping(instructions="Ring once"),
        "instructions.changed",
        "/shopping/instructions",
        "Instructions: “Ring twice” → “Ring once”",
    ),
    # Conversation
    (
        {"conversation": {"summary": None}},
        "summary.changed",
        "/conversation/summary",
        "Summary of the conversation removed (was “Wants mugs”)",
    ),
    (
        {"conversation": {"questions": {"r": "Colour?"}}},
        "question.opened",
        "/conversation/questions/r",
        "Question opened: “Colour?”",
    ),
    (
        {"conversation": {"questions": {"q": None}}},
        "question.answered",
        "/conversation/questions/q",
        "Question answered: “Size?”",
    ),
    (
        {"conversation": {"questions": {"q": "Which size?"}}},
        "question.changed",
        "/conversation/questions/q",
        "Question changed: “Size?” → “Which size?”",
    ),
    (
        {"conversation": {"products": {"tent-9": "Tent"}}},
        "product.discussed",
        "/conversation/products/tent-9",
        "Product discussed: “Tent”",
    ),
    (
        {"conversation": {"window_start": 12}},
        "changed",
        "/conversation/window_start",
        "conversation/window_start: 0 → 12",
    ),
    # The agent's variables, and whatever else there is
    ({"agent": {"plan": {"step": 2}}}, "variable.changed", "/agent/plan/step", "Variable plan/step: 1 → 2"),
    ({"agent": {"mood": "good"}}, "variable.set", "/agent/mood", "Variable mood set to “good”"),
    ({"agent": {"fast": None}}, "variable.removed", "/agent/fast", "Variable fast removed (was true)"),
    ({"agent": {"fast": 1}}, "variable.changed", "/agent/fast", "Variable fast: true → 1"),
    ({"agent": {"fast": {"b": 1, "a": 2}}}, "variable.changed", "/agent/fast", 'Variable fast: true → {"a":2,"b":1}'),
    ({"agent": {"plan": [1, 2]}}, "variable.changed", "/agent/plan", 'Variable plan: {"step":1} → [1,2]'),
    ({"conversation": {"questions": "Size?"}}, "changed", "/conversation/questions", None),
    ({"conversation": {"summary": ["a"]}}, "changed", "/conversation/summary", None),
    (line(quantity="many"), "changed", "/shopping/lines/1/quantity", None),
    (shopping(delivery={"method": 5}), "changed", "/shopping/delivery/method", None),
    ({"later": {"a/b": 1}}, "set", "/later/a~1b", "later/a~1b set to 1"),
    ({"later": {}}, "set", "/later", "later set to {}"),
    ({"shopping": {"later": 1}}, "set", "/shopping/later", "shopping/later set to 1"),
]


@pytest.mark.parametrize(("patch", "kind", "path", "text"), SAID)
def test_what_is_said(patch, kind, path, text):
    difference = only(patch)
    assert (difference.kind, difference.path) == (kind, path)
    assert text is None or difference.text == text


def test_first_choices():
    after = {"shopping": {"delivery": {"method": "std"}, "quote": {"total": 2490, "currency": "EUR"}}}
    assert [(one.kind, one.text) for one in describe({}, after)] == [
        ("delivery.chosen", "Delivery: std"),
        ("quote.made", "Quoted 24.90 EUR"),
    ]


def test_price_and_currency_at_once():
    both = describe(STATE, apply_patch(STATE, line(unit_price=1500, currency="USD")))
    assert [(one.kind, one.text) for one in both] == [
        ("line.changed", "Blue mug (size L): currency: “EUR” → “USD”"),
        ("line.price_changed", "Blue mug (size L): price 12.50 EUR → 15.00 USD"),
    ]


def test_many_changes_of_one_entry_are_cut_short():
    patch = shopping(vouchers={"GIFT-1": {"extra": {str(number): number for number in range(6)}}})
    assert only(patch).text.endswith("extra/3 set to 3; and 2 more")


def test_the_order_is_fixed_and_does_not_hang_on_that_of_the_keys():
    told = [difference.path for difference in describe({}, {"later": 1, **STATE})]
    assert told == [
        "/shopping/lines/1",
        "/shopping/discounts/d",
        "/shopping/vouchers/GIFT-1",
        "/shopping/delivery",
        "/shopping/quote",
        "/shopping/instructions",
        "/conversation/summary",
        "/conversation/products/mug-1",
        "/conversation/questions/q",
        "/agent/fast",
        "/agent/plan/step",
        "/conversation/window_start",
        "/later",
    ]


# What agents choose cannot speak for the shop


def test_chosen_text_is_clipped_and_shown_as_it_is():
    evil = {**MUG, "title": "x" * 5000, "variant": "\u202e\x1b[2J\nPaid in full"}
    (told,) = describe({}, lines(l=evil))
    assert told.text == f"Added 2 × {'x' * 79}… (⟨U+202E⟩⟨U+001B⟩[2J⏎Paid in full) at 12.50 EUR"
    assert told.new == evil  # the value itself stays what it is


@pytest.mark.parametrize(
    "patch",
    [
        line(title="x" * 5000),
        line(extra={"k" * 200: {"l" * 200: {"m" * 200: "x" * 5000}}}),
        shopping(discounts={"d": {"code": "x" * 5000, "label": "y" * 5000}}),
        shopping(vouchers={"v" * 200: {"label": "y" * 5000}}),
        shopping(delivery={"label": "x" * 5000}),
        shopping(quote={"fingerprint": "x" * 5000}),
        shopping(instructions="x" * 5000),
        {"conversation": {"summary": "x" * 5000}},
        {"conversation": {"questions": {"q": "x" * 5000}}},
        {"agent": {"k" * 200: ["x" * 5000]}},
    ],
)
def test_no_text_grows_without_bound(patch):
    assert len(only(patch).text) < 500
