"""The wire contract, items 1 to 22: sessions, from the opening to the end."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import checks

from agent_sessions import selectors
from agent_sessions.models import Session
from tests.api.conftest import DEAD, AgentClient
from tests.conftest import MORNING

pytestmark = pytest.mark.django_db


def time_of(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_item_01_posting_to_the_session_endpoint_opens_a_session(agent: AgentClient) -> None:
    answer = agent.send("POST", "/session", {})

    assert answer.status_code == 201
    assert selectors.authenticate(answer.json()["data"]["session_token"]).is_live()


@pytest.mark.parametrize(
    "facts",
    [{}, {"body": b"", "content_type": "application/json"}, {"body": {}}, {"body": " \n"}],
    ids=["nothing", "a type and no body", "an empty object", "white space"],
)
def test_item_02_the_body_is_optional(agent: AgentClient, facts: dict[str, Any]) -> None:
    assert agent.data("POST", "/session", status=201, **facts)["session_token"]


@pytest.mark.parametrize("names", [("agent_name",), ("agent_version", "purpose"), ("agent_name", "purpose")])
def test_item_03_any_of_name_version_and_purpose_can_be_given(agent: AgentClient, names: tuple[str, ...]) -> None:
    opened = agent.open(**dict.fromkeys(names, "something"))

    session = selectors.get_session(selectors.authenticate(opened["session_token"]).session_id)
    assert session.agent_name == ("something" if "agent_name" in names else "")
    assert session.agent_version == ("something" if "agent_version" in names else "")


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('"text"', "object"),
        ({"agent_name": 7}, "agent_name"),
        ({"purpose": ["a"]}, "purpose"),
        ({"agent_name": "n" * 201}, "agent_name"),
        ({"agent_version": "n" * 201}, "agent_version"),
        ({"purpose": "n" * 1001}, "purpose"),
        ({"agent_name": "a\u202eb"}, "name"),
        ({"scope": {"spend_cap": 100}}, "scope"),
        ({"scope": "all"}, "scope"),
        ({"parent_request": "p" * 65}, "parent_request"),
    ],
)
def test_item_04_what_cannot_be_a_session_is_told(agent: AgentClient, body: Any, about: str) -> None:
    refusal = agent.refused(400, "POST", "/session", body)

    assert about in refusal["error"]
    assert not Session.objects.exists()


def test_item_04_unknown_fields_are_ignored(agent: AgentClient) -> None:
    opened = agent.open(consumer="customer-7", model="x", agent_name="n" * 200, purpose="p" * 1000)

    head = selectors.authenticate(opened["session_token"])
    assert head.consumer == "", "who the consumer is only the shop can say"


def test_item_05_the_answer_has_token_deadline_and_capabilities(agent: AgentClient) -> None:
    answer = agent.send("POST", "/session").json()

    assert answer.keys() == {"ok", "data"}
    assert answer["ok"] is True
    assert {"session_token", "expires_at", "capabilities"} <= answer["data"].keys()


def test_item_06_tokens_are_long_and_never_the_same(agent: AgentClient, configure: Any) -> None:
    tokens = {agent.open()["session_token"] for _ in range(10)}

    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 32


def test_item_07_tokens_can_stand_in_a_path_and_in_a_replacement(agent: AgentClient) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", agent.open()["session_token"])


def test_item_08_the_deadline_is_the_opening_and_the_time_to_live(agent: AgentClient, clock: Any) -> None:
    assert time_of(agent.open()["expires_at"]) == MORNING + timedelta(seconds=1800)


def test_item_09_the_session_names_what_it_is_needed_for(agent: AgentClient) -> None:
    names = agent.open()["capabilities"]

    assert {"cart.add", "cart.view", "cart.update", "cart.remove", "checkout"} <= set(names)
    assert not {"search", "browse", "detail", "contact"} & set(names)


def test_item_09_a_scope_leaves_only_what_it_names(agent: AgentClient) -> None:
    opened = agent.open(scope={"capabilities": ["search", "cart.view"]})

    assert opened["capabilities"] == ["cart.view"]


def test_item_10_purpose_and_agent_are_recorded(shopper: AgentClient) -> None:
    head = selectors.authenticate(shopper.token)
    shopper.data("DELETE", "/session")

    artifact = shopper.data("GET", f"/audit/{shopper.token}")
    assert artifact["agent"] == {"name": "Shopping helper", "version": "2.1", "purpose": "a birthday gift"}
    assert selectors.private_values(head.session_id, 1)["purpose"] == "a birthday gift"


def test_item_11_the_header_is_the_credential(shopper: AgentClient) -> None:
    assert shopper.data("GET", "/cart", headers={"X-Agent-Session": shopper.token})["items"] == []


def test_item_12_missing_unknown_expired_and_ended_tokens_get_one_answer(
    agent: AgentClient, clock: Any, configure: Any
) -> None:
    ended = agent.open()["session_token"]
    agent.data("DELETE", "/session")
    expired = agent.open()["session_token"]
    agent.token = ""
    clock.shift(1800)

    answers = [
        agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": token})
        for token in ("", "unknown", ended, expired, "ags_" + "A" * 120, "é")
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["error"] == DEAD


@pytest.mark.parametrize("path", ["/search?q=mug", "/browse", "/detail/mug"])
def test_item_13_reading_the_catalogue_needs_no_session(agent: AgentClient, path: str) -> None:
    assert agent.data("GET", path)


def test_item_14_a_call_that_needs_no_session_is_recorded_in_the_one_it_names(shopper: AgentClient) -> None:
    session = selectors.authenticate(shopper.token).session_id

    shopper.data("GET", "/search?q=mug")

    last = selectors.events(session)[-1]
    assert (last["capability"], last["method"], last["response_status"]) == ("search", "GET", 200)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/cart"), ("POST", "/checkout"), ("DELETE", "/session"), ("GET", "/search?q=mug")]
)
def test_item_15_a_dead_token_is_refused_everywhere(shopper: AgentClient, clock: Any, method: str, path: str) -> None:
    shopper.open()
    clock.shift(1800)

    assert shopper.refused(401, method, path)["error"] == DEAD


def test_item_15_the_artifact_can_be_had_with_the_dead_token_as_bearer(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")
    token, shopper.token = shopper.token, ""

    assert shopper.data("GET", f"/audit/{token}", headers={"Authorization": f"Bearer {token}"})["events"]


def test_item_16_the_time_to_live_is_half_an_hour_unless_set(agent: AgentClient, configure: Any, clock: Any) -> None:
    assert agent.send("GET", "/.well-known/agents.json").json()["session"]["ttl"] == 1800
    configure(TTL={"standard": 60})

    assert agent.send("GET", "/.well-known/agents.json").json()["session"]["ttl"] == 60
    assert time_of(agent.open()["expires_at"]) == MORNING + timedelta(seconds=60)


def test_item_16_less_than_a_minute_is_refused_at_the_start(configure: Any) -> None:
    configure(TTL={"standard": 59})

    assert "agent_sessions.E003" in [message.id for message in checks.run_checks()]


def test_item_17_activity_does_not_move_the_deadline(agent: AgentClient, clock: Any) -> None:
    agent.open()
    clock.shift(1799)
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)

    clock.shift(1)

    assert agent.refused(401, "GET", "/cart")["error"] == DEAD


def test_item_18_deleting_the_session_ends_it(agent: AgentClient, clock: Any) -> None:
    agent.open()
    clock.shift(5)

    ended = agent.data("DELETE", "/session")

    assert ended["session_token"] == agent.token
    assert time_of(ended["ended_at"]) == MORNING + timedelta(seconds=5)
    assert Session.objects.get().end_reason == "deleted"


def test_item_19_the_address_of_the_artifact_is_told_if_there_will_be_one(agent: AgentClient, configure: Any) -> None:
    agent.open()
    url = agent.data("DELETE", "/session")["audit_artifact_url"]
    assert url == f"/.well-known/agents/api/audit/{agent.token}"
    configure(AUDIT=False)

    agent.open()

    assert "audit_artifact_url" not in agent.data("DELETE", "/session")


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_item_20_nobody_can_end_a_session_they_do_not_hold(agent: AgentClient, token: str) -> None:
    assert agent.refused(401, "DELETE", "/session", headers={"X-Agent-Session": token})["error"] == DEAD


def test_item_20_ending_twice_is_refused(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    shopper.refused(401, "DELETE", "/session")


def test_item_21_after_the_end_the_token_is_dead_everywhere(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    for method, path in (("GET", "/cart"), ("POST", "/cart"), ("POST", "/checkout"), ("GET", "/browse")):
        shopper.refused(401, method, path)


def test_item_22_a_checkout_completes_the_session(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data("POST", "/checkout")

    assert Session.objects.get().end_reason == "completed"
    shopper.refused(401, "GET", "/cart")


def test_item_22_or_leaves_it_its_time(shopper: AgentClient, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data("POST", "/checkout")

    assert shopper.data("GET", "/cart")["cart_size"] == 1
