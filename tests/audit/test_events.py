from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.audit.events import build_event, event_hash, format_time, parse_time, root_hash
from agent_sessions.crypto.commitments import commitment
from agent_sessions.exceptions import InvalidValue

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST: dict[str, Any] = {
    "run_id": "run",
    "seq": 1,
    "event_id": "e1",
    "timestamp": NOON,
    "kind": "session.created",
    "actor": "agent",
    "prev_hash": "",
}


def test_an_event_with_nothing_to_say_has_the_members_of_the_protocol() -> None:
    """Contract item 74."""
    assert build_event(**FIRST) == (
        b'{"actor":"agent","capability":"","event_id":"e1","kind":"session.created","method":"","params":{},'
        b'"policy_result":"allow","prev_hash":"","response_status":200,"run_id":"run","seq":1,'
        b'"timestamp":"2026-11-21T12:00:00.000000Z","type":"agent-session-event/v1"}'
    )


def test_everything_that_is_given_stands_in_it() -> None:
    made = commitment(bytes(32), "run", 2, "params.email", "a@shop.example")
    facts: dict[str, Any] = {
        **FIRST,
        "seq": 2,
        "prev_hash": "0" * 64,
        "capability": "cart.add",
        "method": "POST",
        "params": MappingProxyType({"quantity": 2}),
        "policy_result": "deny",
        "policy_rule": "too many",
        "response_status": 403,
        "version": 0,
        "base_version": 0,
        "duration_ms": 0,
        "private": {"params.email": made},
        "header": {"site": "x"},
    }
    event = json.loads(build_event(**facts))
    assert event == {
        **facts,
        "params": {"quantity": 2},
        "timestamp": "2026-11-21T12:00:00.000000Z",
        "type": "agent-session-event/v1",
    }


def test_a_clock_that_was_set_back_makes_no_event_that_cannot_be_verified() -> None:
    assert json.loads(build_event(**FIRST, duration_ms=-5))["duration_ms"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"policy_result": "maybe"},
        {"response_status": 0},
        {"response_status": 600},
        {"prev_hash": "0" * 64},
        {"seq": 2},
        {"timestamp": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"params": {"price": 1.5}},
        {"version": 2**53},
    ],
)
def test_refuses_events_that_no_verifier_accepts(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        build_event(**{**FIRST, **change})


def test_hashes_are_what_the_protocol_says() -> None:
    """Contract section 3: SHA-256 of the event; of the joined hex hashes."""
    one, two = event_hash(b"one"), event_hash(b"two")
    assert one == hashlib.sha256(b"one").hexdigest()
    assert root_hash(iter([one, two])) == hashlib.sha256((one + two).encode()).hexdigest()
    assert root_hash([]) == hashlib.sha256(b"").hexdigest()
    assert root_hash([two, one]) != root_hash([one, two])


@settings(deadline=None)
@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES))  # noqa: DTZ001
def test_times_are_utc_with_six_digits_and_read_back(moment: datetime) -> None:
    text = format_time(moment)
    assert len(text) == 27
    assert parse_time(text) == moment
    assert format_time(parse_time(text)) == text


def test_times_of_other_zones_are_converted() -> None:
    assert format_time(NOON.astimezone(timezone(timedelta(hours=-3)))) == "2026-11-21T12:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000Z", "2026-11-21 12:00:00.000000Z",
        "2026-11-21T12:00:00.000000",
        "2026-11-21T12:00:00.000000+00:00", "2026-11-21T12:00:00.000000z", "2026-02-30T12:00:00.000000Z",
        "2026-11-21T24:00:00.000000Z", "2026-11-21T12:00:60.000000Z", "0000-01-01T00:00:00.000000Z",
        "２026-11-21T12:00:00.000000Z", "2026-11-21T12:00:00.000000Z\n",
    ],
)  # fmt: skip
def test_times_have_one_spelling(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_time(text)
