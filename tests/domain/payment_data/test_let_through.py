"""What shops and honest agents send is let through (S8: the provider's token, brand and last four are kept)."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.payment_data import find_payment_data
from agent_sessions.domain.payment_data.brands import brand_of, has_check_digit
from agent_sessions.domain.payment_data.sieve import may_hold
from tests.domain.payment_data.numbers import PUBLISHED, card_numbers, completed


@pytest.mark.parametrize(
    "value",
    [
        {
            "payment": {
                "token": "tok_1JZx4242424242",
                "brand": "visa",
                "last4": "4242",
                "exp_month": 12,
                "exp_year": 2028,
            }
        },
        {"card": {"last4": "4242", "brand": "visa", "expiry": "12/28", "fingerprint": "Xt5EWLLDS7FJjR1c"}},
        {"card_number": "4242 42** **** 4242"},
        {"card_number": "**** **** **** 4242"},
        {"card_number": "tok_1234567890123456"},
        {"card_number": None},
        {"cvv": None},
        {"cvv": True},
        {"cvv": ""},
        {"cvc": "***"},
        {"cvv_result": "M", "cvc_check": "pass"},
        {"cid": "GA1.2.1234567890.1763727899"},
        {"pin": "enamel"},
        {"pin": 3},
        {"pincode": "110001", "country_code": "276", "cc_code": "276", "verification_code": "482113"},
        {"requires_cvv": "yes", "card_code": "VISA", "cv": "https://cv.example/ada"},
        {"pan": "cast iron, 28 cm"},
        {"pan": "ABCDE1234F"},
        {"track1": "Intro"},
        {"postcode": "50667", "phone": "+49 221 1234567"},
        {"phone": "+1 (415) 555-2671 ext. 4242"},
        {"iban": "DE89 3704 0044 0532 0130 00"},
        {"ean": "4006381333931"},
        {"at": "2026-11-21T12:24:59.123456Z", "ms": 1763727899000, "us": 1763727899000000},
        {"ns": "1763727899000000000"},
        {"id": "01a1fc29-ac6d-7687-944f-30eb95ffd664"},
        {"sha": "4242424242424242" * 3 + "a" * 16},
        {"where": "52.5200065999999, 13.4049540000001"},
        {"rate": 0.4242424242424242},
        {"text": "Shipping on 21.11.2026, 45.00 / 46.00 / 47.00 / 48.00"},
        {"imei": "352099001761481"},
        {"digits": "4242424242424242" * 2},
        {"company": "pinpan cvx GmbH"},
    ],
)
def test_what_honest_agents_send_is_let_through(value: Any) -> None:
    assert find_payment_data(value) is None


@pytest.mark.parametrize("number", PUBLISHED)
def test_a_wrong_digit_makes_it_no_card(number: str) -> None:
    other = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not has_check_digit(other)
    assert find_payment_data({"ref": other}) is None


@given(card_numbers())
def test_digits_that_touch_make_it_another_number(number: str) -> None:
    assert find_payment_data({"ref": number + "0" * 12}) is None


def test_lengths_and_ranges_that_no_brand_has_are_no_cards() -> None:
    assert brand_of(completed("1" * 15)) == ""
    assert brand_of(completed("4" + "0" * 13)) == ""
    assert brand_of(completed("400638133393")) == ""
    assert brand_of("4222222222222", labelled=True) == "visa"
    assert brand_of("4242424242424242") == "visa"


def test_an_identifier_that_looks_like_a_card_can_be_declared() -> None:
    gtin = completed("3600012345678")
    lines = {"shopping": {"lines": {"l1": {"item": gtin, "title": "Mug"}}}}
    assert find_payment_data(lines) is not None
    assert find_payment_data(lines, exempt={"/shopping/lines/*/item"}) is None
    assert find_payment_data({"held": {gtin: 2}}, exempt={"/held/*"}) is None
    assert find_payment_data({"a/b": gtin}, exempt={"/a~1b"}) is None
    assert find_payment_data(lines, exempt={"/shopping/*/item"}) is not None
    assert find_payment_data({**lines, "note": gtin}, exempt={"/shopping/lines/*/item"}) is not None


def test_a_declared_identifier_is_no_place_for_track_data() -> None:
    assert find_payment_data({"item": ";4242424242424242=2812"}, exempt={"/item"}) is not None
    assert find_payment_data({"item": "4242424242424242=28121011"}, exempt={"/item"}) is not None
    assert find_payment_data({"cvv": "123"}, exempt={"/cvv"}) is not None


def test_false_alarms_are_as_rare_as_the_docs_say() -> None:
    """docs/payment-data.md: about one of 25 random numbers of 16 digits, no time, no UUID, no EAN-13 to speak of."""
    chance = random.Random(7)

    def share(make: Any) -> float:
        return sum(find_payment_data({"ref": make()}) is not None for _ in range(3000)) / 3000

    assert share(lambda: str(chance.randrange(10**15, 10**16))) < 0.06
    assert share(lambda: "40" + str(chance.randrange(10**10, 10**11))) == 0
    assert share(lambda: chance.randrange(1_577_836_800_000, 2_082_758_400_000)) == 0
    assert share(lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4))) == 0


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8
    )
)
def test_arbitrary_documents_are_searched_without_a_fault(value: Any) -> None:
    find_payment_data(value)


def test_what_is_usual_is_never_searched_value_by_value() -> None:
    """The sieve alone decides about a usual body, or every request would pay for the search."""
    assert not may_hold(b'{"item":"mug-blue","quantity":2,"note":"for Friday","at":"2026-11-21T12:24:59Z"}')
    assert not may_hold('{"name":"Jörg Müller","city":"Köln","shipping":{"phone":"+49 221 12345"}}'.encode())
