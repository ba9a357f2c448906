from __future__ import annotations

import base64
import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_sessions.crypto import sealed_texts
from agent_sessions.crypto.keys import LocalKeyProvider
from agent_sessions.crypto.tokens import TokenClaims, issue_token, read_token, same_digest, token_digest
from agent_sessions.exceptions import InvalidToken, InvalidValue, KeyProblem
from tests.crypto.test_canonical import TEXT

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
PROVIDER = LocalKeyProvider({"2026-11": NEW, "2026-10": OLD})
FACTS: dict[str, Any] = {
    "generation": 3,
    "session_id": uuid.UUID("0193a6f0-0000-7000-8000-000000000001"),
    "consumer": "q2Jm0Xc1Zk8L5vPp3aTQeA",
    "merchant": "north",
    "started_at": datetime(2026, 11, 21, 9, 30, 0, 123456, tzinfo=UTC),
    "version": 1,
}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@settings(deadline=None)
@given(
    generation=st.integers(0, 2**32 - 1),
    session_id=st.uuids(),
    consumer=TEXT,
    merchant=TEXT,
    started_at=st.datetimes(timezones=st.just(UTC)),
    version=st.integers(0, 2**53),
)
def test_says_what_was_put_into_it(**facts: Any) -> None:
    claims = read_token(PROVIDER, issue_token(PROVIDER, **facts))
    assert claims == TokenClaims(**facts, master_id="2026-11")
    assert claims.started_at.tzinfo is UTC


def test_times_of_other_zones_are_the_same_moment() -> None:
    east = FACTS["started_at"].astimezone(timezone(timedelta(hours=5)))
    assert read_token(PROVIDER, issue_token(PROVIDER, **{**FACTS, "started_at": east})).started_at == east


def test_is_safe_in_a_path_and_long_enough() -> None:
    """Contract items 6 and 7."""
    token = issue_token(PROVIDER, **FACTS)
    assert re.fullmatch(r"ags_[A-Za-z0-9_-]{60,}", token)
    assert len({issue_token(PROVIDER, **FACTS) for _ in range(100)}) == 100


def test_holds_256_random_bits_that_a_nonce_alone_would_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    monkeypatch.setattr("agent_sessions.crypto.tokens.os.urandom", urandom)
    issue_token(PROVIDER, **FACTS)
    assert sorted(asked) == [12, 32]


def test_shows_nothing_of_what_it_holds() -> None:
    raw = base64.urlsafe_b64decode(issue_token(PROVIDER, **FACTS)[4:] + "==")
    assert FACTS["session_id"].bytes not in raw
    assert FACTS["consumer"].encode() not in raw
    assert FACTS["merchant"].encode() not in raw


def test_older_master_keys_still_read() -> None:
    token = issue_token(LocalKeyProvider({"2026-10": OLD}), **FACTS)
    assert read_token(PROVIDER, token).master_id == "2026-10"


def test_every_changed_character_is_refused() -> None:
    """Also the spare bits of the last character: a token has one spelling."""
    token = issue_token(PROVIDER, **FACTS)
    for at in range(len(token)):
        for put in (*(ALPHABET if at == len(token) - 1 else "Aq-"), "=", " ", "é"):
            if put != token[at]:
                with pytest.raises(InvalidToken):
                    read_token(PROVIDER, token[:at] + put + token[at + 1 :])
        with pytest.raises(InvalidToken):
            read_token(PROVIDER, token[:at])


@pytest.mark.parametrize("size", range(3))
def test_other_spellings_are_refused(size: int) -> None:
    token = issue_token(PROVIDER, **{**FACTS, "merchant": "n" * size})  # every remainder of base64
    for other in (
        token + "=",
        token + "==",
        token + "A",
        token + "\n",
        f" {token}",
        token.upper(),
        token.replace("ags_", "AGS_"),
        token[4:],
    ):
        if other != token:
            with pytest.raises(InvalidToken):
                read_token(PROVIDER, other)


@settings(deadline=None, max_examples=300)
@given(
    st.text()
    | st.binary()
    | st.none()
    | st.integers()
    | st.binary(max_size=300).map(lambda raw: "ags_" + base64.urlsafe_b64encode(raw).decode().rstrip("="))
)
@example("ags_")
@example("ags_AQ")
@example("ags_" + "A" * 1020)
@example("ags_" + "A" * 10_000_000)
@example("ags_\ud800")
@example(["ags_"])
@example("ags_" + base64.urlsafe_b64encode(b"\x01\x07unknown" + bytes(80)).decode().rstrip("="))
@example("ags_" + base64.urlsafe_b64encode(b"\x01\x02\xff\xff" + bytes(80)).decode().rstrip("="))
@example("ags_" + base64.urlsafe_b64encode(b"\x01\xff" + bytes(80)).decode().rstrip("="))
@example("ags_" + base64.urlsafe_b64encode(b"\x01\x00" + bytes(80)).decode().rstrip("="))
@example("ags_" + base64.urlsafe_b64encode(b"\x02\x072026-11" + bytes(80)).decode().rstrip("="))
def test_junk_is_an_invalid_token_and_nothing_else(junk: object) -> None:
    with pytest.raises(InvalidToken):
        read_token(PROVIDER, junk)


def test_other_keys_and_generations_do_not_read_it() -> None:
    token = issue_token(PROVIDER, **FACTS)
    with pytest.raises(InvalidToken):
        read_token(LocalKeyProvider({"2026-11": OLD}), token)
    with pytest.raises(InvalidToken):
        read_token(LocalKeyProvider({"other": NEW}), token)
    raw = bytearray(base64.urlsafe_b64decode(token[4:] + "=="))
    raw[2 + 7 + 3] = 4  # claims the next generation
    with pytest.raises(InvalidToken):
        read_token(PROVIDER, "ags_" + base64.urlsafe_b64encode(raw).decode().rstrip("="))


def test_a_provider_out_of_reach_is_not_an_invalid_token() -> None:
    token = issue_token(PROVIDER, **FACTS)

    class Down(LocalKeyProvider):
        def derive(self, master_id: str, label: bytes) -> bytes:
            raise KeyProblem("The key service does not answer.")

    with pytest.raises(KeyProblem):
        read_token(Down({"2026-11": NEW}), token)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": -1}, {"generation": 2**32}, {"started_at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"consumer": "\ud800"},
        {"merchant": "m" * 1000}, {"version": 2**70},
    ],
)  # fmt: skip
def test_refuses_to_issue_what_it_could_not_read(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        issue_token(PROVIDER, **{**FACTS, **change})


def test_the_longest_token_is_read() -> None:
    facts = {**FACTS, "merchant": "m" * 600}
    assert read_token(PROVIDER, issue_token(PROVIDER, **facts)).merchant == "m" * 600


def test_longer_tokens_are_refused_even_if_they_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sealed_texts, "MAX_LENGTH", 3000)
        token = issue_token(PROVIDER, **{**FACTS, "merchant": "m" * 1000})
        assert read_token(PROVIDER, token).merchant == "m" * 1000
    with pytest.raises(InvalidToken):
        read_token(PROVIDER, token)


def test_tokens_of_a_later_format_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sealed_texts, "_VERSION", 2)
        token = issue_token(PROVIDER, **FACTS)
    with pytest.raises(InvalidToken):
        read_token(PROVIDER, token)


def test_digests() -> None:
    assert token_digest("ags_x") == hashlib.sha256(b"ags_x").digest()
    assert same_digest(token_digest("ags_x"), token_digest("ags_x"))
    assert not same_digest(token_digest("ags_x"), token_digest("ags_y"))
    assert len(token_digest("\ud800")) == 32  # whatever a header brings in
