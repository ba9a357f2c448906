"""The wire contract, items 30 to 49: calling capabilities."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent_sessions import selectors
from agent_sessions.store import Capability, Outcome, Param, registry
from tests.api.conftest import API, DEAD, AgentClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo() -> Iterator[None]:
    """A capability of each method at /echo that answers with what it was given, and one with typed parameters."""
    given = {"a": Param("string"), "b": Param("string")}
    typed = {
        "must": Param("string", required=True),
        "count": Param("integer", default=3),
        "size": Param("string", enum=("S", "M")),
        "tags": Param("array", items="string"),
        "gift": Param("boolean"),
    }
    names = []
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        names.append(f"echo.{method.lower()}")
        registry.add(
            Capability(names[-1], method, "/echo", lambda call: Outcome(dict(call.params)), "echo.heard", params=given)
        )
    for method in ("GET", "POST"):
        names.append(f"typed.{method.lower()}")
        registry.add(
            Capability(names[-1], method, "/typed", lambda call: Outcome(dict(call.params)), "echo.heard", params=typed)
        )
    yield
    for name in names:
        registry.remove(name)


def test_item_30_the_base_path_is_the_one_that_the_manifests_name(agent: AgentClient) -> None:
    text = agent.send("GET", "/.well-known/agents.txt").content.decode()
    entries = agent.send("GET", "/.well-known/agents.json").json()["capabilities"]

    assert f"Agent-API: https://shop.example{API}\n" in text
    assert all(one["endpoint"].startswith(f"https://shop.example{API}/") for one in entries)


def test_item_31_parameters_of_a_get_come_from_the_query(agent: AgentClient, echo: None) -> None:
    assert agent.data("GET", "/echo?a=1&b=%C3%A9&c=3") == {"a": "1", "b": "é"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_item_32_parameters_of_what_changes_come_from_the_body(agent: AgentClient, echo: None, method: str) -> None:
    assert agent.data(method, "/echo", {"a": "1", "b": "2", "c": "3"}) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_item_33_a_body_has_to_be_json(agent: AgentClient, echo: None, method: str) -> None:
    refusal = agent.refused(400, method, "/echo", '{"a":"1"}', content_type="text/plain")

    assert "application/json" in refusal["error"]
    assert agent.data(method, "/echo", content_type="text/plain") == {}, "without a body its type does not matter"


def test_item_34_data_comes_with_ok_and_error_without(agent: AgentClient) -> None:
    assert agent.send("GET", "/search?q=mug").json().keys() == {"ok", "data"}
    refusal = agent.refused(404, "GET", "/detail/nothing")
    assert refusal["ok"] is False
    assert "data" not in refusal


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/search?q=mug", 200),
        ("POST", "/session", 201),
        ("GET", "/search", 400),
        ("GET", "/cart", 401),
        ("GET", "/nothing", 404),
        ("PUT", "/session", 405),
        ("GET", "/search?q=break", 500),
    ],
)
def test_item_35_every_answer_is_json_in_utf_8(agent: AgentClient, method: str, path: str, status: int) -> None:
    answer = agent.send(method, path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json()["ok"] is (status < 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/search", 405, "method_not_allowed"),
        ("BREW", "/search", 405, "method_not_allowed"),
        ("PATCH", "/session", 405, "method_not_allowed"),
        ("POST", "/audit/x", 405, "method_not_allowed"),
        ("GET", "/search?q=break", 500, "server_error"),
    ],
)
def test_item_36_what_is_not_there_or_fails_has_an_envelope_too(
    agent: AgentClient, method: str, path: str, status: int, code: str
) -> None:
    assert agent.refused(status, method, path)["code"] == code


def test_item_36_a_failure_tells_nothing_of_the_inside(agent: AgentClient, caplog: pytest.LogCaptureFixture) -> None:
    refusal = agent.refused(500, "GET", "/search?q=break")

    assert "no index" not in str(refusal)
    assert "RuntimeError" in caplog.text, "the people of the site are told what kind of error it was"
    assert "in search" in caplog.text, "and where"
    assert "no index for break" not in caplog.text, "but not its words, which may repeat what was sent"


def test_item_36_what_is_allowed_is_told(agent: AgentClient) -> None:
    assert agent.send("POST", "/search").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert agent.send("PATCH", "/session").headers["Allow"] == "GET, POST, DELETE, HEAD, OPTIONS"
    assert set(agent.send("BREW", "/cart").headers["Allow"].split(", ")) >= {"GET", "POST", "PUT", "PATCH", "DELETE"}


def test_item_37_what_makes_something_answers_201_and_the_rest_200(shopper: AgentClient) -> None:
    assert shopper.send("POST", "/cart", {"item_id": "mug"}).status_code == 201
    assert shopper.send("PATCH", "/cart", {"item_id": "mug", "quantity": 2}).status_code == 200
    assert shopper.send("POST", "/checkout").status_code == 200


@pytest.mark.parametrize(
    ("path", "about"),
    [("/search", "q"), ("/search?q=", "q"), ("/search?q=mug&page=0", "page"), ("/browse?page=x", "page")],
)
def test_item_38_a_missing_or_wrong_parameter_is_named(agent: AgentClient, path: str, about: str) -> None:
    refusal = agent.refused(400, "GET", path)

    assert refusal["details"]["parameter"] == about
    assert refusal["error"].startswith(f"{about}: ")


def test_item_39_without_a_session_the_cart_is_refused(agent: AgentClient) -> None:
    answer = agent.send("GET", "/cart")

    assert answer.status_code == 401
    assert answer.json()["error"] == DEAD
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_item_40_unknown_endpoints_items_and_lines_are_not_found(shopper: AgentClient) -> None:
    assert shopper.refused(404, "GET", "/nothing")["code"] == "not_found"
    assert shopper.refused(404, "GET", "/detail/nothing")["code"] == "item_not_found"
    assert shopper.refused(404, "POST", "/cart", {"item_id": "nothing"})["code"] == "item_not_found"
    assert shopper.refused(404, "DELETE", "/cart", {"item_id": "mug"})["code"] == "item_not_found"


def test_item_41_a_fault_of_the_site_is_500_and_recorded(shopper: AgentClient) -> None:
    session = selectors.authenticate(shopper.token).session_id

    shopper.refused(500, "GET", "/search?q=break")

    last = selectors.events(session)[-1]
    assert (last["kind"], last["response_status"]) == ("capability.refused", 500)


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({}, "must"),
        ({"must": None}, "must"),
        ({"must": 7}, "must"),
        ({"must": "x", "count": "3"}, "count"),
        ({"must": "x", "count": 3.5}, "count"),
        ({"must": "x", "count": True}, "count"),
        ({"must": "x", "size": "L"}, "size"),
        ({"must": "x", "tags": "a"}, "tags"),
        ({"must": "x", "tags": [1]}, "tags"),
        ({"must": "x", "gift": "yes"}, "gift"),
    ],
)
def test_item_42_what_is_declared_of_a_parameter_holds(
    agent: AgentClient, echo: None, body: dict[str, Any], about: str
) -> None:
    assert agent.refused(400, "POST", "/typed", body)["details"]["parameter"] == about


def test_item_42_defaults_are_filled_in_and_texts_read_as_their_type(agent: AgentClient, echo: None) -> None:
    assert agent.data("POST", "/typed", {"must": "x"}) == {"must": "x", "count": 3}
    answer = agent.data("GET", "/typed?must=x&count=4&size=M&tags=a&tags=b&gift=true")
    assert answer == {"must": "x", "count": 4, "size": "M", "tags": ["a", "b"], "gift": True}


def test_item_43_requests_are_limited_across_all_endpoints(shopper: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=3)

    for path in ("/search?q=mug", "/nothing", "/cart"):
        assert shopper.send("GET", path).status_code != 429

    assert shopper.refused(429, "POST", "/session")["code"] == "rate_limited"
    clock.shift(60)
    assert shopper.send("GET", "/search?q=mug").status_code == 200


def test_item_44_too_many_requests_are_told_when_to_come_back(agent: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)
    clock.shift(17)
    agent.send("GET", "/search?q=mug")

    answer = agent.send("GET", "/search?q=mug")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "43"
    assert answer.json()["error"] == "Rate limit exceeded. Retry after 43 seconds."


def test_item_45_what_is_left_of_the_minute_is_told(agent: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=2)

    left = []
    for _ in range(3):
        headers = agent.send("GET", "/search?q=mug").headers
        left.append((headers["X-RateLimit-Remaining"], int(headers["X-RateLimit-Reset"]) - time.time()))

    assert left == [("1", 60), ("0", 60), ("0", 60)]


def test_item_46_a_handoff_answers_with_the_link_its_deadline_and_a_message(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    data = shopper.data("POST", "/checkout")

    assert data["handoff_url"].startswith("https://shop.example/agent-sessions/handoff/")
    assert data["expires_at"].endswith("Z")
    assert data["message"]
    page = shopper.get(data["handoff_url"].removeprefix("https://shop.example"))
    assert page.content == b"open 3"


def test_item_47_scripts_of_any_origin_may_call(agent: AgentClient, configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)
    for _ in range(3):
        preflight = agent.send("OPTIONS", "/cart", headers={"Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 204
        assert preflight.content == b""
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
        assert {"Content-Type", "X-Agent-Session"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))

    answer = agent.send("GET", "/search?q=mug")
    assert answer.status_code == 200, "a preflight is no call"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert agent.send("GET", "/search?q=mug").headers["Access-Control-Allow-Origin"] == "*", "refusals too"


def test_item_47_the_origin_can_be_restricted_or_left_out(agent: AgentClient, configure: Any) -> None:
    configure(CORS_ORIGIN="https://agent.example")
    answer = agent.send("GET", "/search?q=mug")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://agent.example"
    assert "Origin" in answer.headers["Vary"]
    configure(CORS_ORIGIN="")
    assert "Access-Control-Allow-Origin" not in agent.send("GET", "/search?q=mug").headers


@pytest.mark.parametrize("headers", [{}, {"Accept": "text/html"}, {"Accept": "application/xml", "User-Agent": ""}])
def test_item_48_neither_accept_nor_user_agent_is_needed(agent: AgentClient, headers: dict[str, str]) -> None:
    assert agent.data("GET", "/search?q=mug", headers=headers)


def test_item_49_an_agent_that_got_a_401_can_open_a_new_session_at_once(shopper: AgentClient) -> None:
    """The rest of this item is the agent's own: to wait, to back off, to leave the handoff to the human."""
    shopper.data("DELETE", "/session")
    shopper.refused(401, "GET", "/cart")

    again = shopper.send("POST", "/session", headers={"X-Agent-Session": shopper.token})

    assert again.status_code == 201
