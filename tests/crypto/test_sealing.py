from __future__ import annotations

import json
import os
import random
import uuid
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.crypto.sealing import MAX_PLAINTEXT, new_data_key, place, seal, unseal
from agent_sessions.exceptions import InvalidValue, KeyProblem, SealBroken

KEY = bytes(range(32))
SESSION = uuid.UUID("0193a6f0-0000-7000-8000-000000000001")
HERE = place(SESSION, "version.patch", 12)


@settings(deadline=None)
@given(st.binary(max_size=2000) | st.integers(0, 3000).map(lambda n: b"ab" * n))
def test_opens_to_what_was_sealed(plaintext: bytes) -> None:
    assert unseal(KEY, HERE, seal(KEY, HERE, plaintext)) == plaintext


def test_the_same_text_is_never_sealed_alike() -> None:
    assert len({seal(KEY, HERE, b"same") for _ in range(50)}) == 50


def test_compresses_only_what_gets_smaller() -> None:
    overhead = 1 + 12 + 16
    repeated, noise = b'{"sku":"kite-7"},' * 100, os.urandom(1700)
    assert len(seal(KEY, HERE, repeated)) < 200
    assert len(seal(KEY, HERE, noise)) == len(noise) + overhead
    assert len(seal(KEY, HERE, b"a" * 32)) == 32 + overhead


def test_a_short_patch_gets_smaller_too() -> None:
    """Its words are known beforehand."""
    line = {"item": "kite-7", "title": "Red kite", "quantity": 2, "unit_price": 1990, "currency": "EUR"}
    patch = json.dumps({"shopping": {"lines": {"l7": line}}}, separators=(",", ":")).encode()
    assert len(seal(KEY, HERE, patch)) < len(patch) * 2 / 3


def test_trying_harder_makes_it_smaller_and_opens_alike() -> None:
    rng = random.Random(7)
    text = " ".join(rng.choices(["kite", "mug", "blue", "red", "large", "bowl"], k=3000)).encode()
    hard = seal(KEY, HERE, text, level=6)
    assert len(hard) < len(seal(KEY, HERE, text))
    assert unseal(KEY, HERE, hard) == text


def test_the_words_of_the_format_never_change() -> None:
    """What was sealed with them would not open; other words need another format byte."""
    sealed = bytes.fromhex(
        "0289a2a1fd8f7f55e1944f0ea5e2bd9bea727ef06ead16c939253445f5cb3c43abaa646bf55010e35bce5c826f2f"
    )
    assert unseal(KEY, HERE, sealed) == b'{"shopping":{"lines":{"l1":{"item":"mug","quantity":2,"currency":"EUR"}}}}'


def test_keys_are_random() -> None:
    assert len({new_data_key() for _ in range(50)}) == 50
    assert len(new_data_key()) == 32


@pytest.mark.parametrize("text", [b"short", b"long enough to be deflated " * 40])
def test_every_changed_byte_and_every_cut_shows(text: bytes) -> None:
    sealed = seal(KEY, HERE, text)
    for at in range(len(sealed)):
        for flip in (0x01, 0x03, 0x80):
            with pytest.raises(SealBroken):
                unseal(KEY, HERE, sealed[:at] + bytes([sealed[at] ^ flip]) + sealed[at + 1 :])
        with pytest.raises(SealBroken):
            unseal(KEY, HERE, sealed[:at])
    with pytest.raises(SealBroken):
        unseal(KEY, HERE, sealed + b"\0")


@pytest.mark.parametrize(
    "elsewhere",
    [
        place(uuid.UUID(int=7), "version.patch", 12),
        place(SESSION, "version.snapshot", 12),
        place(SESSION, "version.patch", 13),
    ],
)
def test_does_not_open_elsewhere(elsewhere: bytes) -> None:
    sealed = seal(KEY, HERE, b"moved")
    with pytest.raises(SealBroken):
        unseal(KEY, elsewhere, sealed)


def test_does_not_open_with_another_key() -> None:
    with pytest.raises(SealBroken):
        unseal(new_data_key(), HERE, seal(KEY, HERE, b"x"))


def test_says_which_seal_is_broken() -> None:
    with pytest.raises(SealBroken, match=f"version.patch 12 of session {SESSION}"):
        unseal(KEY, HERE, b"")
    with pytest.raises(SealBroken, match="unnamed place"):
        unseal(KEY, b"not from place()", b"")


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_refuses_keys_of_another_length(size: int) -> None:
    for attempt in (seal, unseal):
        with pytest.raises(KeyProblem, match=f"{size} bytes"):
            attempt(bytes(size), HERE, b"x" * 40)


def _forge(form: bytes, body: bytes) -> bytes:
    """What only the holder of the key can make: authentic, but not what ``seal`` writes."""
    nonce = os.urandom(12)
    return form + nonce + AESGCM(KEY).encrypt(nonce, body, HERE + form)


def test_refuses_a_bomb_and_bad_deflate() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(65)) + packer.flush()
    good = zlib.compress(b"x" * 300, wbits=-15)
    for body in (bomb, b"not deflate", good[:-1], good + b"tail"):
        with pytest.raises(SealBroken):
            unseal(KEY, HERE, _forge(b"\x02", body))
    assert unseal(KEY, HERE, _forge(b"\x02", good)) == b"x" * 300


@pytest.mark.parametrize("form", [b"\0", b"\x03", b"\xff"])
def test_refuses_formats_that_it_does_not_know(form: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, HERE, _forge(form, b"x"))


def test_holds_up_to_its_limit_and_no_more() -> None:
    full = bytes(MAX_PLAINTEXT)
    assert unseal(KEY, HERE, seal(KEY, HERE, full)) == full
    with pytest.raises(InvalidValue):
        seal(KEY, HERE, full + b"\0")


@settings(deadline=None)
@given(
    *[
        st.tuples(
            st.uuids(),
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            st.integers(0, 2**64 - 1),
        )
    ]
    * 2
)
def test_no_two_places_are_written_alike(one: tuple[uuid.UUID, str, int], other: tuple[uuid.UUID, str, int]) -> None:
    assert (place(*one) == place(*other)) is (one == other)


def test_refuses_places_that_could_be_read_in_two_ways() -> None:
    for what, number in (("a\0b", 1), ("a", -1), ("a", 2**64)):
        with pytest.raises(InvalidValue):
            place(SESSION, what, number)
