from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.crypto.commitments import commitment, opens, salt_for
from agent_sessions.exceptions import InvalidValue
from tests.crypto.test_canonical import DOCUMENTS, TEXT

KEY = bytes(range(32))
RUN = "0193a6f0-0000-7000-8000-000000000001"
PLACES = st.tuples(TEXT, st.integers(1, 2**40), TEXT)


def test_is_the_formula_of_the_format() -> None:
    salt = hmac.digest(KEY, b'agent-session-salt/v1\0["run",3,"params.email"]', hashlib.sha256)
    mac = hmac.digest(salt, b'agent-session-commit/v1\0["run",3,"params.email",{"a":1,"b":null}]', hashlib.sha256)
    assert salt_for(KEY, "run", 3, "params.email") == salt
    made = commitment(salt, "run", 3, "params.email", {"b": None, "a": 1})
    assert made == base64.urlsafe_b64encode(mac).decode().rstrip("=")


@settings(deadline=None)
@given(PLACES, DOCUMENTS, DOCUMENTS)
def test_opens_to_its_value_and_to_no_other(where: tuple[str, int, str], value: Any, other: Any) -> None:
    salt = salt_for(KEY, *where)
    made = commitment(salt, *where, value)
    assert len(made) == 43
    assert opens(made, salt, *where, value)
    if commitment(salt, *where, other) != made:
        assert not opens(made, salt, *where, other)
    else:
        assert value == other


@settings(deadline=None)
@given(PLACES, PLACES)
def test_places_share_neither_salt_nor_commitment(one: tuple[str, int, str], other: tuple[str, int, str]) -> None:
    if one != other:
        assert salt_for(KEY, *one) != salt_for(KEY, *other)
        assert not opens(commitment(KEY, *one, "x"), KEY, *other, "x")


def test_needs_the_salt_of_its_own_key() -> None:
    made = commitment(salt_for(KEY, RUN, 1, "purpose"), RUN, 1, "purpose", "kite")
    assert not opens(made, salt_for(bytes(32), RUN, 1, "purpose"), RUN, 1, "purpose", "kite")


def test_true_is_not_one() -> None:
    assert not opens(commitment(KEY, RUN, 1, "p", 1), KEY, RUN, 1, "p", True)


@pytest.mark.parametrize("junk", ["", "é", "\ud800", "A" * 43, "A" * 44])
def test_junk_opens_nothing(junk: str) -> None:
    assert not opens(junk, KEY, RUN, 1, "p", "x")


def test_values_that_no_document_holds_are_refused_and_open_nothing() -> None:
    with pytest.raises(InvalidValue):
        commitment(KEY, RUN, 1, "p", 1.5)
    assert not opens("A" * 43, KEY, RUN, 1, "p", 1.5)
