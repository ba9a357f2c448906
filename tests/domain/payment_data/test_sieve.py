"""What the sieve lets through holds nothing that the search would find, however it is written (S8)."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections import defaultdict
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.payment_data import find_payment_data, search

TEXTS = (
    "4242424242424242", "378282246310005", "cvv 123", "CVC: 1234", "ccv 123", "cvn2 is 123", "security code 123",
    "card verification value 123", "%B4242424242424242^D", "4242424242424242=25121011", "nothing of all that",
)  # fmt: skip
KEYS = (
    "cvv", "cvc2", "cav2", "cvd", "ccv", "cv2", "cid", "csc", "cc_cvv", "securityCode", "card code", "cardPin", "pin",
    "pin value", "pin_block", "encryptedPinBlock", "cardVerificationValue", "verification value", "card_number", "pan",
    "track2", "magstripe", "note",
)  # fmt: skip
UNSEEN = "\u200b\u200d\u00ad\ufeff\ufe0f\u202e\u0301\u115f\u3164\x00\x1f"
SEPARATORS = " -./_|~'+*\\\n\t\u2009\u00b7\u2011"
WRAPPINGS = (
    lambda text: text,
    lambda text: f"hello {text} bye",
    lambda text: json.dumps({"n": text}),
    lambda text: json.dumps({"n": text}, ensure_ascii=False),
    lambda text: json.dumps(text).replace("/", "\\/"),
    lambda text: json.dumps(json.dumps([text])),
    lambda text: json.dumps({text: 123}),
    quote,
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(json.dumps({text: "123"}).encode()).decode().rstrip("="),
    lambda text: "first line\n" + base64.b64encode(text.encode()).decode(),
)


def look_alikes() -> dict[str, str]:
    """ASCII letters and digits → the characters that stand for them."""
    found: dict[str, str] = defaultdict(str)
    for number in (*range(0x80, 0xD800), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800), *range(0x1F100, 0x1F200)):
        character = chr(number)
        plain = unicodedata.normalize("NFKC", character)
        if len(plain) == 1 and plain.isascii() and plain.isalnum():
            found[plain.lower()] += character
        elif unicodedata.decimal(character, None) is not None:
            found[str(unicodedata.decimal(character))] += character
    return found


LOOK_ALIKES = look_alikes()


@st.composite
def disguised(draw: st.DrawFn, texts: tuple[str, ...]) -> str:
    """A text with some of its characters written in another way, and others put between."""
    written = []
    for character in draw(st.sampled_from(texts)):
        others = LOOK_ALIKES.get(character.lower(), "")
        written.append(draw(st.sampled_from(others)) if others and draw(st.booleans()) else character)
        if draw(st.integers(0, 3)) == 0:
            written.append(draw(st.sampled_from(UNSEEN)))
        elif character.isdigit() and draw(st.integers(0, 5)) == 0:
            written.append(draw(st.sampled_from(SEPARATORS)))
    return "".join(written)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    text = draw(st.sampled_from(WRAPPINGS))(draw(disguised(TEXTS)))
    value = draw(st.sampled_from([text, [text], {"value": text}, 123, "1234", "999999999999", 4242424242424242]))
    return {draw(disguised(KEYS)): value}


@given(document=documents())
def test_whatever_the_search_finds_the_sieve_suspects(document: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_suspicious", lambda _: True)
        patch.setattr(search, "_may_hold", lambda _: True)
        found = find_payment_data(document)
    assert found is None or find_payment_data(document) is not None


@pytest.mark.parametrize(
    "document",
    [
        {"c\u200bvv": "123"},
        {"ｃｖｖ": "123"},
        {"c中v中v": "123"},
        {"𝐩𝐢𝐧": "1234"},
        {"cav२": "123"},
        {"note": "the c\u00advc is 123"},
        {"note": '{"cid":123}'},
        {"note": "c%76v 123"},
        {"note": quote("4242\n4242\n4242\n4242")},
        {"note": "4242%2D4242%2D4242%2D4242"},
        {"note": base64.b64encode("４２４２４２４２４２４２４２４２".encode()).decode()},
        {"note": "4\x002424242\x1f42424242"},
    ],
    ids=repr,
)
def test_what_is_disguised_is_found(document: Any) -> None:
    """S8: look-alike letters and digits, what nobody sees, and what is wrapped once."""
    assert find_payment_data(document) is not None
