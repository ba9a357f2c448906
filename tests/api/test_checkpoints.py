"""Checkpoints, the way on, commit and rollback over HTTP (R1, R2, V6)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import Checkpoint
from tests.api.conftest import DEAD, AgentClient
from tests.faults.support import half_done
from tests.services import working

pytestmark = pytest.mark.django_db

ADDRESSES = (("GET", "checkpoints"), ("GET", "next-step"), ("POST", "commit"), ("POST", "rollback"))


@pytest.fixture
def working_shop(configure: Any, clock: Any) -> None:
    configure(STEPS=working.PATH)


@pytest.fixture
def shopped(working_shop: None, shopper: AgentClient) -> AgentClient:
    """An agent whose cart has a mug: version 2."""
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    return shopper


def session_of(agent: AgentClient) -> Any:
    return selectors.session_of_token(agent.token).session_id


def test_the_attempts_at_steps_are_listed(shopped: AgentClient, clock: Any) -> None:
    """R1"""
    one = session_of(shopped)
    services.start_step(one, "payment")
    services.finish_step(one, "payment", outcome="failed", code="card_expired")
    clock.shift(5)
    services.start_step(one, "payment")

    answer = shopped.send("GET", "/session/checkpoints")
    assert answer["ETag"] == '"v5"'
    assert answer.json()["data"] == [
        {
            "number": 1, "step": "payment", "method": "card", "attempt": 1, "outcome": "failed", "code": "card_expired",
            "version": 3, "ended_version": 4,
            "started_at": "2026-03-02T10:00:00.000000Z", "ended_at": "2026-03-02T10:00:00.000000Z",
        },
        {
            "number": 2, "step": "payment", "method": "paypal", "attempt": 2, "outcome": "started", "version": 5,
            "started_at": "2026-03-02T10:00:05.000000Z",
        },
    ]  # fmt: skip
    page = shopped.data("GET", "/session/checkpoints?after=1&limit=1")
    assert [row["number"] for row in page] == [2]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "after=-1", "after=x"])
def test_a_page_that_is_none_is_refused(shopped: AgentClient, query: str) -> None:
    shopped.refused(400, "GET", f"/session/checkpoints?{query}")


def test_it_is_said_what_comes_next(shopped: AgentClient, clock: Any) -> None:
    """R2: after a decline another method, and while a payment runs nothing."""
    one = session_of(shopped)

    def told() -> dict[str, Any]:
        return {key: value for key, value in shopped.data("GET", "/session/next-step").items() if key != "reason"}

    assert told() == {"action": "run", "step": "payment", "method": "card"}
    services.start_step(one, "payment")
    assert told() == {
        "action": "wait", "step": "payment", "method": "card", "not_before": "2026-03-02T10:01:00.000000Z",
    }  # fmt: skip
    clock.shift(60)
    assert told() == {"action": "ask", "step": "payment", "method": "card"}
    services.finish_step(one, "payment", outcome="failed", code="declined")
    assert told() == {"action": "run", "step": "payment", "method": "paypal"}
    for name in ("payment", "packing", "notice"):
        services.start_step(one, name)
        services.finish_step(one, name, outcome="done")
    assert shopped.data("GET", "/session/next-step") == {"action": "none", "reason": "Every step is finished."}


def test_without_rules_there_is_nothing_to_do(shopper: AgentClient) -> None:
    assert shopper.data("GET", "/session/next-step")["action"] == "none"
    assert shopper.data("GET", "/session/checkpoints") == []


def test_the_cart_is_committed_and_goes_back_to_there(shopped: AgentClient) -> None:
    """V6"""
    shopped.refused(409, "POST", "/session/rollback")
    committed = shopped.send("POST", "/session/commit")
    assert committed.json()["data"] == {"version": 2, "committed_version": 2}
    assert committed["ETag"] == '"v2"'
    shopped.data("POST", "/cart", {"item_id": "mug", "quantity": 2}, status=201)

    answer = shopped.send("POST", "/session/rollback")
    data = answer.json()["data"]
    assert (data["version"], data["rolled_back_to"], data["cart"]["cart_size"]) == (4, 2, 1)
    assert answer["ETag"] == '"v4"'
    assert shopped.data("GET", "/cart")["cart_size"] == 1
    assert half_done(session_of(shopped)) == []


@pytest.mark.parametrize("act", ["commit", "rollback"])
def test_if_match_is_held_to(shopped: AgentClient, act: str) -> None:
    shopped.data("POST", "/session/commit")
    shopped.data("POST", "/cart", {"item_id": "mug"}, status=201)
    refused = shopped.refused(412, "POST", f"/session/{act}", headers={"If-Match": '"v2"'})
    assert (refused["code"], refused["details"]["current"]) == ("version_conflict", 3)
    assert shopped.data("POST", f"/session/{act}", headers={"If-Match": '"v3"'})["version"] in (3, 4)


def test_a_rollback_that_is_sent_again_is_done_once(shopped: AgentClient) -> None:
    """V7"""
    shopped.data("POST", "/session/commit")
    shopped.data("POST", "/cart", {"item_id": "mug"}, status=201)
    key = {"Idempotency-Key": "again-1"}
    first, second = (shopped.send("POST", "/session/rollback", headers=key) for _ in range(2))
    assert first.content == second.content
    assert selectors.read_head(session_of(shopped)).version == 4


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_nobody_else_may(shopped: AgentClient, method: str, path: str) -> None:
    other = AgentClient()
    assert other.refused(401, method, f"/session/{path}")["error"] == DEAD
    other.open()
    if method == "GET":
        assert other.data(method, "/session/checkpoints") == []
    services.end_session(session_of(shopped))
    assert shopped.refused(401, method, f"/session/{path}")["error"] == DEAD
    assert not Checkpoint.objects.exists()


def test_while_it_is_paused_or_with_a_person_it_can_be_read_only(shopped: AgentClient) -> None:
    shopped.data("POST", "/session/commit")
    services.hand_over(session_of(shopped), to=Actor("staff"))
    for path in ("commit", "rollback"):
        assert shopped.refused(409, "POST", f"/session/{path}")["code"] == "session_held"
    services.take_back(session_of(shopped), actor=Actor("staff", "1"))
    services.pause_session(session_of(shopped))
    for path in ("commit", "rollback"):
        assert shopped.refused(409, "POST", f"/session/{path}")["code"] == "session_paused"
    assert shopped.data("GET", "/session/next-step")["action"] == "run"


def test_rules_that_cannot_be_read_are_said_to_be_the_sites_fault(shopped: AgentClient, configure: Any) -> None:
    configure(STEPS="tests.services.working.nowhere")
    assert shopped.refused(503, "GET", "/session/next-step")["code"] == "no_store"


def test_a_session_says_what_comes_next_and_what_a_person_has_to_do(shopper: AgentClient, configure: Any) -> None:
    """R2, S5: where the shop has steps; without any there is nothing to say."""
    assert not shopper.data("GET", "/session").keys() & {"next_step", "interventions"}

    configure(STEPS="shop_demo.steps.RULES")
    told = shopper.data("GET", "/session")
    assert (told["next_step"]["action"], told["next_step"]["step"], told["next_step"]["method"]) == (
        "run", "payment", "card",
    )  # fmt: skip

    head = selectors.session_of_token(shopper.token)
    patch = {"recovery": {"interventions": {"step.payment": {"kind": "step", "since": "2026-03-02T10:00:00Z"}}}}
    services.change_session(head, expected_version=head.version, patch=patch, actor=Actor("system"))
    assert shopper.data("GET", "/session")["interventions"]["step.payment"]["kind"] == "step"
