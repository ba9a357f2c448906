"""The wire contract, items 1 to 29: sessions."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import checks

from agent_sessions import selectors, services
from agent_sessions.models import AuditEvent, Session
from agent_sessions.store import Capability, Outcome, registry
from tests.api.conftest import DEAD, AgentClient
from tests.conftest import MORNING

pytestmark = pytest.mark.django_db


def time_of(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_item_01_posting_to_the_session_endpoint_opens_a_session(agent: AgentClient) -> None:
    answer = agent.send("POST", "/session", {})

    assert answer.status_code == 201
    assert selectors.authenticate(answer.json()["data"]["session_token"]).is_live()


@pytest.mark.parametrize(
    "facts",
    [{}, {"body": b"", "content_type": "application/json"}, {"body": {}}, {"body": " \n"}],
    ids=["nothing", "a type and no body", "an empty object", "white space"],
)
def test_item_02_the_body_is_optional(agent: AgentClient, facts: dict[str, Any]) -> None:
    assert agent.data("POST", "/session", status=201, **facts)["session_token"]


@pytest.mark.parametrize("names", [("agent_name",), ("agent_version", "purpose"), ("agent_name", "purpose")])
def test_item_03_any_of_name_version_and_purpose_can_be_given(agent: AgentClient, names: tuple[str, ...]) -> None:
    opened = agent.open(**dict.fromkeys(names, "something"))

    session = selectors.get_session(selectors.authenticate(opened["session_token"]).session_id)
    assert session.agent_name == ("something" if "agent_name" in names else "")
    assert session.agent_version == ("something" if "agent_version" in names else "")


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('"text"', "object"),
        ({"agent_name": 7}, "agent_name"),
        ({"purpose": ["a"]}, "purpose"),
        ({"agent_name": "n" * 201}, "agent_name"),
        ({"agent_version": "n" * 201}, "agent_version"),
        ({"purpose": "n" * 1001}, "purpose"),
        ({"agent_name": "a\u202eb"}, "name"),
        ({"scope": {"spend_cap": 100}}, "scope"),
        ({"scope": "all"}, "scope"),
        ({"parent_request": "p" * 65}, "parent_request"),
    ],
)
def test_item_04_what_cannot_be_a_session_is_told(agent: AgentClient, body: Any, about: str) -> None:
    refusal = agent.refused(400, "POST", "/session", body)

    assert about in refusal["error"]
    assert not Session.objects.exists()


def test_item_04_unknown_fields_are_ignored(agent: AgentClient) -> None:
    opened = agent.open(consumer="customer-7", model="x", agent_name="n" * 200, purpose="p" * 1000)

    head = selectors.authenticate(opened["session_token"])
    assert head.consumer == "", "who the consumer is only the shop can say"


def test_item_05_the_answer_has_token_deadline_and_capabilities(agent: AgentClient) -> None:
    answer = agent.send("POST", "/session").json()

    assert answer.keys() == {"ok", "data"}
    assert answer["ok"] is True
    assert {"session_token", "expires_at", "capabilities"} <= answer["data"].keys()


def test_item_06_tokens_are_long_and_never_the_same(agent: AgentClient, configure: Any) -> None:
    tokens = {agent.open()["session_token"] for _ in range(10)}

    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 32


def test_item_07_tokens_can_stand_in_a_path_and_in_a_replacement(agent: AgentClient) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", agent.open()["session_token"])


def test_item_08_the_deadline_is_the_opening_and_the_time_to_live(agent: AgentClient, clock: Any) -> None:
    assert time_of(agent.open()["expires_at"]) == MORNING + timedelta(seconds=1800)


def test_item_09_the_session_names_what_it_is_needed_for(agent: AgentClient) -> None:
    names = agent.open()["capabilities"]

    assert {"cart.add", "cart.view", "cart.update", "cart.remove", "checkout"} <= set(names)
    assert not {"search", "browse", "detail", "contact"} & set(names)


def test_item_09_a_scope_leaves_only_what_it_names(agent: AgentClient) -> None:
    opened = agent.open(scope={"capabilities": ["search", "cart.view"]})

    assert opened["capabilities"] == ["cart.view"]


def test_item_10_purpose_and_agent_are_recorded(shopper: AgentClient) -> None:
    head = selectors.authenticate(shopper.token)
    shopper.data("DELETE", "/session")

    artifact = shopper.data("GET", f"/audit/{shopper.token}")
    assert artifact["agent"] == {"name": "Shopping helper", "version": "2.1", "purpose": "a birthday gift"}
    assert selectors.private_values(head.session_id, 1)["purpose"] == "a birthday gift"


def test_item_11_the_header_is_the_credential(shopper: AgentClient) -> None:
    assert shopper.data("GET", "/cart", headers={"X-Agent-Session": shopper.token})["items"] == []


def test_item_12_missing_unknown_expired_and_ended_tokens_get_one_answer(
    agent: AgentClient, clock: Any, configure: Any
) -> None:
    ended = agent.open()["session_token"]
    agent.data("DELETE", "/session")
    expired = agent.open()["session_token"]
    agent.token = ""
    clock.shift(1800)

    answers = [
        agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": token})
        for token in ("", "unknown", ended, expired, "ags_" + "A" * 120, "é")
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["error"] == DEAD


@pytest.mark.parametrize("path", ["/search?q=mug", "/browse", "/detail/mug"])
def test_item_13_reading_the_catalogue_needs_no_session(agent: AgentClient, path: str) -> None:
    assert agent.data("GET", path)


def test_item_14_a_call_that_needs_no_session_is_recorded_in_the_one_it_names(shopper: AgentClient) -> None:
    session = selectors.authenticate(shopper.token).session_id

    shopper.data("GET", "/search?q=mug")

    last = selectors.events(session)[-1]
    assert (last["capability"], last["method"], last["response_status"]) == ("search", "GET", 200)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/cart"), ("POST", "/checkout"), ("DELETE", "/session"), ("GET", "/search?q=mug")]
)
def test_item_15_a_dead_token_is_refused_everywhere(shopper: AgentClient, clock: Any, method: str, path: str) -> None:
    shopper.open()
    clock.shift(1800)

    assert shopper.refused(401, method, path)["error"] == DEAD


def test_item_15_the_artifact_can_be_had_with_the_dead_token_as_bearer(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")
    token, shopper.token = shopper.token, ""

    assert shopper.data("GET", f"/audit/{token}", headers={"Authorization": f"Bearer {token}"})["events"]


def test_item_16_the_time_to_live_is_half_an_hour_unless_set(agent: AgentClient, configure: Any, clock: Any) -> None:
    assert agent.send("GET", "/.well-known/agents.json").json()["session"]["ttl"] == 1800
    configure(TTL={"standard": 60})

    assert agent.send("GET", "/.well-known/agents.json").json()["session"]["ttl"] == 60
    assert time_of(agent.open()["expires_at"]) == MORNING + timedelta(seconds=60)


def test_item_16_less_than_a_minute_is_refused_at_the_start(configure: Any) -> None:
    configure(TTL={"standard": 59})

    assert "agent_sessions.E003" in [message.id for message in checks.run_checks()]


def test_item_17_activity_does_not_move_the_deadline(agent: AgentClient, clock: Any) -> None:
    agent.open()
    clock.shift(1799)
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)

    clock.shift(1)

    assert agent.refused(401, "GET", "/cart")["error"] == DEAD


def test_item_18_deleting_the_session_ends_it(agent: AgentClient, clock: Any) -> None:
    agent.open()
    clock.shift(5)

    ended = agent.data("DELETE", "/session")

    assert ended["session_token"] == agent.token
    assert time_of(ended["ended_at"]) == MORNING + timedelta(seconds=5)
    assert Session.objects.get().end_reason == "deleted"


def test_item_19_the_address_of_the_artifact_is_told_if_there_will_be_one(agent: AgentClient, configure: Any) -> None:
    agent.open()
    url = agent.data("DELETE", "/session")["audit_artifact_url"]
    assert url == f"/.well-known/agents/api/audit/{agent.token}"
    configure(AUDIT=False)

    agent.open()

    assert "audit_artifact_url" not in agent.data("DELETE", "/session")


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_item_20_nobody_can_end_a_session_they_do_not_hold(agent: AgentClient, token: str) -> None:
    assert agent.refused(401, "DELETE", "/session", headers={"X-Agent-Session": token})["error"] == DEAD


def test_item_20_ending_twice_is_refused(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    shopper.refused(401, "DELETE", "/session")


def test_item_21_after_the_end_the_token_is_dead_everywhere(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    for method, path in (("GET", "/cart"), ("POST", "/cart"), ("POST", "/checkout"), ("GET", "/browse")):
        shopper.refused(401, method, path)


def test_item_22_a_checkout_completes_the_session(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data("POST", "/checkout")

    assert Session.objects.get().end_reason == "completed"
    shopper.refused(401, "GET", "/cart")


def test_item_22_or_leaves_it_its_time(shopper: AgentClient, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data("POST", "/checkout")

    assert shopper.data("GET", "/cart")["cart_size"] == 1


def test_item_23_no_more_live_sessions_than_the_limit(
    agent: AgentClient, make_agent: Callable[..., AgentClient], configure: Any, clock: Any
) -> None:
    configure(MAX_SESSIONS=2)
    agent.open()
    clock.shift(100)
    agent.open()
    agent.token = ""

    answer = agent.send("POST", "/session")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1700"
    assert answer.json()["code"] == "too_many_sessions"
    assert make_agent(REMOTE_ADDR="192.0.2.9").open()["session_token"], "another caller has places of its own"


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_item_23_ended_and_expired_sessions_free_their_place(
    agent: AgentClient, configure: Any, clock: Any, how: str
) -> None:
    configure(MAX_SESSIONS=1)
    agent.open()
    if how == "deleted":
        agent.data("DELETE", "/session")
    else:
        clock.shift(1800)

    assert agent.open()["session_token"]


def test_item_24_the_cart_of_one_session_is_not_seen_in_another(agent: AgentClient) -> None:
    first = agent.open()["session_token"]
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    agent.open()

    assert agent.data("GET", "/cart")["items"] == []
    assert agent.data("GET", "/cart", headers={"X-Agent-Session": first})["cart_size"] == 1


def test_item_25_a_session_has_one_chain_of_its_own(agent: AgentClient) -> None:
    for _ in range(2):
        agent.open()
        agent.data("GET", "/search?q=mug")
        agent.data("DELETE", "/session")

    runs = {event.session_id for event in AuditEvent.objects.all()}
    assert len(runs) == Session.objects.count() == 2
    for run in runs:
        assert {event["run_id"] for event in selectors.events(run)} == {str(run)}


def test_item_26_the_token_is_stored_and_logged_nowhere(shopper: AgentClient, caplog: pytest.LogCaptureFixture) -> None:
    shopper.send("GET", f"/audit/{shopper.token}")
    shopper.send("GET", f"/audit/{shopper.token}x")
    shopper.send("GET", "/nothing-here")
    shopper.send("GET", "/search?q=break")
    shopper.data("DELETE", "/session")
    shopper.send("GET", "/cart")

    assert shopper.token not in caplog.text
    for row in Session.objects.values_list():
        assert shopper.token not in repr(row)
    for row in AuditEvent.objects.values_list():
        assert shopper.token not in repr(row)


def test_item_27_a_session_can_be_bound_to_the_address_it_was_opened_from(
    make_agent: Callable[..., AgentClient], configure: Any
) -> None:
    configure(BIND_TO="address")
    home = make_agent(REMOTE_ADDR="192.0.2.1")
    home.open()
    thief = make_agent(REMOTE_ADDR="192.0.2.2")
    thief.token = home.token

    assert thief.refused(401, "GET", "/cart")["error"] == DEAD
    assert thief.refused(401, "DELETE", "/session")["error"] == DEAD
    assert home.data("GET", "/cart", headers={"User-Agent": "another one"})["items"] == []


def test_item_27_an_address_is_not_written_down(make_agent: Callable[..., AgentClient], configure: Any) -> None:
    configure(BIND_TO="address")
    make_agent(REMOTE_ADDR="192.0.2.1").open()

    assert "192.0.2.1" not in repr(list(Session.objects.values_list()))


def test_item_28_a_security_event_kills_every_token(shopper: AgentClient, agent: AgentClient) -> None:
    tokens = [shopper.token, agent.open()["session_token"]]

    services.revoke_all_sessions(reason="the key leaked")

    for token in tokens:
        agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": token})


def test_item_29_every_built_in_that_changes_something_needs_a_session(agent: AgentClient) -> None:
    entries = agent.send("GET", "/.well-known/agents.json").json()["capabilities"]

    assert {one["name"] for one in entries if one["method"] != "GET" and not one["requires_session"]} == {"contact"}


def test_item_29_a_capability_that_forgets_it_is_pointed_out() -> None:
    registry.add(Capability("gift.wrap", "POST", "/gift/wrap", lambda call: Outcome(call.params), "gift.wrapped"))
    try:
        found = [message for message in checks.run_checks() if message.id == "agent_sessions.W004"]
    finally:
        registry.remove("gift.wrap")

    assert ["gift.wrap" in message.msg for message in found] == [True]
