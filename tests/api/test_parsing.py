"""A body has one meaning or none."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.api.errors import MalformedRequest
from agent_sessions.api.parsing import read_object
from tests.api.conftest import AgentClient

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":{"b":1,"b":1}}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "NaN"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":' + b"9" * 33 + b"}", "32 characters"),
        (b'{"a":0.' + b"9" * 5000 + b"}", "32 characters"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":["\\u0000"]}', "NUL"),
        (b'{"a":"\x00"}', "JSON"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "JSON"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "levels"),
        (b"[" * 30_000, "levels"),
        (b'{"a":' * 10_000, "levels"),
        (b"{'a':1}", "JSON"),
        (b'{"a":1,}', "JSON"),
        (b'{"a":1} {}', "JSON"),
        (b"null", "object"),
        (b"7", "object"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(body: bytes, about: str) -> None:
    with pytest.raises(MalformedRequest, match=about) as refused:
        read_object(body, JSON)

    assert refused.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data; boundary=x",
     "application/json; charset=utf-16", "application/json; charset=latin-1"],
)  # fmt: skip
def test_a_body_of_another_type_is_refused_and_an_empty_one_is_not(content_type: str) -> None:
    with pytest.raises(MalformedRequest):
        read_object(b'{"a":1}', content_type)
    assert read_object(b"", content_type) == {}


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"', "application/json;"]
)
def test_json_is_recognised_however_its_type_is_spelled(content_type: str) -> None:
    assert read_object('{"a":"é😀","b":0.5,"c":null}'.encode(), content_type) == {"a": "é😀", "b": 0.5, "c": None}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), PLAIN), st.booleans()
)
def test_every_other_document_is_read_as_everybody_reads_it(document: dict[str, Any], escaped: bool) -> None:
    assert read_object(json.dumps(document, ensure_ascii=escaped).encode(), JSON) == document


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_more_than_be_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        assert isinstance(read_object(body, JSON), dict)


@pytest.mark.django_db
@pytest.mark.parametrize("size", [99, 100])
def test_a_body_up_to_the_limit_is_read(agent: AgentClient, configure: Any, size: int) -> None:
    configure(MAX_BODY_BYTES=100)

    body = json.dumps({"purpose": "p" * 50}).ljust(size).encode()

    assert agent.data("POST", "/session", body, status=201)


@pytest.mark.django_db
@pytest.mark.parametrize("declared", ["101", "9" * 5000])
def test_a_larger_body_is_refused_before_it_is_read(agent: AgentClient, configure: Any, declared: str) -> None:
    configure(MAX_BODY_BYTES=100)

    refusal = agent.refused(413, "POST", "/session", b"{}", CONTENT_LENGTH=declared)

    assert refusal["code"] == "body_too_large"
    assert refusal["details"] == {"limit": 100}


@pytest.mark.django_db
def test_a_body_that_a_middleware_has_read_is_read_again(shopper: AgentClient, settings: Any) -> None:
    settings.MIDDLEWARE = ["tests.api.hosts.reads_the_body", *settings.MIDDLEWARE]

    assert shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
