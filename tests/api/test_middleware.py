"""The optional middleware: envelopes for what others answer below the API, and a way to the manifest on every page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import API, AgentClient

pytestmark = pytest.mark.django_db
OURS = "agent_sessions.middleware.AgentEnvelopeMiddleware"


@pytest.fixture(autouse=True)
def installed(settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, *settings.MIDDLEWARE]


def test_an_unknown_host_is_told_in_json(agent: AgentClient) -> None:
    refusal = agent.refused(400, "GET", "/browse", SERVER_NAME="evil.example")

    assert refusal["code"] == "malformed_request"


def test_what_another_middleware_refuses_is_told_in_json(agent: AgentClient, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.hosts.forbids"]

    answer = agent.send("GET", "/browse")

    assert answer.json() == {"ok": False, "error": "This is not allowed.", "code": "forbidden", "details": {}}
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"<h1>" in agent.get("/").content, "pages for people stay as they are"


def test_our_own_answers_pass_as_they_are(shopper: AgentClient) -> None:
    assert shopper.refused(404, "GET", "/detail/nothing")["code"] == "item_not_found"
    assert shopper.send("GET", "/browse").headers["Link"] == '</.well-known/agents.json>; rel="agents"'


def test_pages_lead_to_the_manifest(agent: AgentClient) -> None:
    page = agent.get("/")

    assert page.headers["Link"] == '</.well-known/agents.json>; rel="agents"'
    assert "Link" not in agent.get("/missing").headers


def test_a_site_without_agents_is_left_alone(agent: AgentClient, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.nothing"

    assert agent.get("/").status_code == 200
    assert agent.get(f"{API}/browse").headers["Content-Type"].startswith("text/html")
