from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.crypto.encoding import from_base64, from_base64url, to_base64, to_base64url


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_both_read_back_what_they_write(raw: bytes) -> None:
    assert from_base64url(to_base64url(raw)) == raw
    assert from_base64(to_base64(raw)) == raw
    assert to_base64(raw) == base64.b64encode(raw).decode()


@pytest.mark.parametrize("text", ["A", "AB=", "QUI=", "QUJ", "QU I", "QUI\n", "+/+/", "QéI", "QU.I", "====", "Q==="])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError):
        from_base64url(text)


@pytest.mark.parametrize("text", ["A", "QUI", "QUJ=", "QU I", "QUI=\n", "-_-_", "QéI=", "====", "QUI=QUI="])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError):
        from_base64(text)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_whatever_is_read_is_written_back_alike(text: str) -> None:
    for read, write in ((from_base64url, to_base64url), (from_base64, to_base64)):
        try:
            raw = read(text)
        except ValueError:
            continue
        assert write(raw) == text
