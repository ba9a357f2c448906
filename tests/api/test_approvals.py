"""An agent asks for an approval over HTTP and reads what came of it (L5)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import Approval
from agent_sessions.store import NeedsHuman
from tests.api.conftest import AgentClient

pytestmark = pytest.mark.django_db
POLICIES = (NeedsHuman(name="large-orders", capabilities=("checkout",), over=2000),)
REASON = "It is more than you usually spend."


@pytest.fixture
def buyer(shopper: AgentClient, configure: Any) -> AgentClient:
    """An agent with a mug in its cart, at a shop that wants a person for it."""
    configure(POLICIES="tests.api.test_approvals.POLICIES", END_ON_HANDOFF=False)
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    return shopper


def ask(agent: AgentClient, **facts: Any) -> dict[str, Any]:
    asked: dict[str, Any] = agent.data("POST", "/session/approvals", {"reason": REASON}, status=201, **facts)
    return asked


def test_from_the_refusal_to_the_checkout(buyer: AgentClient) -> None:
    """L5: as an agent lives it."""
    refused = buyer.refused(403, "POST", "/checkout")
    assert refused["details"]["approval"]["url"] == "https://shop.example/.well-known/agents/api/session/approvals"

    asked = ask(buyer)
    assert refused["details"]["rule"] == asked["rule"] == "large-orders"
    assert (asked["status"], asked["version"], asked["amount"], asked["amount_minor"], asked["currency"]) == (
        "pending", 3, "28.00", 2800, "EUR",
    )  # fmt: skip
    assert asked["approval_url"].startswith("https://shop.example/agent-sessions/approve/")
    assert "Give this link to the person" in asked["message"]
    assert 1790 <= asked["seconds_left"] <= 1800
    waiting = buyer.refused(403, "POST", "/checkout")
    assert (waiting["details"]["approval"]["status"], waiting["details"]["approval"]["id"]) == ("pending", asked["id"])

    services.grant_approval(uuid.UUID(asked["id"]))

    seen = buyer.data("GET", f"/session/approvals/{asked['id']}")
    assert (seen["status"], seen["decided_by"], seen["reason"]) == ("granted", "consumer", REASON)
    assert "approval_url" not in seen, "shown once"
    assert buyer.data("POST", "/checkout")["human_handoff"] is True
    assert buyer.data("GET", "/session/approvals")[0]["status"] == "used"


def test_a_no_is_told_with_its_reason_and_not_who_of_the_staff(buyer: AgentClient) -> None:
    asked = ask(buyer)
    services.reject_approval(uuid.UUID(asked["id"]), reason="Not before Friday", actor=Actor("staff", "17"))
    seen = buyer.data("GET", f"/session/approvals/{asked['id']}")
    assert (seen["status"], seen["answer"], seen["decided_by"], seen["seconds_left"]) == (
        "rejected", "Not before Friday", "staff", 0,
    )  # fmt: skip
    assert "17" not in str(seen["decided_by"])


def test_too_late_is_told_in_the_words_of_the_rule(clock: Any, buyer: AgentClient, configure: Any) -> None:
    """L5"""
    configure(TTL={"approval": 300})
    asked = ask(buyer)
    clock.shift(300)
    assert buyer.data("GET", f"/session/approvals/{asked['id']}")["status"] == "expired"
    refused = buyer.refused(403, "POST", "/checkout")
    assert refused["error"] == "Approval window expired. Consumer must re-authorize."
    configure(POLICIES="")
    refused = buyer.refused(409, "POST", "/checkout")
    assert (refused["error"], refused["code"]) == (
        "Approval window expired. Consumer must re-authorize.", "approval_expired",
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [None, {}, {"reason": ""}, {"reason": "  "}, {"reason": 7}, {"reason": "x" * 1001}, {"reason": None},
     {"reason": "a", "capability": "cart.add"}, {"reason": "a", "capability": 1}],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(buyer: AgentClient, body: Any) -> None:
    refused = buyer.refused(400, "POST", "/session/approvals", body)
    assert refused["code"] == "invalid_parameter"
    assert Approval.objects.count() == 0


def test_an_empty_cart_is_not_asked_about(shopper: AgentClient) -> None:
    assert shopper.refused(400, "POST", "/session/approvals", {"reason": REASON})["code"] == "cart_problem"


def test_a_stale_version_is_refused(buyer: AgentClient) -> None:
    """V3"""
    refused = buyer.refused(412, "POST", "/session/approvals", {"reason": REASON}, headers={"If-Match": '"v1"'})
    assert (refused["code"], refused["details"]["current"]) == ("version_conflict", 2)
    answer = buyer.send("POST", "/session/approvals", {"reason": REASON}, headers={"If-Match": '"v2"'})
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v3"')


def test_sent_again_under_its_key_it_asks_once_and_gives_the_same_link(buyer: AgentClient) -> None:
    """V7"""
    key = {"Idempotency-Key": "5b5c2c0e-7f0c-4a40-9f28-8d2c2d6f6a11"}
    first, again = ask(buyer, headers=key), ask(buyer, headers=key)
    assert first == again
    assert Approval.objects.count() == 1


def test_approvals_of_other_sessions_are_not_there(buyer: AgentClient, make_agent: Any) -> None:
    asked = ask(buyer)
    stranger = make_agent()
    stranger.open()
    for path in (asked["id"], uuid.uuid4()):
        assert stranger.refused(404, "GET", f"/session/approvals/{path}")["code"] == "approval_not_found"
    assert stranger.data("GET", "/session/approvals") == []
    stranger.token = ""
    assert stranger.refused(401, "GET", f"/session/approvals/{asked['id']}")["code"] == "invalid_token"
    assert stranger.refused(401, "POST", "/session/approvals", {"reason": "x"})["code"] == "invalid_token"


def test_without_a_site_the_link_begins_with_the_host_that_was_asked(buyer: AgentClient, configure: Any) -> None:
    configure(SITE="")
    assert ask(buyer)["approval_url"].startswith("http://testserver/agent-sessions/approve/")


def test_the_session_itself_says_what_waits(buyer: AgentClient) -> None:
    asked = ask(buyer)
    seen = buyer.data("GET", "/session")["approval"]
    assert (seen["id"], seen["status"], seen["reason"]) == (asked["id"], "pending", REASON)
    services.reject_approval(uuid.UUID(asked["id"]))
    assert buyer.data("GET", "/session")["approval"]["status"] == "rejected"
    buyer.send("POST", "/cart", {"item_id": "bowl"})
    assert "approval" not in buyer.data("GET", "/session")


def test_a_change_of_the_cart_shows_in_its_approval(buyer: AgentClient) -> None:
    asked = ask(buyer)
    answer = buyer.send("POST", "/cart", {"item_id": "bowl"})
    assert answer.headers["ETag"] == '"v4"'
    assert buyer.data("GET", f"/session/approvals/{asked['id']}")["status"] == "void"
    assert selectors.verify_session(Approval.objects.get().session_id).ok
