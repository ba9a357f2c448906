"""Another agent takes a session over with a code, over HTTP (T4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import Session
from tests.api.conftest import DEAD, AgentClient
from tests.faults.support import half_done

pytestmark = pytest.mark.django_db


@pytest.fixture
def shopped(agent: AgentClient, db: None) -> AgentClient:
    """The first agent, with a mug."""
    agent.open(agent_name="Gift finder", parent_request="req-77", scope={"capabilities": ["cart.add", "cart.view"]})
    agent.send("POST", "/cart", {"item_id": "mug"})
    head = selectors.session_of_token(agent.token)
    patch: Any = {"conversation": {"summary": "A present for her mother"}}
    services.change_session(head, expected_version=2, patch=patch)
    return agent


@pytest.fixture
def specialist(make_agent: Any) -> AgentClient:
    one: AgentClient = make_agent(REMOTE_ADDR="192.0.2.2")
    return one


def code_of(agent: AgentClient) -> str:
    head = selectors.session_of_token(agent.token)
    return services.grant_transfer(head.session_id, actor=Actor("consumer")).code


def test_it_is_answered_like_an_opening(shopped: AgentClient, specialist: AgentClient) -> None:
    """T4: the second agent has the session, the first one's token is dead."""
    was = selectors.session_of_token(shopped.token)
    body = {"grant": code_of(shopped), "agent_name": "Wine expert", "agent_version": "3.0"}
    answer = specialist.send("POST", "/session/transfer", body)
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v1"')
    data = answer.json()["data"]
    assert (data["transferred_from"], data["summary"]) == (str(was.session_id), "A present for her mother")
    assert data["cart"]["items"][0]["item_id"] == "mug"
    assert data["capabilities"] == ["cart.view", "cart.add"], "within the same scope"

    specialist.token = data["session_token"]
    told = specialist.data("GET", "/session")
    assert (told["session_id"], told["parent_request"]) == (data["session_id"], "req-77")
    assert shopped.refused(401, "GET", "/session")["error"] == DEAD
    now = Session.objects.get(pk=data["session_id"])
    assert (now.agent_name, now.agent_version) == ("Wine expert", "3.0")
    assert now.caller != Session.objects.get(pk=was.session_id).caller
    assert half_done(now.pk) == half_done(was.session_id) == []


def test_there_is_no_way_for_an_agent_to_make_a_code(shopped: AgentClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert shopped.refused(405, method, "/session/transfer")
    for path in ("/session/grants", "/session/grant", "/session/transfer/grant"):
        shopped.refused(404, "POST", path, {})
    assert shopped.refused(403, "POST", "/session/transfer", {"grant": "x"})["code"] == "transfer_refused"


def test_used_twice_or_never_made_is_one_answer(shopped: AgentClient, specialist: AgentClient) -> None:
    code = code_of(shopped)
    specialist.data("POST", "/session/transfer", {"grant": code}, status=201)
    told = [specialist.refused(403, "POST", "/session/transfer", {"grant": one}) for one in (code, "never made", "ü")]
    assert told[0] == told[1] == told[2]
    assert told[0]["code"] == "transfer_refused"
    assert "Ask the consumer for a new one" in told[0]["error"]
    assert code not in str(told)


def test_who_says_for_whom_it_acts_takes_over_only_from_them(
    agent: AgentClient, specialist: AgentClient, db: None
) -> None:
    """C1: the shop's assertion, where one comes along, has to be of the session's own consumer."""
    theirs, of_another = (services.assert_consumer(name).text for name in ("customer-7", "customer-8"))
    agent.data("POST", "/session", {}, status=201, headers={"X-Agent-Consumer": theirs})
    head = Session.objects.get()
    body = {"grant": services.grant_transfer(head.pk, actor=Actor("consumer")).code}
    refused = specialist.refused(403, "POST", "/session/transfer", body, headers={"X-Agent-Consumer": of_another})
    assert refused["code"] == "transfer_refused"
    specialist.data("POST", "/session/transfer", body, status=201, headers={"X-Agent-Consumer": theirs})
    assert set(Session.objects.values_list("consumer", flat=True)) == {head.consumer}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "grant"),
        ({"grant": ""}, "grant"),
        ({"grant": 7}, "grant"),
        ({"grant": "x" * 201}, "grant"),
        ({"grant": "x", "agent_name": "x" * 201}, "agent_name"),
        ({"grant": "x", "agent_name": "\u202e"}, "agent_name"),
        ({"grant": "x", "agent_version": 3}, "agent_version"),
    ],
)
def test_what_does_not_fit_is_named(agent: AgentClient, db: None, body: Any, parameter: str) -> None:
    assert agent.refused(400, "POST", "/session/transfer", body)["details"]["parameter"] == parameter


def test_the_token_of_another_session_does_no_harm(shopped: AgentClient, specialist: AgentClient) -> None:
    """The code speaks for itself; what comes along, dead or alive, is not looked at."""
    specialist.open()
    own = specialist.token
    specialist.data("POST", "/session/transfer", {"grant": code_of(shopped)}, status=201)
    assert specialist.token == own
    specialist.data("GET", "/session")


def test_the_new_owner_counts(shopped: AgentClient, specialist: AgentClient, configure: Any) -> None:
    """T7"""
    configure(MAX_SESSIONS=1)
    specialist.open()
    code = code_of(shopped)
    assert specialist.refused(429, "POST", "/session/transfer", {"grant": code})["code"] == "too_many_sessions"
    specialist.data("DELETE", "/session")
    specialist.data("POST", "/session/transfer", {"grant": code}, status=201)


def test_the_new_token_is_bound_to_the_new_owner(shopped: AgentClient, specialist: AgentClient, configure: Any) -> None:
    """T5"""
    configure(BIND_TO="address")
    token = specialist.data("POST", "/session/transfer", {"grant": code_of(shopped)}, status=201)["session_token"]
    shopped.token = specialist.token = token
    specialist.data("GET", "/session")
    shopped.refused(401, "GET", "/session")


def test_the_same_request_sent_again_gets_the_same_answer(shopped: AgentClient, specialist: AgentClient) -> None:
    """V7: an answer that was lost on the way is not a session that is lost."""
    headers = {"Idempotency-Key": "0b6a6f5e-8f2c-4f0e-9d5c-3f7b7f6f1c11"}
    body = {"grant": code_of(shopped)}
    answers = [specialist.send("POST", "/session/transfer", body, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert Session.objects.filter(origin="transfer").count() == 1
