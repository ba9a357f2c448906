"""Consumer assertions: made by this site, read by this site, and nothing else passes for one (C1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent_sessions.crypto.assertions import PREFIX, issue_assertion, read_assertion
from agent_sessions.crypto.encoding import from_base64url, to_base64url
from agent_sessions.crypto.keys import LocalKeyProvider
from agent_sessions.crypto.sealed_texts import MAX_LENGTH
from agent_sessions.crypto.tokens import issue_token
from agent_sessions.domain.ids import new_id
from agent_sessions.exceptions import InvalidAssertion, InvalidValue

UNTIL = datetime(2026, 3, 2, 10, 0, 0, 123456, tzinfo=UTC)
PROVIDER = LocalKeyProvider({"k1": bytes(range(32))})


def issue(provider: Any = PROVIDER, **changes: Any) -> str:
    facts = {"generation": 7, "consumer": "c-1", "merchant": "tea", "expires_at": UNTIL, **changes}
    return issue_assertion(provider, **facts)


def test_what_was_issued_is_read() -> None:
    claims = read_assertion(PROVIDER, issue())

    assert (claims.consumer, claims.merchant, claims.expires_at, claims.generation) == ("c-1", "tea", UNTIL, 7)


def test_it_tells_nothing_and_no_two_are_alike() -> None:
    one, other = issue(), issue()

    assert one != other
    assert one.startswith(PREFIX)
    assert "c-1" not in one
    assert b"c-1" not in from_base64url(one[len(PREFIX) :])


def test_an_older_master_key_still_reads_it() -> None:
    old = issue()
    both = LocalKeyProvider({"k2": bytes(range(1, 33)), "k1": bytes(range(32))})

    assert read_assertion(both, old).consumer == "c-1"
    assert read_assertion(both, issue(both)).consumer == "c-1"


@pytest.mark.parametrize("position", [0, 1, 2, 4, 8, 20, 40, -1])
def test_a_changed_byte_is_found(position: int) -> None:
    raw = bytearray(from_base64url(issue()[len(PREFIX) :]))
    raw[position] ^= 1

    with pytest.raises(InvalidAssertion):
        read_assertion(PROVIDER, PREFIX + to_base64url(bytes(raw)))


def test_nothing_else_passes_for_one() -> None:
    token = issue_token(
        PROVIDER, generation=7, session_id=new_id(), consumer="c-1", merchant="tea", started_at=UNTIL, version=1
    )
    good = issue()
    others: list[Any] = [
        "",
        PREFIX,
        good[:-2],
        good + "A",
        good[4:],
        "c-1",
        None,
        7,
        token,
        PREFIX + token[4:],
        "x" * 5000,
    ]
    others += [issue(LocalKeyProvider({name: bytes(range(2, 34))})) for name in ("k1", "k9")]
    for text in others:
        with pytest.raises(InvalidAssertion):
            read_assertion(PROVIDER, text)


def test_what_is_too_long_is_not_issued() -> None:
    with pytest.raises(InvalidValue, match=str(MAX_LENGTH)):
        issue(merchant="m" * MAX_LENGTH)
