"""Opening a session: what is stored of it, for how long, and what is refused before anything is (S1, S3, L1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor, Agent, Scope
from agent_sessions.exceptions import InvalidValue, KeyProblem, LimitExceeded
from agent_sessions.models import Session, SessionKey, SessionVersion
from tests.conftest import MORNING, SHOPPING_AGENT
from tests.shopping import basket, line, variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def test_stores_who_acts_for_whom_where_and_how_far(opened: Any) -> None:
    """S3: agent, consumer, merchant and the scope of its authority."""
    consumer = services.consumer_pseudonym("customer-4711", merchant="mugs")
    scope = Scope(capabilities=("cart.add", "cart.view"), spend_cap=20_000, currency="EUR")

    session = selectors.get_session(
        opened(consumer=consumer, merchant="mugs", scope=scope, parent_request="req-9").session_id
    )

    agent = Agent(session.agent_name, session.agent_version, session.agent_operator, session.agent_key)
    assert agent == SHOPPING_AGENT
    assert (session.consumer, session.merchant, session.parent_request) == (consumer, "mugs", "req-9")
    assert Scope.from_json(session.scope) == scope
    assert (session.status, session.kind, session.end_reason, session.ended_at) == ("active", "standard", "", None)


def test_first_event_binds_the_facts_of_the_session(opened: Any) -> None:
    """S3, A1: none of them can be changed later without breaking the chain."""
    actor, call = Actor("consumer", "c-1"), Call("session.start", "POST", params={"channel": "voice"})
    one = opened(merchant="mugs", scope=Scope(capabilities=("cart.add",)), actor=actor, call=call)

    (event,) = selectors.events(one.session_id)

    header = event["header"]
    assert (event["kind"], event["seq"], event["version"], event["prev_hash"]) == ("session.created", 1, 1, "")
    assert (event["actor"], event["capability"], event["method"]) == ("consumer:c-1", "session.start", "POST")
    assert event["params"] == {"channel": "voice", "agent_key": "ed25519:k1"}
    assert header["agent"] == {"name": "Shopping helper", "operator": "Acme Assistants", "version": "2.1"}
    assert (header["merchant"], header["capabilities"], header["site"]) == (
        "mugs",
        ["cart.add"],
        "https://shop.example",
    )
    assert header["token_hash"] == bytes(selectors.get_session(one.session_id).token_digest).hex()


def test_initial_state_is_version_one(opened: Any) -> None:
    """S1, V1"""
    state = {**basket(a=line(quantity=2)), **variables(mood="curious")}

    one = opened(state=state)

    view = selectors.current_state(one.session_id)
    assert (one.version, view.version, view.state) == (1, 1, state)
    (version,) = selectors.versions(one.session_id)
    assert (version.number, version.kind, version.actor, version.event_seq) == (1, "session.created", "agent", 1)


def test_without_a_state_version_one_is_empty(opened: Any) -> None:
    view = selectors.current_state(opened().session_id)

    assert (view.version, view.state) == (1, {})


def test_merchant_defaults_to_the_setting(opened: Any, configure: Any) -> None:
    configure(MERCHANT="the-only-shop")

    assert selectors.get_session(opened().session_id).merchant == "the-only-shop"


def test_each_session_has_two_data_keys_of_its_own(opened: Any) -> None:
    """A7: destroying one key erases what is personal in one session, the other one the rest of it."""
    heads = [selectors.read_head(opened().session_id) for _ in range(2)]

    keys = [key for head in heads for key in (head.data_keys().content, head.data_keys().personal)]

    assert len(set(keys)) == 4
    assert all(len(key) == 32 for key in keys)
    assert not any(
        key in bytes(row.wrapped) + bytes(row.personal or b"") for key in keys for row in SessionKey.objects.all()
    )


def test_deadline_is_the_time_to_live_of_its_kind(opened: Any, configure: Any, clock: Any) -> None:
    """L1: kinds with their own time to live, all settings."""
    configure(TTL={"quote": 600, "payment": 10_800})

    deadlines = {kind: opened(kind=kind).expires_at - MORNING for kind in ("standard", "quote", "payment")}

    assert deadlines == {"standard": 30 * MINUTE, "quote": 10 * MINUTE, "payment": 180 * MINUTE}
    assert set(Session.objects.values_list("kind", flat=True)) == deadlines.keys()


@pytest.mark.parametrize(("scope_minutes", "deadline_minutes"), [(5, 5), (30, 30), (45, 30)])
def test_deadline_is_never_later_than_the_scope(
    opened: Any, clock: Any, scope_minutes: int, deadline_minutes: int
) -> None:
    """L1, S3: the authority of the agent ends the session too."""
    one = opened(scope=Scope(expires_at=MORNING + scope_minutes * MINUTE))

    assert one.expires_at == MORNING + deadline_minutes * MINUTE
    assert selectors.get_session(one.session_id).expires_at == one.expires_at


def test_activity_does_not_move_the_deadline(opened: Any, clock: Any) -> None:
    """L1: the deadline is hard."""
    one = opened()
    clock.move_to(MORNING + 29 * MINUTE)

    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    services.record_event(one.session_id, kind="cart.viewed")

    assert selectors.read_head(one.session_id).expires_at == MORNING + 30 * MINUTE


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "e-mail address as consumer": ({"consumer": "ann@example.com"}, "/consumer"),
    "name as consumer": ({"consumer": "Ann Example"}, "/consumer"),
    "long consumer": ({"consumer": "c" * 65}, "/consumer"),
    "number as consumer": ({"consumer": 4711}, "/consumer"),
    "unknown kind": ({"kind": "forever"}, "/kind"),
    "long purpose": ({"purpose": "p" * 1001}, "/purpose"),
    "NUL in the purpose": ({"purpose": "a\0b"}, "/purpose"),
    "lone surrogate in the purpose": ({"purpose": "\ud800"}, "/purpose"),
    "long merchant": ({"merchant": "m" * 201}, "/merchant"),
    "NUL in the merchant": ({"merchant": "m\0"}, "/merchant"),
    "long parent request": ({"parent_request": "r" * 65}, "/parent_request"),
    "expired scope": ({"scope": Scope(expires_at=MORNING - MINUTE)}, "/scope/expires_at"),
    "scope that expires now": ({"scope": Scope(expires_at=MORNING)}, "/scope/expires_at"),
    "float in the state": ({"state": {"agent": {"price": 1.5}}}, "/agent/price"),
    "unknown slice": ({"state": {"basket": {}}}, "/basket"),
    "line without a price": ({"state": basket(a={"item": "x"})}, "/shopping/lines/a"),
}


@pytest.mark.parametrize(("facts", "path"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_before_anything_is_written(
    opened: Any, clock: Any, facts: dict[str, Any], path: str
) -> None:
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        opened(**facts)

    assert (refusal.value.path, refusal.value.code, refusal.value.status) == (path, "invalid_value", 422)
    assert everything_stored() == before


def test_refusal_does_not_repeat_the_personal_value(opened: Any) -> None:
    with pytest.raises(InvalidValue) as refusal:
        opened(consumer="ann@example.com")

    assert "ann" not in f"{refusal.value} {refusal.value.details}"
    assert "consumer_pseudonym()" in str(refusal.value)


def test_unknown_kind_is_answered_with_the_kinds_there_are(opened: Any, configure: Any) -> None:
    configure(TTL={"quote": 600})

    with pytest.raises(InvalidValue, match=r"standard, quote"):
        opened(kind="forever")


def test_too_large_a_state_is_refused_before_anything_is_written(opened: Any, configure: Any) -> None:
    """S7"""
    configure(MAX_SLICE_BYTES=100)
    before = everything_stored()

    with pytest.raises(LimitExceeded, match=r"slice agent would hold \d+ bytes; the limit is 100"):
        opened(state=variables(notes="n" * 100))

    assert everything_stored() == before


def test_without_a_safe_master_key_nothing_is_written(opened: Any, configure: Any) -> None:
    configure(MASTER_KEYS={})
    before = everything_stored()

    with pytest.raises(KeyProblem, match="MASTER_KEYS"):
        opened()

    assert everything_stored() == before


def test_sessions_run_side_by_side_and_apart(opened: Any) -> None:
    """L7: many at once from one agent definition."""
    sessions = [opened() for _ in range(3)]

    for number, one in enumerate(sessions):
        services.change_session(one.session_id, expected_version=1, patch=variables(number=number))

    states = [selectors.current_state(one.session_id).state for one in sessions]
    assert states == [variables(number=number) for number in range(3)]
    assert SessionVersion.objects.count() == 6
