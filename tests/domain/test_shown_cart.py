"""What a person is shown of a cart is what they agree to: the same document, the same fingerprint (L5)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.shown_cart import amount_of, in_words, shown_cart
from tests.shopping import line


def state(**more: Any) -> dict[str, Any]:
    quote = {"total": 2490, "currency": "EUR", "fingerprint": "f", "extra": {"subtotal": 2500, "shipping": 490}}
    shopping = {
        "lines": {"l1": line(quantity=2, options={"size": "L"})},
        "discounts": {"W": {"amount": -500, "currency": "EUR", "code": "WELCOME", "label": "Welcome"}},
        "delivery": {"method": "dhl", "label": "Parcel", "amount": 490, "currency": "EUR", "address_ref": "a-1"},
        "vouchers": {"WELCOME": {}},
        "quote": quote,
        "instructions": "Ring twice",
    }
    return {"shopping": {**shopping, **more}, "agent": {"mood": "hurried"}}


@pytest.mark.parametrize(
    "patch",
    [
        {"lines": {"l1": {"quantity": 3}}}, {"lines": {"l1": {"unit_price": 1251}}}, {"lines": {"l1": None}},
        {"lines": {"l2": line()}}, {"lines": {"l1": {"title": "Red mug"}}}, {"lines": {"l1": {"item": "sku-2"}}},
        {"lines": {"l1": {"options": {"size": "M"}}}}, {"lines": {"l1": {"extra": {"total": 2600}}}},
        {"discounts": {"W": None}}, {"discounts": {"W": {"amount": -400}}}, {"quote": {"total": 2491}},
        {"quote": {"currency": "USD"}}, {"quote": {"extra": {"shipping": 0}}}, {"delivery": {"method": "ups"}},
        {"delivery": {"address_ref": "a-2"}}, {"delivery": None}, {"quote": None},
    ],
)  # fmt: skip
def test_whatever_a_person_sees_or_pays_for_makes_another_cart(patch: Any) -> None:
    assert shown_cart(apply_patch(state(), {"shopping": patch})) != shown_cart(state())


@pytest.mark.parametrize(
    "patch",
    [
        {"shopping": {"instructions": "Leave it outside"}}, {"shopping": {"vouchers": {"OLD": {}}}},
        {"shopping": {"quote": {"valid_until": "2026-03-02T10:00:00Z", "fingerprint": "g"}}},
        {"shopping": {"quote": {"extra": {"problems": [{"code": "x", "message": "y"}]}}}},
        {"shopping": {"lines": {"l1": {"extra": {"shelf": "B4"}}}}}, {"agent": {"mood": "calm"}},
        {"conversation": {"summary": "A mug"}}, {"decisions": {"fallbacks": {"f": {"tried": "card"}}}},
    ],
)  # fmt: skip
def test_what_nobody_sees_does_not(patch: Any) -> None:
    assert shown_cart(apply_patch(state(), patch)) == shown_cart(state())


def test_the_document_shares_nothing_that_a_reader_could_change_by_mistake() -> None:
    before = state()
    kept = copy.deepcopy(before)
    shown_cart(before)["lines"]["l1"]["quantity"] = 9  # type: ignore[index, call-overload]
    assert before == kept


def test_it_is_told_in_words() -> None:
    told = in_words(shown_cart(state()))

    assert [(one.title, one.which, one.quantity, one.unit_price, one.total) for one in told.lines] == [
        ("Blue mug", "size L", 2, "12.50 EUR", "25.00 EUR")
    ]
    assert told.delivery == "Parcel"
    assert told.total == "24.90 EUR"


def test_amounts_beside_the_total_are_told_in_their_own_currency() -> None:
    quote = {"total": 2490, "currency": "EUR", "extra": {"subtotal": 2500, "shipping": 490, "tax": 400}}
    told = in_words(shown_cart(state(quote=quote)))
    assert told.sums == (
        ("Subtotal", "25.00 EUR"), ("Discount WELCOME", "-5.00 EUR"), ("Delivery", "4.90 EUR"), ("Tax", "4.00 EUR"),
    )  # fmt: skip
    quote["extra"]["tax_included"] = True  # type: ignore[index]
    assert ("Tax (included)", "4.00 EUR") in in_words(shown_cart(state(quote=quote))).sums


def test_a_line_that_costs_more_than_its_pieces_says_so() -> None:
    told = in_words(shown_cart(state(lines={"l1": line(quantity=2, extra={"total": 2700})})))
    assert told.lines[0].total == "27.00 EUR"


@pytest.mark.parametrize("found", [{}, {"shopping": "none"}, {"shopping": {"lines": [], "quote": 7}}, {"shopping": {}}])
def test_a_state_without_a_cart_shows_an_empty_one(found: Any) -> None:
    cart = shown_cart(found)
    assert amount_of(cart) is None
    assert (in_words(cart).lines, in_words(cart).sums, in_words(cart).total) == ((), (), "")


def test_characters_that_could_mislead_are_shown_by_their_code_point() -> None:
    told = in_words(shown_cart(state(lines={"l1": line(title="Mug \u202e gnirts", variant="a\nb")})))
    assert told.lines[0].title == "Mug ⟨U+202E⟩ gnirts"
    assert told.lines[0].which == "a⏎b"
