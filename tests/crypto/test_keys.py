from __future__ import annotations

import base64
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.crypto.keys import (
    KeyProvider,
    LocalKeyProvider,
    UnknownMasterKey,
    WrappedKeyBroken,
    decode_master_key,
    unsafe_reason,
)
from agent_sessions.exceptions import KeyProblem

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


@pytest.fixture
def provider() -> KeyProvider:
    return LocalKeyProvider({"new": NEW, "old": OLD})


def test_the_first_key_wraps_and_all_unwrap(provider: KeyProvider) -> None:
    before = LocalKeyProvider({"old": OLD}).wrap(b"data key", context=b"session 1")
    assert provider.active_id == "new"
    after = provider.wrap(b"data key", context=b"session 1")
    assert (before[0], after[0]) == ("old", "new")
    for master_id, wrapped in (before, after):
        assert provider.unwrap(master_id, wrapped, context=b"session 1") == b"data key"


def test_a_wrapped_key_is_bound_to_its_context_and_master_key(provider: KeyProvider) -> None:
    master_id, wrapped = provider.wrap(b"data key", context=b"session 1")
    for other_id, context in ((master_id, b"session 2"), ("old", b"session 1")):
        with pytest.raises(WrappedKeyBroken, match=other_id):
            provider.unwrap(other_id, wrapped, context=context)


def test_an_altered_or_cut_wrapped_key_shows(provider: KeyProvider) -> None:
    master_id, wrapped = provider.wrap(b"data key", context=b"c")
    for at in range(len(wrapped)):
        for broken in (wrapped[:at], wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]):
            with pytest.raises(WrappedKeyBroken):
                provider.unwrap(master_id, broken, context=b"c")


def test_wrapping_is_random(provider: KeyProvider) -> None:
    assert len({provider.wrap(b"k", context=b"c")[1] for _ in range(50)}) == 50


def test_an_unknown_key_is_named_with_what_to_do(provider: KeyProvider) -> None:
    with pytest.raises(UnknownMasterKey, match=r"'2019'.*put it back"):
        provider.unwrap("2019", b"x" * 60, context=b"c")
    with pytest.raises(UnknownMasterKey, match="'2019'"):
        provider.derive("2019", b"label")


def test_derived_keys_are_stable_and_differ_by_label_and_master_key(provider: KeyProvider) -> None:
    one = provider.derive("new", b"a")
    assert len(one) == 32
    assert one == LocalKeyProvider({"new": NEW}).derive("new", b"a")
    assert len({one, provider.derive("new", b"b"), provider.derive("new", b""), provider.derive("old", b"a")}) == 4


def test_derived_keys_are_pinned() -> None:
    """Tokens in the field were made with it."""
    assert LocalKeyProvider({"old": OLD}).derive("old", b"label").hex() == (
        "19edea90fc4af08dc3dbd1f839569f08b42eb92722e3ce63869187b0acf78aa0"
    )


def test_what_is_cached_for_derived_keys_is_bounded() -> None:
    provider = LocalKeyProvider({"old": OLD})
    for number in range(1000):
        provider.derive("old", number.to_bytes(4, "big"))
    assert provider._derived.cache_info().currsize <= 256


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "0 bytes"), (bytes(31), "31 bytes"), (bytes(64), "64 bytes"), (bytes(32), "repeated"),
        (b"x" * 32, "repeated"),
        (b"0123456789abcde" * 2 + b"00", "15 different"), (b"changeme" * 4, "different"),
    ],
)  # fmt: skip
def test_unsafe_keys_are_refused_without_showing_them(key: bytes, reason: str) -> None:
    assert reason in (unsafe_reason(key) or "")
    with pytest.raises(KeyProblem) as caught:
        LocalKeyProvider({"good": OLD, "bad-one": key})
    assert "bad-one" in str(caught.value)
    assert not key or repr(key)[2:-1] not in str(caught.value)


def test_random_keys_are_safe() -> None:
    for _ in range(500):
        assert unsafe_reason(secrets.token_bytes(32)) is None
    assert unsafe_reason(b"0123456789abcdef" * 2) is None  # the heuristic's border: 16 different bytes


@pytest.mark.parametrize("master_id", ["", "a b", "é", "x" * 65, "a\n"])
def test_ids_are_short_visible_ascii(master_id: str) -> None:
    with pytest.raises(KeyProblem):
        LocalKeyProvider({master_id: OLD})


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(KeyProblem, match="MASTER_KEYS"):
        LocalKeyProvider({})


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_master_keys_are_read_in_every_usual_spelling(raw: bytes) -> None:
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        for spelling in (text, text.rstrip("="), f"  {text}\n"):
            assert decode_master_key(spelling) == raw


@pytest.mark.parametrize("text", ["", "  ", "=", "secret!", "QUJ", "QUI==", "Q U I =", "QÜI="])
def test_malformed_master_keys_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(KeyProblem) as caught:
        decode_master_key(text)
    assert not text.strip("= ") or text not in str(caught.value)
