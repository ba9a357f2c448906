"""A client that speaks as agents do, against the smallest host with a small store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client

API = "/.well-known/agents/api"
DEAD = "Session token is missing, invalid, or expired."


@pytest.fixture(autouse=True)
def small_host(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.urls"
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    settings.ALLOWED_HOSTS = ["testserver", "shop.example"]
    settings.AGENT_SESSIONS = {
        **settings.AGENT_SESSIONS,
        "STORE": "tests.api.store.Shelf",
        "SITE_NAME": "Ocean Ceramics",
    }
    caches["default"].clear()


class AgentClient(Client):
    """Sends JSON below the API's base; the token of ``open`` goes along as X-Agent-Session."""

    token = ""

    def send(self, method: str, path: str, body: Any = None, **facts: Any) -> Any:
        """Send a request. Without a body there is no Content-Type; text and bytes are sent as they are."""
        headers = {"X-Agent-Session": self.token} if self.token else {}
        headers |= facts.pop("headers", {})
        if body is not None:
            facts.setdefault("content_type", "application/json")
            facts["data"] = body if isinstance(body, str | bytes) else json.dumps(body)
        else:
            facts.setdefault("content_type", "")
        if not path.startswith(("/.well-known", "/agent", "/compat")):
            path = API + path
        return self.generic(method, path, headers={name: value for name, value in headers.items() if value}, **facts)

    def data(self, method: str, path: str, body: Any = None, *, status: int = 200, **facts: Any) -> Any:
        """Send a request that has to succeed; return its ``data``."""
        answer = self.send(method, path, body, **facts)
        assert answer.status_code == status, answer.content
        document = answer.json()
        assert document["ok"] is True
        assert "error" not in document
        return document["data"]

    def refused(self, status: int, method: str, path: str, body: Any = None, **facts: Any) -> dict[str, Any]:
        """Send a request that has to be refused with this status; return the envelope."""
        answer = self.send(method, path, body, **facts)
        assert answer.status_code == status, answer.content
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        document: dict[str, Any] = answer.json()
        assert document.keys() == {"ok", "error", "code", "details"}
        assert document["ok"] is False
        assert document["error"]
        assert document["code"]
        return document

    def open(self, **body: Any) -> dict[str, Any]:
        """Open a session and use its token from here on."""
        self.token = ""
        opened: dict[str, Any] = self.data("POST", "/session", body, status=201)
        self.token = opened["session_token"]
        return opened


@pytest.fixture
def agent() -> AgentClient:
    return AgentClient()


@pytest.fixture
def make_agent() -> Callable[..., AgentClient]:
    """Make one more client: ``make_agent(REMOTE_ADDR="192.0.2.1")``."""
    return AgentClient


@pytest.fixture
def shopper(agent: AgentClient, db: None) -> AgentClient:
    """An agent with a session."""
    agent.open(agent_name="Shopping helper", agent_version="2.1", purpose="a birthday gift")
    return agent
