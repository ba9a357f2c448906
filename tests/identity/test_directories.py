"""Keys are kept, renewed and withdrawn at the right time, and fetched no more often than need be."""

from __future__ import annotations

import logging

import pytest
import time_machine as clocks
from django.core.cache.backends.locmem import LocMemCache

from agent_sessions.identity import Problem
from agent_sessions.identity.directories import KeyDirectories
from agent_sessions.identity.fetching import FetchedDirectory
from agent_sessions.identity.keys import MAX_KEYS
from agent_sessions.identity.outcome import Refused
from agent_sessions.identity.signing import key_directory
from tests.identity.agents import AGENT, KEYID, OTHER_KEY, OTHER_KEYID, SIGNING_KEY, FakeDirectories

ONE_KEY = key_directory(SIGNING_KEY.public_key())
NEW_KEY = key_directory(OTHER_KEY.public_key())
MINUTE, HOUR = 60, 3600


@pytest.fixture
def network(clock: clocks.Traveller) -> FakeDirectories:
    return FakeDirectories({AGENT: ONE_KEY})


@pytest.fixture
def known(cache: LocMemCache, network: FakeDirectories) -> KeyDirectories:
    return KeyDirectories(cache, network)


def refusal(known: KeyDirectories, keyid: str = KEYID) -> Problem:
    with pytest.raises(Refused) as refused:
        known.key(AGENT, keyid)
    return refused.value.problem


@pytest.mark.parametrize(
    ("max_age", "kept"),
    [(None, HOUR), (0, MINUTE), (5, MINUTE), (600, 600), (24 * HOUR, 24 * HOUR), (10**9, 24 * HOUR)],
)
def test_keys_are_kept_as_long_as_the_server_says_within_bounds(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller, max_age: int | None, kept: int
) -> None:
    network.max_age = max_age

    assert known.key(AGENT, KEYID).algorithm == "ed25519"
    clock.shift(kept - 0.1)
    known.key(AGENT, KEYID)
    assert len(network.asked) == 1
    clock.shift(0.1)
    known.key(AGENT, KEYID)
    assert len(network.asked) == 2


def test_a_key_that_is_withdrawn_is_gone_with_the_next_reading(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller
) -> None:
    known.key(AGENT, KEYID)
    network.pages[AGENT] = NEW_KEY
    clock.shift(HOUR)

    assert refusal(known) == Problem.KEY_UNKNOWN
    assert known.key(AGENT, OTHER_KEYID)


def test_a_new_key_is_found_before_the_old_directory_runs_out_but_not_by_asking_all_the_time(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller
) -> None:
    known.key(AGENT, KEYID)
    network.pages[AGENT] = NEW_KEY

    assert [refusal(known, OTHER_KEYID) for _ in range(3)] == [Problem.KEY_UNKNOWN] * 3
    assert len(network.asked) == 1
    clock.shift(MINUTE)
    assert known.key(AGENT, OTHER_KEYID)
    assert len(network.asked) == 2


def test_a_failure_is_remembered_for_a_minute_and_logged(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    network.pages = {}

    with caplog.at_level(logging.WARNING, logger="agent_sessions"):
        assert [refusal(known) for _ in range(3)] == [Problem.DIRECTORY_UNAVAILABLE] * 3
    assert network.asked == [AGENT]
    assert caplog.messages == [f"The key directory of {AGENT}: it is down"]
    network.pages = {AGENT: ONE_KEY}
    clock.shift(MINUTE)
    assert known.key(AGENT, KEYID)


@pytest.mark.parametrize("broken", [None, b"<html>", b'{"keys": [' + b"{}," * MAX_KEYS + b"{}]}"])
def test_a_directory_that_is_down_or_broken_does_not_withdraw_its_keys_for_a_day(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller, broken: bytes | None
) -> None:
    known.key(AGENT, KEYID)
    network.pages = {} if broken is None else {AGENT: broken}

    clock.shift(HOUR)
    assert known.key(AGENT, KEYID)
    assert known.key(AGENT, KEYID)
    assert len(network.asked) == 2, "after a failure it is not asked again for a minute"
    assert refusal(known, OTHER_KEYID) == Problem.KEY_UNKNOWN

    clock.shift(23 * HOUR)
    assert known.key(AGENT, KEYID)
    clock.shift(HOUR)
    assert refusal(known) == Problem.DIRECTORY_UNAVAILABLE


def test_one_request_renews_the_keys_and_the_others_do_not_wait(
    cache: LocMemCache, network: FakeDirectories, clock: clocks.Traveller
) -> None:
    meanwhile: list[str] = []

    def fetch(origin: str) -> FetchedDirectory:
        if network.asked:
            meanwhile.append(kept.key(origin, KEYID).algorithm)
        return network(origin)

    kept = KeyDirectories(cache, fetch)
    kept.key(AGENT, KEYID)
    clock.shift(HOUR)
    kept.key(AGENT, KEYID)

    assert meanwhile == ["ed25519"]
    assert len(network.asked) == 2


def test_a_key_is_used_in_the_time_it_is_meant_for(
    known: KeyDirectories, network: FakeDirectories, clock: clocks.Traveller
) -> None:
    """The clock of the tests stands at 1772445600."""
    network.pages[AGENT] = ONE_KEY.replace(b'"kty"', b'"nbf":1772445660,"exp":1772445720,"kty"')

    assert refusal(known) == Problem.KEY_UNKNOWN
    clock.shift(60)
    assert known.key(AGENT, KEYID)
    clock.shift(60)
    assert refusal(known) == Problem.KEY_UNKNOWN


def test_keys_are_looked_up_in_the_directory_they_are_claimed_for(
    known: KeyDirectories, network: FakeDirectories
) -> None:
    network.pages["https://other.example"] = NEW_KEY
    known.key(AGENT, KEYID)

    with pytest.raises(Refused):
        known.key("https://other.example", KEYID)
