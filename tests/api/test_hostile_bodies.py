"""Bodies that nobody should send: each gets an envelope that says what to fix, and nothing of it is kept."""

from __future__ import annotations

import pytest

from agent_sessions import selectors
from tests.api.conftest import AgentClient

HOSTILE = {
    "cut off": (b'{"item_id": "mug"', "not JSON"),
    "no quotes": (b"{item_id: mug}", "not JSON"),
    "a comma too many": (b'{"item_id": "mug",}', "not JSON"),
    "two documents": (b'{"item_id": "mug"}{"item_id": "mug"}', "not JSON"),
    "a form": (b"item_id=mug&quantity=1", "not JSON"),
    "HTML": (b"<script>alert(1)</script>", "not JSON"),
    "UTF-16": ('{"item_id": "mug"}'.encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"item_id": "mug"}', "not JSON"),
    "half a character": (b'{"item_id": "m\xc3"}', "not UTF-8"),
    "overlong UTF-8": (b'{"item_id": "\xc0\xaf"}', "not UTF-8"),
    "a list": (b'[{"item_id": "mug"}]', "not a JSON object"),
    "text": (b'"mug"', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "a key twice": (b'{"item_id": "mug", "quantity": 1, "quantity": 9999}', "same key twice"),
    "a key twice, deep": (b'{"item_id": "mug", "extra": [{"a": 1, "a": 2}]}', "same key twice"),
    "a lone surrogate": (rb'{"item_id": "\ud800"}', "half a surrogate pair"),
    "a lone surrogate as key": (rb'{"item_id": "mug", "\udfff": 1}', "half a surrogate pair"),
    "a NUL": (rb'{"item_id": "mug\u0000"}', "NUL"),
    "a NUL as a byte": (b'{"item_id": "mug\x00"}', "not JSON"),
    "a line end in text": (b'{"item_id": "mug\n"}', "not JSON"),
    "depth": (b'{"item_id": ' + b"[" * 40 + b"]" * 40 + b"}", "levels"),
    "much depth": (b'{"item_id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "levels"),
    "depth that never ends": (b'{"a":' * 10_000, "levels"),
    "NaN": (b'{"item_id": "mug", "quantity": NaN}', "NaN"),
    "Infinity": (b'{"item_id": "mug", "quantity": -Infinity}', "NaN or Infinity"),
    "a number of many digits": (b'{"item_id": "mug", "quantity": ' + b"9" * 5_000 + b"}", "number of more than 32"),
    "a number that is infinite": (b'{"item_id": "mug", "quantity": 1e999}', "number that is too large"),
    "a number beyond what JSON can tell": (b'{"item_id": "mug", "quantity": 9007199254740993}', "quantity: "),
    "a hexadecimal number": (b'{"item_id": "mug", "quantity": 0x10}', "not JSON"),
    "a leading zero": (b'{"item_id": "mug", "quantity": 01}', "not JSON"),
    "a fraction": (b'{"item_id": "mug", "quantity": 1.5}', "quantity: Send a whole number"),
    "a whole number as a fraction": (b'{"item_id": "mug", "quantity": 1.0}', "quantity: Send a whole number"),
    "a number as text": (b'{"item_id": "mug", "quantity": "1"}', "quantity: Send a whole number"),
    "true for one": (b'{"item_id": "mug", "quantity": true}', "quantity: Send a whole number"),
    "a list for a number": (b'{"item_id": "mug", "quantity": [1]}', "quantity: Send a whole number"),
    "less than one": (b'{"item_id": "mug", "quantity": -1}', "quantity: Send a whole number of at least 1"),
    "more than anyone buys": (b'{"item_id": "mug", "quantity": 1000000}', "quantity: Send a whole number of at most"),
    "a number for text": (b'{"item_id": 7}', "item_id: Send text"),
    "a map for text": (b'{"item_id": {"$ne": null}}', "item_id: Send text"),
    "empty text": (b'{"item_id": ""}', "item_id: Send text of at least 1"),
    "long text": (b'{"item_id": "' + b"m" * 300 + b'"}', "item_id: Send text of at most 200"),
    "nothing": (b"{}", "item_id: Send it"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_body_is_refused_with_what_to_fix(shopper: AgentClient, case: str) -> None:
    body, says = HOSTILE[case]

    answer = shopper.generic(
        "POST",
        "/.well-known/agents/api/cart",
        body,
        content_type="application/json",
        headers={"X-Agent-Session": shopper.token},
    )

    assert answer.status_code == 400, answer.content
    told = answer.json()
    assert told["ok"] is False
    assert says in told["error"]
    assert "data" not in told
    assert selectors.current_state(selectors.session_of_token(shopper.token)).state == {}, "nothing of it is kept"


@pytest.mark.django_db
def test_a_body_over_the_limit_is_refused_with_the_limit(shopper: AgentClient) -> None:
    answer = shopper.send("POST", "/cart", {"item_id": "mug", "note": "x" * 70_000})

    assert answer.status_code == 413
    assert "65536" in answer.json()["error"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "nonsense"]
)
def test_a_body_of_another_type_is_refused_with_the_right_one(shopper: AgentClient, content_type: str) -> None:
    answer = shopper.send("POST", "/cart", '{"item_id": "mug"}', content_type=content_type)

    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]
