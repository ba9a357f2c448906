"""The wire contract, items 23 to 29: how many sessions there are, and who may use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks

from agent_sessions import selectors, services
from agent_sessions.models import AuditEvent, Session
from agent_sessions.store import Capability, Outcome, registry
from tests.api.conftest import DEAD, AgentClient

pytestmark = pytest.mark.django_db


def test_item_23_no_more_live_sessions_than_the_limit(
    agent: AgentClient, make_agent: Callable[..., AgentClient], configure: Any, clock: Any
) -> None:
    configure(MAX_SESSIONS=2)
    agent.open()
    clock.shift(100)
    agent.open()
    agent.token = ""

    answer = agent.send("POST", "/session")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1700"
    assert answer.json()["code"] == "too_many_sessions"
    assert make_agent(REMOTE_ADDR="192.0.2.9").open()["session_token"], "another caller has places of its own"


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_item_23_ended_and_expired_sessions_free_their_place(
    agent: AgentClient, configure: Any, clock: Any, how: str
) -> None:
    configure(MAX_SESSIONS=1)
    agent.open()
    if how == "deleted":
        agent.data("DELETE", "/session")
    else:
        clock.shift(1800)

    assert agent.open()["session_token"]


def test_item_24_the_cart_of_one_session_is_not_seen_in_another(agent: AgentClient) -> None:
    first = agent.open()["session_token"]
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    agent.open()

    assert agent.data("GET", "/cart")["items"] == []
    assert agent.data("GET", "/cart", headers={"X-Agent-Session": first})["cart_size"] == 1


def test_item_25_a_session_has_one_chain_of_its_own(agent: AgentClient) -> None:
    for _ in range(2):
        agent.open()
        agent.data("GET", "/search?q=mug")
        agent.data("DELETE", "/session")

    runs = {event.session_id for event in AuditEvent.objects.all()}
    assert len(runs) == Session.objects.count() == 2
    for run in runs:
        assert {event["run_id"] for event in selectors.events(run)} == {str(run)}


def test_item_26_the_token_is_stored_and_logged_nowhere(shopper: AgentClient, caplog: pytest.LogCaptureFixture) -> None:
    shopper.send("GET", f"/audit/{shopper.token}")
    shopper.send("GET", f"/audit/{shopper.token}x")
    shopper.send("POST", f"/audit/{shopper.token}")
    shopper.send("BREW", f"/audit/{shopper.token}")
    shopper.send("GET", "/nothing-here")
    shopper.send("GET", "/search?q=break")
    shopper.data("DELETE", "/session")
    shopper.send("GET", "/cart")

    assert shopper.token not in caplog.text
    for row in Session.objects.values_list():
        assert shopper.token not in repr(row)
    for row in AuditEvent.objects.values_list():
        assert shopper.token not in repr(row)


def test_item_27_a_session_can_be_bound_to_the_address_it_was_opened_from(
    make_agent: Callable[..., AgentClient], configure: Any
) -> None:
    configure(BIND_TO="address")
    home = make_agent(REMOTE_ADDR="192.0.2.1")
    home.open()
    thief = make_agent(REMOTE_ADDR="192.0.2.2")
    thief.token = home.token

    assert thief.refused(401, "GET", "/cart")["error"] == DEAD
    assert thief.refused(401, "DELETE", "/session")["error"] == DEAD
    assert home.data("GET", "/cart", headers={"User-Agent": "another one"})["items"] == []


def test_item_27_an_address_is_not_written_down(make_agent: Callable[..., AgentClient], configure: Any) -> None:
    configure(BIND_TO="address")
    make_agent(REMOTE_ADDR="192.0.2.1").open()

    assert "192.0.2.1" not in repr(list(Session.objects.values_list()))


def test_item_28_a_security_event_kills_every_token(shopper: AgentClient, agent: AgentClient) -> None:
    tokens = [shopper.token, agent.open()["session_token"]]

    services.revoke_all_sessions(reason="the key leaked")

    for token in tokens:
        agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": token})


def test_item_29_every_built_in_that_changes_something_needs_a_session(agent: AgentClient) -> None:
    entries = agent.send("GET", "/.well-known/agents.json").json()["capabilities"]

    assert {one["name"] for one in entries if one["method"] != "GET" and not one["requires_session"]} == {"contact"}


def test_item_29_a_capability_that_forgets_it_is_pointed_out() -> None:
    registry.add(Capability("gift.wrap", "POST", "/gift/wrap", lambda call: Outcome(call.params), "gift.wrapped"))
    try:
        found = [message for message in checks.run_checks() if message.id == "agent_sessions.W004"]
    finally:
        registry.remove("gift.wrap")

    assert ["gift.wrap" in message.msg for message in found] == [True]
