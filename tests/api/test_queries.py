"""What a request costs stays flat: the number of queries is part of the contract with the host."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.conftest import AgentClient

pytestmark = pytest.mark.django_db


def queries(agent: AgentClient, method: str, path: str, body: Any = None) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        answer = agent.send(method, path, body)
    assert answer.status_code < 300, answer.content
    return [query["sql"].split()[0] for query in captured if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]


def test_reading_the_catalogue_without_a_session_asks_nothing(agent: AgentClient) -> None:
    assert queries(agent, "GET", "/search?q=mug") == []
    assert queries(agent, "GET", "/detail/mug") == []


def test_a_cart_call_reads_the_session_once_and_writes_once(shopper: AgentClient) -> None:
    first = queries(shopper, "POST", "/cart", {"item_id": "mug"})
    later = queries(shopper, "POST", "/cart", {"item_id": "bowl"})

    assert first.count("SELECT") <= 2
    assert len(later) <= len(first)
    assert len(first) <= (5 if connection.vendor == "sqlite" else 3)


def test_viewing_a_cart_costs_the_same_however_long_its_history(shopper: AgentClient, configure: Any) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    short = queries(shopper, "GET", "/cart")
    for number in range(2, 6):
        shopper.data("PATCH", "/cart", {"item_id": "mug", "quantity": number})

    assert queries(shopper, "GET", "/cart") == short


def test_the_manifest_asks_for_no_more_than_the_key(agent: AgentClient) -> None:
    agent.send("GET", "/.well-known/agents.json")

    assert len(queries(agent, "GET", "/.well-known/agents.json")) <= 2
    assert queries(agent, "GET", "/.well-known/agents.txt") == []
    assert queries(agent, "GET", "/.well-known/agents/openapi.json") == []


def test_a_refused_token_that_is_not_ours_asks_nothing(agent: AgentClient) -> None:
    """T1: forged tokens are refused before any query."""
    with CaptureQueriesContext(connection) as captured:
        agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": "ags_" + "A" * 150})

    assert len(captured) == 0
