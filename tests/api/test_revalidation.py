"""What has changed in the shop, over HTTP: checkout refuses it, revalidation tells it (X2)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from agent_sessions import services
from tests.api import store
from tests.api.conftest import AgentClient

pytestmark = pytest.mark.django_db
REVALIDATE = "/session/revalidate"


@pytest.fixture
def stale(shopper: AgentClient, monkeypatch: pytest.MonkeyPatch) -> AgentClient:
    """An agent whose mug has become dearer, and the shop has said so."""
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    monkeypatch.setitem(store.ITEMS, "mug", replace(store.ITEMS["mug"], price=3000))
    services.report_change("item", ["mug"], "price")
    services.mark_stale()
    return shopper


def test_the_session_says_what_is_stale_and_what_may_be_done(stale: AgentClient) -> None:
    """X2"""
    told = stale.data("GET", "/session")
    assert told["stale"].keys() == {"item:mug"}
    assert "session.revalidate" in told["may"]
    assert "checkout" not in told["may"]


def test_checkout_is_refused_until_it_is_revalidated(stale: AgentClient) -> None:
    """X2"""
    refused = stale.refused(409, "POST", "/checkout")
    assert refused["code"] == "stale_cart"
    assert [(part["kind"], part["ref"], part["what"]) for part in refused["details"]["parts"]] == [
        ("item", "mug", "price")
    ]

    answer = stale.send("POST", REVALIDATE)

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"v4"')
    told = answer.json()["data"]
    assert [change["text"] for change in told["changes"]] == [
        "Ocean blue mug: price 28.00 → 30.00 EUR",
        "Quote 28.00 → 30.00 EUR",
    ]
    assert told["changes"][0]["before"] == 2800
    assert told["changes"][0]["after"] == 3000
    assert (told["problems"], told["cart"]["total"]) == ([], "30.00")
    assert "stale" not in stale.data("GET", "/session")
    stale.data("POST", "/checkout")


def test_what_cannot_be_bought_any_more_is_told(stale: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(store.ITEMS, "mug", replace(store.ITEMS["mug"], available=0))
    told = stale.data("POST", REVALIDATE)
    assert [(problem["code"], problem["available"]) for problem in told["problems"]] == [("out_of_stock", 0)]
    assert stale.refused(400, "POST", "/checkout")["code"] == "cart_problem"


def test_if_match_and_keys_count(stale: AgentClient) -> None:
    """V3, V7"""
    stale.refused(412, "POST", REVALIDATE, headers={"If-Match": '"v1"'})
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, again = (stale.send("POST", REVALIDATE, headers=key) for _ in range(2))
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(stale.data("GET", "/session/versions")) == 4


def test_it_needs_a_session_and_a_store(agent: AgentClient, shopper: AgentClient, configure: Any) -> None:
    configure(STORE="")
    assert shopper.refused(503, "POST", REVALIDATE)["code"] == "no_store"
    shopper.token = ""
    shopper.refused(401, "POST", REVALIDATE)
