"""What is payment data is found, however it is written and wherever it stands (S8)."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.payment_data import Finding, Rule, all_payment_data, find_payment_data
from tests.domain.payment_data.numbers import PUBLISHED, card_numbers

CARD = "4242424242424242"
SEPARATORS = ("", " ", "-", ".", "/", "_", "\u00a0", "\u2009", "\u2011", "\u2013", "\t", "\n", " - ", "\u00b7")
INVISIBLE = ("", "\u200b", "\u200d", "\u2060", "\u00ad", "\ufeff", "\ufe0f", "\u202e")
ZEROS = ("0", "٠", "۰", "०", "０", "𝟎", "𝟘", "߀", "༠", "\U000e0030")
WRAPPINGS = {
    "as it is": lambda text: text,
    "in a sentence": lambda text: f"please charge {text}, thank you",
    "between letters": lambda text: f"card{text}x",
    "in a list": lambda text: [{"a": [text]}],
    "a key": lambda text: {text: 1},
    "JSON in text": lambda text: json.dumps({"n": text}),
    "JSON in text, as it is": lambda text: json.dumps({"n": text}, ensure_ascii=False),
    "percent-encoded": lambda text: quote(text),
}


def found(value: Any) -> Rule | None:
    finding = find_payment_data(value)
    return None if finding is None else finding.rule


@pytest.mark.parametrize("number", PUBLISHED)
def test_every_published_test_number_is_found_as_text_and_as_number(number: str) -> None:
    assert found(number) is Rule.CARD_NUMBER
    assert found({"note": number}) is Rule.CARD_NUMBER
    assert found({"note": int(number)}) is Rule.CARD_NUMBER


@given(card_numbers(), st.sampled_from(SEPARATORS), st.sampled_from(INVISIBLE), st.data())
def test_a_number_is_found_in_any_script_grouping_and_place(
    number: str, separator: str, invisible: str, data: st.DataObject
) -> None:
    """Every range × separators × scripts of digits × nesting."""
    size = data.draw(st.integers(1, len(number)))
    zero = data.draw(st.sampled_from(ZEROS))
    shown = "".join(chr(ord(zero) + int(digit)) for digit in number)
    groups = [shown[start : start + size] for start in range(0, len(shown), size)]
    text = (separator + invisible).join(groups)
    wrap = data.draw(st.sampled_from(list(WRAPPINGS.values())))

    assert found(wrap(text)) is Rule.CARD_NUMBER


@given(card_numbers(), st.sampled_from(["", " ", "-"]), st.binary(max_size=2).filter(bytes.isalpha) | st.just(b""))
def test_a_number_in_base64_is_found_at_any_alignment(number: str, separator: str, before: bytes) -> None:
    text = separator.join(number[start : start + 4] for start in range(0, len(number), 4))
    encoded = before + text.encode()

    assert found({"x": base64.b64encode(encoded).decode()}) is Rule.CARD_NUMBER
    assert found({"x": base64.urlsafe_b64encode(encoded).decode().rstrip("=")}) is Rule.CARD_NUMBER
    assert found(base64.b64encode(json.dumps({"n": number}).encode()).decode()) is Rule.CARD_NUMBER


@pytest.mark.parametrize(
    "text",
    [
        f"1. {CARD} 12/28 123",
        "4242     4242     4242     4242",
        "Item 2: 4242 4242 4242 4242 12/28 123",
        "order 4711 3782 822463 10005 07/30",
        "0424242 4242424242424242",
        "❹❷❹❷❹❷❹❷❹❷❹❷❹❷❹❷",
    ],
)
def test_a_number_is_found_among_other_numbers(text: str) -> None:
    assert found(text) is Rule.CARD_NUMBER


@pytest.mark.parametrize(
    "text", [f"%B{CARD}^DOE/JANE^2812101", f"x;{CARD}=28121011000", ";123456789012345678=2812", f"{CARD}=28121011000"]
)
def test_track_data_is_found_whatever_its_number(text: str) -> None:
    assert found({"swipe": text}) is Rule.TRACK_DATA


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"cvv": "123"}, Rule.SECURITY_CODE),
        ({"CVC2": 1234}, Rule.SECURITY_CODE),
        ({"card": {"cvc": "12"}}, Rule.SECURITY_CODE),
        ({"card-security-code": "abc"}, Rule.SECURITY_CODE),
        ({"cvv": ["123"]}, Rule.SECURITY_CODE),
        ({"cid": "1234"}, Rule.SECURITY_CODE),
        ({"Security Code": "123"}, Rule.SECURITY_CODE),
        ({"cc_cvv": "123"}, Rule.SECURITY_CODE),
        ({"creditCardSecurityCode": "123"}, Rule.SECURITY_CODE),
        ({"paymentCvc": 123}, Rule.SECURITY_CODE),
        ({"cc_cid": "1234"}, Rule.SECURITY_CODE),
        ({"cardCode": "123"}, Rule.SECURITY_CODE),
        ({"verification_value": "123"}, Rule.SECURITY_CODE),
        ({"pin": "1234"}, Rule.PIN),
        ({"cardPin": 123456}, Rule.PIN),
        ({"pin_block": "0412AC89ABCDEF67"}, Rule.PIN),
        ({"card_number": "1234 5678 1234 5678"}, Rule.CARD_NUMBER),
        ({"pan": {"value": "999999999999"}}, Rule.CARD_NUMBER),
        ({"card": {"number": "4222222222222"}}, Rule.CARD_NUMBER),
        ({"track2": "123456789012345678"}, Rule.TRACK_DATA),
        ({"track_2_data": "123456789012345678=25121011"}, Rule.TRACK_DATA),
        ({"track2EquivalentData": "1234567890123456D25121010000000F"}, Rule.TRACK_DATA),
        ({"magstripe_data": "%B1234567890123456^DOE/JANE^2512"}, Rule.TRACK_DATA),
        ("my cvv is 123", Rule.SECURITY_CODE),
        ("CVC: 1234", Rule.SECURITY_CODE),
        ("the card security code is 123.", Rule.SECURITY_CODE),
        ("Security code: 1234", Rule.SECURITY_CODE),
        ("my ccv is 123", Rule.SECURITY_CODE),
        (json.dumps({"payment": {"cvv": "123"}}), Rule.SECURITY_CODE),
        (base64.b64encode(b'{"cvv":"123"}').decode(), Rule.SECURITY_CODE),
    ],
)
def test_keys_and_words_say_what_stands_behind_them(value: Any, rule: Rule) -> None:
    assert found(value) is rule
    assert found({"deep": [{"er": value}]}) is rule


def test_the_pointer_says_where_and_never_what() -> None:
    assert find_payment_data({"a": [{"b~/": CARD}]}) == Finding("/a/0/b~0~1", Rule.CARD_NUMBER)
    assert find_payment_data({"a": {CARD: {"cvv": "123"}}}) == Finding("/a/*", Rule.CARD_NUMBER)
    assert find_payment_data({"4242": {"4242": {"4242": {"4242": {"cvv": 123}}}}}) == Finding(
        "/*/*/*/*/cvv", Rule.SECURITY_CODE
    )
    assert find_payment_data({"k" * 500: CARD}) == Finding(f"/{'k' * 64}…", Rule.CARD_NUMBER)
    assert find_payment_data(json.dumps({"inside": CARD})) == Finding("", Rule.CARD_NUMBER)


def test_all_of_them_are_found_in_order() -> None:
    value = {"a": CARD, "b": {"cvv": "123", "pin": "9876"}, "c": "nothing", "d": [378282246310005]}
    assert [(one.pointer, one.rule.value) for one in all_payment_data(value)] == [
        ("/a", "card_number"), ("/b/cvv", "security_code"), ("/b/pin", "pin"), ("/d/0", "card_number"),
    ]  # fmt: skip


def test_what_json_cannot_hold_is_searched_all_the_same() -> None:
    assert found({"a": object(), "b": ("x", CARD)}) is Rule.CARD_NUMBER
    assert found({"a": "\ud800", "b": CARD}) is Rule.CARD_NUMBER
