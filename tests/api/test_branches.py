"""Branches over HTTP: made, listed, compared; one checks out (L3)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.models import SessionKey
from tests.api.conftest import DEAD, AgentClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shopped(agent: AgentClient, clock: Any) -> AgentClient:
    """An agent whose session has a mug (version 2) and a bowl (version 3)."""
    agent.open(agent_name="Gift finder")
    for item in ("mug", "bowl"):
        agent.send("POST", "/cart", {"item_id": item})
    clock.shift(60)
    return agent


@pytest.fixture
def branch(shopped: AgentClient, make_agent: Any) -> AgentClient:
    """The same agent in a branch that has the mug only."""
    one: AgentClient = make_agent()
    one.token = shopped.data("POST", "/session/forks", {"from_version": 2}, status=201)["session_token"]
    return one


def id_of(agent: AgentClient) -> str:
    return str(selectors.session_of_token(agent.token).session_id)


def test_a_branch_has_a_token_of_its_own(shopped: AgentClient) -> None:
    """L3"""
    answer = shopped.send("POST", "/session/forks", {})
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v1"')
    data = answer.json()["data"]
    assert (data["forked_from"], data["from_version"]) == (id_of(shopped), 3)
    assert data["expires_at"] == shopped.data("GET", "/session")["expires_at"], "not later than the session"
    assert data["session_token"] != shopped.token
    first = shopped.token
    shopped.token = data["session_token"]
    assert shopped.data("GET", "/cart")["cart_size"] == 2
    shopped.data("DELETE", "/cart", {"item_id": "bowl"})
    shopped.token = first
    assert shopped.data("GET", "/cart")["cart_size"] == 2


def test_relatives_are_listed_without_what_speaks_for_them(shopped: AgentClient, branch: AgentClient) -> None:
    listed = shopped.data("GET", "/session/forks")
    assert [(one["session_id"], one["this"], one["status"], one["version"], one["total"]) for one in listed] == [
        (id_of(shopped), True, "active", 3, "47.50"),
        (id_of(branch), False, "active", 1, "28.00"),
    ]
    assert (listed[1]["origin"], listed[1]["parent"], listed[1]["parent_version"]) == ("fork", id_of(shopped), 2)
    assert "origin" not in listed[0]
    assert [one["this"] for one in branch.data("GET", "/session/forks")] == [False, True]
    page = shopped.send("GET", "/session/forks").content.decode()
    assert branch.token not in page
    assert shopped.token not in page
    assert "ags_" not in page


def test_they_are_compared(shopped: AgentClient, branch: AgentClient) -> None:
    told = shopped.data("GET", f"/session/forks/{id_of(branch)}/differences")
    assert (told["session_id"], told["other"]) == (id_of(shopped), id_of(branch))
    assert [one["text"] for one in told["differences"]] == ["Removed 1 × Rice bowl", "Quote 47.50 → 28.00 EUR"]
    back = branch.data("GET", f"/session/forks/{id_of(shopped)}/differences")
    assert back["differences"][0]["text"] == "Added 1 × Rice bowl at 19.50 EUR"


def test_one_checks_out(shopped: AgentClient, branch: AgentClient) -> None:
    branch.data("POST", "/checkout")
    refused = shopped.refused(409, "POST", "/checkout")
    assert (refused["code"], refused["details"]["ordered"]) == ("checkout_elsewhere", False)


@pytest.mark.parametrize("version", [0, -1, "2", 2.5, True, 2**31, [], {}])
def test_a_version_is_a_number(shopped: AgentClient, version: Any) -> None:
    refused = shopped.refused(400, "POST", "/session/forks", {"from_version": version})
    assert refused["details"]["parameter"] == "from_version"


def test_a_version_that_there_is_not_is_not_found(shopped: AgentClient) -> None:
    assert shopped.refused(404, "POST", "/session/forks", {"from_version": 4})["code"] == "version_not_found"


def test_a_stranger_is_not_compared_with(shopped: AgentClient, make_agent: Any) -> None:
    """Whether or not there is such a session."""
    stranger = make_agent()
    stranger.open()
    told = [
        shopped.refused(404, "GET", f"/session/forks/{other}/differences") for other in (id_of(stranger), uuid.uuid4())
    ]
    assert told[0] == told[1]
    assert told[0]["code"] == "not_related"
    assert shopped.refused(404, "GET", "/session/forks/not-an-id/differences")["code"] == "not_found"


def test_what_another_agent_took_over_is_not_shown_to_the_first(shopped: AgentClient, branch: AgentClient) -> None:
    """T4"""
    given = services.grant_transfer(selectors.session_of_token(shopped.token), actor=Actor("consumer"))
    taken = services.accept_transfer(given.code, agent=Agent("Wine expert")).opened
    assert len(branch.data("GET", "/session/forks")) == 2
    branch.refused(404, "GET", f"/session/forks/{taken.session_id}/differences")
    branch.token = taken.token
    assert len(branch.data("GET", "/session/forks")) == 3


def test_what_was_erased_says_so(shopped: AgentClient, branch: AgentClient) -> None:
    erased = id_of(branch)
    branch.data("DELETE", "/session")
    SessionKey.objects.filter(pk=erased).delete()
    assert shopped.refused(410, "GET", f"/session/forks/{erased}/differences")["code"] == "content_erased"
    assert [one.get("total") for one in shopped.data("GET", "/session/forks")] == ["47.50", None]


def test_a_branch_of_a_closed_session_is_refused(shopped: AgentClient) -> None:
    shopped.data("DELETE", "/session")
    assert shopped.refused(401, "POST", "/session/forks")["error"] == DEAD


def test_branches_count_towards_the_limit(agent: AgentClient, configure: Any, db: None) -> None:
    """T7"""
    configure(MAX_SESSIONS=2)
    agent.open()
    agent.data("POST", "/session/forks", status=201)
    assert agent.refused(429, "POST", "/session/forks")["code"] == "too_many_sessions"


def test_the_same_request_sent_again_makes_no_second_branch(shopped: AgentClient) -> None:
    """V7"""
    answers = [shopped.send("POST", "/session/forks", {}, headers={"Idempotency-Key": "fork-1"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(shopped.data("GET", "/session/forks")) == 2


def test_what_another_agent_keeps_for_itself_is_no_difference(shopped: AgentClient, branch: AgentClient) -> None:
    """C4"""
    shopped.data("PATCH", "/session/state?scope=local", {"notes": "hard to please"})
    given = services.grant_transfer(selectors.session_of_token(shopped.token), actor=Actor("consumer"))
    first = id_of(shopped)
    shopped.token = services.accept_transfer(given.code, agent=Agent("Wine expert")).opened.token
    shopped.data("PATCH", "/session/state?scope=local", {"margin": 30})

    to_first = shopped.data("GET", f"/session/forks/{first}/differences")["differences"]
    to_branch = shopped.data("GET", f"/session/forks/{id_of(branch)}/differences")["differences"]

    assert [one["path"] for one in to_first] == ["/agent/local/Wine expert/margin"], "its own"
    assert "hard to please" not in str(to_branch)
