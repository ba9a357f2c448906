from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.identity import ACTOR_KINDS, AGENT, SYSTEM, Actor, Agent, Scope
from agent_sessions.domain.values import check_value
from agent_sessions.exceptions import InvalidValue

NOON = datetime(2026, 5, 1, 12, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=2)))


# Agents


@pytest.mark.parametrize("field", ["name", "version", "operator", "key"])
@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "a\0", "a\u202eb", "\x1b[31m", "\ud800", 7, None])
def test_an_agent_is_described_in_short_plain_text(field, text):
    with pytest.raises(InvalidValue) as refused:
        Agent(**{field: text})
    assert refused.value.path == f"/agent/{field}"


def test_an_agent_may_be_named_in_any_script():
    Agent(name="買い物\u3000代理", version="2.1", operator="Größe & Söhne, क्\u200dष", key="k" * 200)
    Agent()


# Actors


@pytest.mark.parametrize("kind", ACTOR_KINDS)
@pytest.mark.parametrize("ref", ["", "42", "a:b:c", "0190-ab_C.d", "x" * 64])
def test_an_actor_is_written_and_read_back(kind, ref):
    actor = Actor(kind, ref)
    assert str(actor) == (f"{kind}:{ref}" if ref else kind)
    assert Actor.parse(str(actor)) == actor


@pytest.mark.parametrize(
    "ref", ["ann@example.com", "Ann Example", "x" * 65, "42\n", "é", "a/b", "+4930123456", 42, None]
)
def test_an_actor_is_a_pseudonym(ref):
    with pytest.raises(InvalidValue, match="pseudonymous") as refused:
        Actor("staff", ref)
    assert refused.value.path == "/actor/ref"
    assert str(ref) not in refused.value.message


@pytest.mark.parametrize("kind", ["", "robot", "Agent", "agent\n"])
def test_an_actor_is_of_a_known_kind(kind):
    with pytest.raises(InvalidValue, match="agent, consumer, staff, system"):
        Actor(kind)


def test_the_usual_actors():
    assert (str(AGENT), str(SYSTEM)) == ("agent", "system")


# Scopes


def test_a_capability_may_have_200_characters():
    Scope(capabilities=("c" * 200,))


SCOPES = st.builds(
    Scope,
    capabilities=st.lists(st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True)).map(tuple),
    spend_cap=st.none() | st.integers(0, 10**9),
    currency=st.sampled_from(["EUR", "JPY"]),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(SCOPES)
def test_a_scope_is_written_and_read_back(scope):
    document = scope.as_json()
    check_value(document)
    assert Scope.from_json(document) == scope


def test_a_scope_leaves_out_what_is_absent():
    assert Scope().as_json() == {}
    assert Scope.from_json({}) == Scope()


def test_a_scope_in_json():
    scope = Scope(capabilities=("cart.add", "checkout"), spend_cap=5000, currency="EUR", expires_at=NOON)
    assert scope.as_json() == {
        "capabilities": ["cart.add", "checkout"],
        "spend_cap": 5000,
        "currency": "EUR",
        "expires_at": "2026-05-01T10:30:15.250000Z",
    }


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"capabilities": ["Cart"]}, "/scope/capabilities/0"),
        ({"capabilities": ["cart", "cart add"]}, "/scope/capabilities/1"),
        ({"capabilities": ["cart\n"]}, "/scope/capabilities/0"),
        ({"capabilities": ["c" * 201]}, "/scope/capabilities/0"),
        ({"capabilities": [1]}, "/scope/capabilities/0"),
        ({"capabilities": "cart"}, "/scope/capabilities"),
        ({"spend_cap": 10}, "/scope/currency"),
        ({"spend_cap": -1, "currency": "EUR"}, "/scope/spend_cap"),
        ({"spend_cap": 1.5, "currency": "EUR"}, "/scope/spend_cap"),
        ({"spend_cap": True, "currency": "EUR"}, "/scope/spend_cap"),
        ({"spend_cap": 2**53, "currency": "EUR"}, "/scope/spend_cap"),
        ({"currency": "eur"}, "/scope/currency"),
        ({"currency": "EUR\n"}, "/scope/currency"),
        ({"currency": 978}, "/scope/currency"),
        ({"expires_at": "2026-05-01T10:30:15"}, "/scope/expires_at"),
        ({"expires_at": "tomorrow"}, "/scope/expires_at"),
        ({"expires_at": 1777631415}, "/scope/expires_at"),
        ({"expires_at": None}, "/scope/expires_at"),
        ({"budget": 10}, "/scope"),
        ([], "/scope"),
    ],
)
def test_a_scope_is_checked(document, path):
    with pytest.raises(InvalidValue) as refused:
        Scope.from_json(document)
    assert refused.value.path == path


def test_a_naive_expiry_is_refused():
    with pytest.raises(InvalidValue, match="offset"):
        Scope(expires_at=NOON.replace(tzinfo=None))


@pytest.mark.parametrize("value", [Agent(name="a"), AGENT, Scope()])
def test_identities_never_change(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, "other")
