"""Pausing, handing over, renewing over HTTP (L1 to L4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import Session
from tests.api import store
from tests.api.conftest import DEAD, AgentClient
from tests.conftest import MORNING
from tests.faults.support import half_done

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def shopped(clock: Any, shopper: AgentClient) -> AgentClient:
    """An agent whose session of the MORNING has a mug: version 2. It is five minutes later."""
    shopper.open()
    shopper.send("POST", "/cart", {"item_id": "mug"})
    clock.shift(5 * MINUTE)
    return shopper


def session_of(agent: AgentClient) -> Any:
    return selectors.session_of_token(agent.token)


# Kinds


@pytest.mark.parametrize(
    ("kind", "minutes"), [("standard", 30), ("quote", 10), ("approval", 30), ("payment", 180), ("consumer", 24 * 60)]
)
def test_a_session_is_opened_of_a_kind(agent: AgentClient, clock: Any, kind: str, minutes: int) -> None:
    """L1: each with its own time to live."""
    opened = agent.open(kind=kind)
    assert opened["expires_at"] == (MORNING + minutes * MINUTE).isoformat().replace("+00:00", ".000000Z")
    told = agent.data("GET", "/session")
    assert (told["kind"], told["seconds_left"]) == (kind, minutes * 60)


def test_without_a_kind_it_is_standard(agent: AgentClient) -> None:
    agent.open(kind=None)
    assert agent.data("GET", "/session")["kind"] == "standard"


def test_a_kind_that_there_is_not_is_refused(agent: AgentClient) -> None:
    refused = agent.refused(400, "POST", "/session", {"kind": "forever"})
    assert refused["details"]["parameter"] == "kind"
    assert "standard, quote, approval, payment, consumer" in refused["error"]
    assert "forever" not in refused["error"]
    assert agent.refused(400, "POST", "/session", {"kind": 7})["details"]["parameter"] == "kind"


def test_a_site_sets_its_own(agent: AgentClient, clock: Any, configure: Any) -> None:
    configure(TTL={"standard": 900, "wedding": 7200})
    agent.open(kind="wedding")
    assert agent.data("GET", "/session")["seconds_left"] == 7200
    manifest = agent.send("GET", "/.well-known/agents.json").json()
    assert manifest["session"]["ttl"] == 900, "that of standard"
    schema = agent.send("GET", "/.well-known/agents/openapi.json").json()
    body = schema["paths"]["/.well-known/agents/api/session"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["kind"]["enum"] == [
        "standard", "quote", "approval", "payment", "consumer", "wedding",
    ]  # fmt: skip


# Pausing


def test_it_is_paused_and_goes_on_where_it_was(shopped: AgentClient) -> None:
    """L3"""
    answer = shopped.send("POST", "/session/pause", {"reason": "The consumer is on the train"})
    told = answer.json()["data"]
    assert (told["status"], told["paused_at"], answer.headers["ETag"]) == (
        "paused", "2026-03-02T10:05:00.000000Z", '"v2"',
    )  # fmt: skip
    refused = shopped.refused(409, "POST", "/cart", {"item_id": "bowl"})
    assert refused["code"] == "session_paused"
    assert shopped.data("GET", "/cart")["cart_size"] == 1
    assert shopped.data("GET", "/session")["may"] == ["session.resume", "session.end"]
    shopped.data("POST", "/session/messages", {"role": "user", "content": "Back in ten minutes"}, status=201)

    told = shopped.data("POST", "/session/resume")
    assert (told["status"], told["version"]) == ("active", 2)
    assert "paused_at" not in told
    assert shopped.data("POST", "/cart", {"item_id": "bowl"}, status=201, headers={"If-Match": '"v2"'})
    assert half_done(session_of(shopped).session_id) == []


def test_twice_is_refused(shopped: AgentClient) -> None:
    assert shopped.refused(409, "POST", "/session/resume")["code"] == "not_paused"
    shopped.data("POST", "/session/pause")
    assert shopped.refused(409, "POST", "/session/pause")["code"] == "session_paused"


def test_what_a_person_has_paused_the_agent_does_not_resume(shopped: AgentClient) -> None:
    services.pause_session(session_of(shopped), actor=Actor("staff", "17"))
    refused = shopped.refused(409, "POST", "/session/resume")
    assert (refused["code"], refused["details"]["by"]) == ("session_paused", "staff")


@pytest.mark.parametrize("path", ["pause", "resume", "renew"])
def test_a_stale_version_is_refused(shopped: AgentClient, path: str) -> None:
    """V3"""
    if path == "resume":
        shopped.data("POST", "/session/pause")
    refused = shopped.refused(412, "POST", f"/session/{path}", headers={"If-Match": '"v1"'})
    assert (refused["code"], refused["details"]["current"]) == ("version_conflict", 2)
    status = 201 if path == "renew" else 200
    shopped.data("POST", f"/session/{path}", headers={"If-Match": '"v2"'}, status=status)


def test_a_paused_session_can_be_ended(shopped: AgentClient) -> None:
    shopped.data("POST", "/session/pause")
    assert shopped.data("DELETE", "/session")["ended"] is True


# Handing over


@pytest.mark.parametrize("to", ["staff", "consumer"])
def test_it_is_with_a_person_until_they_give_it_back(shopped: AgentClient, to: str) -> None:
    """L4"""
    told = shopped.data("POST", "/session/handover", {"to": to, "note": "She asks for a discount"})
    assert (told["held_by"], told["status"]) == (to, "active")
    refused = shopped.refused(409, "PATCH", "/cart", {"item_id": "mug", "quantity": 2})
    assert (refused["code"], refused["details"]["held_by"]) == ("session_held", to)
    for path in ("/session/pause", "/session/renew", "/session/forks", "/session/handover"):
        assert shopped.refused(409, "POST", path, {"to": "staff"})["code"] == "session_held"
    assert shopped.refused(409, "DELETE", "/session")["code"] == "session_held"

    services.take_back(session_of(shopped), actor=Actor(to))
    assert shopped.data("GET", "/session")["held_by"] == "agent"
    shopped.data("PATCH", "/cart", {"item_id": "mug", "quantity": 2})


def test_nobody_sees_which_of_the_staff_has_it(shopped: AgentClient) -> None:
    services.hand_over(session_of(shopped), to=Actor("staff", "seventeen"), actor=Actor("staff", "seventeen"))
    assert "seventeen" not in shopped.send("GET", "/session").content.decode()
    assert "seventeen" not in shopped.send("POST", "/session/takeback").content.decode()


def test_the_agent_takes_back_what_nobody_has_come_for(shopped: AgentClient) -> None:
    assert shopped.refused(409, "POST", "/session/takeback")["code"] == "not_held"
    shopped.data("POST", "/session/handover", {"to": "staff"})
    assert shopped.data("POST", "/session/takeback", {"note": "solved"})["held_by"] == "agent"
    shopped.data("POST", "/session/handover", {"to": "staff"})
    services.add_message(session_of(shopped), role="staff", content="Yes?", actor=Actor("staff", "17"))
    assert shopped.refused(409, "POST", "/session/takeback")["code"] == "session_held"


@pytest.mark.parametrize("body", [{}, {"to": "agent"}, {"to": "staff:17"}, {"to": ["staff"]}, {"to": None}])
def test_it_is_handed_to_a_person_only(shopped: AgentClient, body: Any) -> None:
    refused = shopped.refused(400, "POST", "/session/handover", body)
    assert refused["details"]["parameter"] == "to"
    assert shopped.data("GET", "/session")["held_by"] == "agent"


@pytest.mark.parametrize(
    ("path", "body", "parameter"),
    [
        ("pause", {"reason": "x" * 1001}, "reason"),
        ("pause", {"reason": 7}, "reason"),
        ("handover", {"to": "staff", "note": "x" * 1001}, "note"),
        ("takeback", {"note": {}}, "note"),
        ("renew", {"kind": "forever"}, "kind"),
        ("renew", {"kind": 7}, "kind"),
        ("renew", {"kind": "x" * 33}, "kind"),
    ],
)
def test_what_does_not_fit_is_named(shopped: AgentClient, path: str, body: Any, parameter: str) -> None:
    if path == "takeback":
        shopped.data("POST", "/session/handover", {"to": "staff"})
    assert shopped.refused(400, "POST", f"/session/{path}", body)["details"]["parameter"] == parameter


@pytest.mark.parametrize("path", ["pause", "resume", "handover", "takeback", "renew", "forks"])
@pytest.mark.parametrize("token", ["", "forged"])
def test_without_a_session_there_is_one_answer(agent: AgentClient, db: None, path: str, token: str) -> None:
    """T3"""
    agent.token = token
    assert agent.refused(401, "POST", f"/session/{path}", {"to": "staff"})["error"] == DEAD


# Renewing


def test_it_goes_on_with_a_new_token(shopped: AgentClient, clock: Any) -> None:
    """L2: the answer is that of opening, and says what has changed."""
    old, was = shopped.token, session_of(shopped)
    answer = shopped.send("POST", "/session/renew")
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v1"')
    data = answer.json()["data"]
    assert data["renewed_from"] == str(was.session_id)
    assert data["expires_at"] == "2026-03-02T10:35:00.000000Z"
    assert {"cart.view", "cart.add", "checkout"} <= set(data["capabilities"])
    assert (data["changes"], data["problems"], data["cart"]["total"]) == ([], [], "28.00")
    assert data["audit"] is True

    assert shopped.refused(401, "GET", "/session")["error"] == DEAD
    shopped.token = data["session_token"]
    told = shopped.data("GET", "/session")
    assert (told["session_id"], told["family"]) == (data["session_id"], str(was.session_id))
    assert shopped.data("GET", "/cart")["cart_size"] == 1
    assert shopped.send("GET", f"/audit/{old}").status_code == 200, "the first one's record is there"


def test_the_answer_says_what_costs_more_and_what_is_gone(
    shopped: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L2, X2"""
    shopped.data("POST", "/cart", {"item_id": "bowl"}, status=201)
    mug, bowl = store.ITEMS["mug"], store.ITEMS["bowl"]
    monkeypatch.setitem(store.ITEMS, "mug", type(mug)("mug", mug.title, 3000, "EUR", available=5))
    monkeypatch.setitem(store.ITEMS, "bowl", type(bowl)("bowl", bowl.title, 1950, "EUR", available=0))

    data = shopped.data("POST", "/session/renew", {"kind": "payment"}, status=201)

    assert [one["text"] for one in data["changes"]] == [
        "Ocean blue mug: price 28.00 → 30.00 EUR",
        "Quote 47.50 → 30.00 EUR",
    ]
    assert [(one["code"], one["message"]) for one in data["problems"]] == [("out_of_stock", "Only 0 left.")]
    assert data["expires_at"] == "2026-03-02T13:05:00.000000Z"


def test_at_the_deadline_it_is_too_late(shopped: AgentClient, clock: Any) -> None:
    clock.move_to(MORNING + 30 * MINUTE)
    assert shopped.refused(401, "POST", "/session/renew")["error"] == DEAD
    assert not Session.objects.filter(origin="renewal").exists()


def test_a_paused_session_is_resumed_first(shopped: AgentClient) -> None:
    shopped.data("POST", "/session/pause")
    assert shopped.refused(409, "POST", "/session/renew")["code"] == "session_paused"


def test_the_limit_of_sessions_refuses_no_renewal(agent: AgentClient, configure: Any, db: None) -> None:
    """T7"""
    configure(MAX_SESSIONS=1)
    agent.open()
    agent.token = agent.data("POST", "/session/renew", status=201)["session_token"]
    assert agent.refused(429, "POST", "/session")["code"] == "too_many_sessions"


def test_the_same_renewal_sent_again_gets_the_same_answer(shopped: AgentClient) -> None:
    """V7: also with the token that it has put out of use."""
    headers = {"Idempotency-Key": "renew-1"}
    first = shopped.send("POST", "/session/renew", {}, headers=headers)
    again = shopped.send("POST", "/session/renew", {}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert Session.objects.filter(origin="renewal").count() == 1


def test_tokens_are_bound_as_before(make_agent: Any, configure: Any, db: None) -> None:
    """T5"""
    configure(BIND_TO="address")
    agent, thief = make_agent(REMOTE_ADDR="192.0.2.1"), make_agent(REMOTE_ADDR="192.0.2.2")
    agent.open()
    agent.token = agent.data("POST", "/session/renew", status=201)["session_token"]
    thief.token = agent.token
    agent.data("GET", "/session")
    thief.refused(401, "GET", "/session")
