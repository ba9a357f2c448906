"""Sending a write again, with its Idempotency-Key."""

from __future__ import annotations

import uuid
from typing import Any

from agent_sessions import selectors
from agent_sessions.selectors import SessionHead
from tests.api.conftest import AgentClient
from tests.stored import everything_stored

ADD = {"item_id": "mug", "quantity": 1}


def key(text: str = "") -> dict[str, str]:
    return {"Idempotency-Key": text or str(uuid.uuid4())}


def twice(agent: AgentClient, method: str, path: str, body: Any = None, **facts: Any) -> tuple[Any, Any]:
    """Send a write, and send it again."""
    headers = {**facts.pop("headers", {}), **key()}
    first = agent.send(method, path, body, headers=headers, **facts)
    before = everything_stored()
    again = agent.send(method, path, body, headers=headers, **facts)
    assert everything_stored() == before, "nothing is written for an answer that is given again"
    return first, again


def require_same(first: Any, again: Any) -> None:
    """The second answer is the first one, and says that it was given before."""
    assert 200 <= first.status_code < 300, first.content
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("ETag", "Content-Type", "Link", "Cache-Control", "X-Content-Type-Options"):
        assert again.headers.get(header) == first.headers.get(header)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def head_of(agent: AgentClient) -> SessionHead:
    return selectors.session_of_token(agent.token)


def cart_size(agent: AgentClient) -> int:
    return int(agent.data("GET", "/cart")["cart_size"])
