"""What changed no state is recorded too: calls, refusals, decisions, with what must be private sealed (A1)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.calls import REDACTED, Call
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import AuditEvent, SessionVersion
from tests.conftest import MORNING
from tests.shopping import variables
from tests.stored import is_stored

pytestmark = pytest.mark.django_db


def recorded(session_id: Any, **facts: Any) -> dict[str, Any]:
    """Record an event and return it as the chain has it."""
    made = services.record_event(session_id, **{"kind": "cart.viewed", **facts})
    (event,) = selectors.events(session_id, after=made.seq - 1)
    assert event["event_id"] == str(made.event_id)
    return event


def test_an_event_makes_no_version(opened: Any) -> None:
    """A1, V1"""
    one = opened(state=variables(a=1))

    made = services.record_event(one.session_id, kind="cart.viewed", actor=Actor("consumer", "c-1"))

    assert (made.version, made.seq, made.kind) == (1, 2, "cart.viewed")
    assert SessionVersion.objects.filter(session_id=one.session_id).count() == 1
    view = selectors.current_state(one.session_id)
    assert (view.version, view.state) == (1, variables(a=1))
    event = selectors.events(one.session_id, after=1)[0]
    assert event["actor"] == "consumer:c-1"
    assert not event.keys() & {"version", "base_version", "private", "header", "duration_ms", "policy_rule"}


def test_a_call_is_recorded_with_what_was_asked_and_answered(opened: Any) -> None:
    """A1"""
    call = Call("catalogue.search", "GET", params={"q": "mug", "page": 2}, response_status=206)

    event = recorded(opened().session_id, call=call)

    assert (event["capability"], event["method"], event["params"]) == ("catalogue.search", "GET", call.params)
    assert (event["policy_result"], event["response_status"]) == ("allow", 206)
    row = AuditEvent.objects.get(seq=2)
    assert (row.capability, row.policy_result, row.response_status) == ("catalogue.search", "allow", 206)


def test_a_refusal_names_the_rule_that_refused(opened: Any) -> None:
    """A1: refusals included."""
    call = Call("checkout.start", "POST", policy_result="deny", policy_rule="spend_cap", response_status=403)

    event = recorded(opened().session_id, kind="policy.refused", call=call)

    assert (event["policy_result"], event["policy_rule"], event["response_status"]) == ("deny", "spend_cap", 403)
    assert AuditEvent.objects.get(seq=2).policy_result == "deny"


def test_private_parameters_are_shown_as_stars_and_sealed(opened: Any) -> None:
    """A1, A7: the event commits to them, readers with the right see them."""
    one = opened()
    call = Call("consumer.lookup", params={"by": "email"}, private={"email": "ann@example.com", "ids": [7, 8]})

    event = recorded(one.session_id, call=call, note="she rang us up")
    services.end_session(one.session_id)

    assert event["params"] == {"by": "email", "email": REDACTED, "ids": REDACTED}
    assert event["private"].keys() == {"params.email", "params.ids", "note"}
    assert not is_stored("ann@example.com")
    assert not is_stored("she rang us up")
    artifact = json.loads(services.get_artifact(one.session_id, disclose="all"))
    assert {opening["path"]: opening["value"] for opening in artifact["openings"]} == {
        "params.email": "ann@example.com",
        "params.ids": [7, 8],
        "note": "she rang us up",
    }


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0, 0), (1.5, 1500), (90, 90_000), (-5, 0)])
def test_a_step_that_was_timed_says_how_long_it_took(
    opened: Any, clock: Any, seconds: float, milliseconds: int
) -> None:
    """S4: never negative, whatever the clocks did."""
    one = opened()
    clock.move_to(MORNING + timedelta(minutes=5))
    started = MORNING + timedelta(minutes=5) - timedelta(seconds=seconds)

    event = recorded(one.session_id, call=Call("payment.charge", started_at=started))

    assert event["duration_ms"] == milliseconds


REFUSED_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "policy result": ({"policy_result": "maybe"}, "/policy_result"),
    "status": ({"response_status": 99}, "/response_status"),
    "status text": ({"response_status": "200"}, "/response_status"),
    "long capability": ({"capability": "c" * 65}, "/capability"),
    "long method": ({"method": "m" * 17}, "/method"),
    "long rule": ({"policy_rule": "r" * 201}, "/policy_rule"),
    "NUL in the capability": ({"capability": "a\0"}, "/capability"),
    "float": ({"params": {"price": 1.5}}, "/params/price"),
    "null": ({"private": {"email": None}}, "/private/email"),
    "large params": ({"params": {"text": "x" * 16_384}}, "/params"),
    "large in all": ({"params": {"a": "x" * 9000}, "private": {"b": "x" * 9000}}, "/params"),
    "shown and private": ({"params": {"a": 1}, "private": {"a": 1}}, "/params/a"),
}


@pytest.mark.parametrize(("facts", "path"), REFUSED_CALLS.values(), ids=REFUSED_CALLS.keys())
def test_a_call_that_cannot_be_recorded_cannot_be_made(facts: dict[str, Any], path: str) -> None:
    """A1: it is refused where it is written down, before any session is touched."""
    with pytest.raises(InvalidValue) as refusal:
        Call(**facts)

    assert refusal.value.path == path


def test_a_start_without_a_zone_is_refused_before_anything_is_written(opened: Any) -> None:
    """S4"""
    one = opened()
    naive = datetime(2026, 3, 2, 10, 0)  # noqa: DTZ001

    with pytest.raises(InvalidValue) as refusal:
        recorded(one.session_id, call=Call(started_at=naive))

    assert refusal.value.path == "/started_at"
    assert len(selectors.events(one.session_id)) == 1


@pytest.mark.parametrize("ref", ["ann@example.com", "Ann Example", "a" * 65, "a\n"])
def test_an_actor_is_no_person(ref: str) -> None:
    """S3, A7: what stands in the chain is there for good."""
    with pytest.raises(InvalidValue) as refusal:
        Actor("consumer", ref)

    assert refusal.value.path == "/actor/ref"
    assert ref not in str(refusal.value)


def test_events_are_read_in_pages(opened: Any) -> None:
    """A1"""
    one = opened()
    for _ in range(5):
        services.record_event(one.session_id, kind="cart.viewed")

    first = selectors.events(one.session_id, limit=4)
    rest = selectors.events(one.session_id, after=first[-1]["seq"], limit=4)

    assert [event["seq"] for event in first + rest] == [1, 2, 3, 4, 5, 6]
