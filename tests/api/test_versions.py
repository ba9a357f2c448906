"""If-Match and ETag: a call can name the version that it is based on (V3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.api.errors import MalformedRequest
from agent_sessions.api.preconditions import expected_version
from tests.api.conftest import AgentClient
from tests.api.store import Shelf

pytestmark = pytest.mark.django_db


def test_answers_of_a_session_carry_its_version(agent: AgentClient) -> None:
    opened = agent.send("POST", "/session", {})
    agent.token = opened.json()["data"]["session_token"]

    tags = [opened.headers["ETag"]]
    for method, path, body in (
        ("GET", "/cart", None),
        ("POST", "/cart", {"item_id": "mug"}),
        ("PATCH", "/cart", {"item_id": "mug", "quantity": 2}),
        ("GET", "/cart", None),
        ("GET", "/search?q=mug", None),
    ):
        tags.append(agent.send(method, path, body).headers["ETag"])

    assert tags == ['"v1"', '"v1"', '"v2"', '"v3"', '"v3"', '"v3"']


def test_an_answer_without_a_session_has_none(agent: AgentClient) -> None:
    assert "ETag" not in agent.send("GET", "/search?q=mug").headers


@pytest.mark.parametrize("tag", ['"v2"', '"2"', ' "v2" ', "*", '"v1", "v2"'])
def test_a_call_based_on_the_current_version_is_carried_out(shopper: AgentClient, tag: str) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data("PATCH", "/cart", {"item_id": "mug", "quantity": 3}, headers={"If-Match": tag})

    assert shopper.data("GET", "/cart")["cart_size"] == 3


def test_a_stale_call_writes_nothing_and_is_told_what_has_changed(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    shopper.data("PATCH", "/cart", {"item_id": "mug", "quantity": 3})
    session = selectors.authenticate(shopper.token).session_id

    answer = shopper.send("DELETE", "/cart", {"item_id": "mug"}, headers={"If-Match": '"v2"'})

    assert answer.status_code == 412
    assert answer.headers["ETag"] == '"v3"'
    refusal = answer.json()
    assert refusal["code"] == "version_conflict"
    assert (refusal["details"]["expected"], refusal["details"]["current"]) == (2, 3)
    assert any("3" in change for change in refusal["details"]["changes"])
    assert shopper.data("GET", "/cart")["cart_size"] == 3
    assert [event["response_status"] for event in selectors.events(session)][-2:] == [409, 200]


def test_a_session_is_ended_only_at_the_version_that_is_named(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    answer = shopper.send("DELETE", "/session", headers={"If-Match": '"v1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (412, '"v2"')

    shopper.data("DELETE", "/session", headers={"If-Match": '"v2"'})
    shopper.refused(401, "GET", "/cart")


@pytest.mark.parametrize("tag", ["v2", 'W/"v2"', '"two"', '""', '"v2" "v3"', '"v-1"', '"v' + "9" * 40 + '"'])
def test_what_is_no_strong_tag_of_ours_is_refused(shopper: AgentClient, tag: str) -> None:
    assert shopper.refused(400, "POST", "/cart", {"item_id": "mug"}, headers={"If-Match": tag})
    assert shopper.data("GET", "/cart")["items"] == []


def test_of_several_tags_the_current_one_counts() -> None:
    assert expected_version('"v1", "v5"', 5) == 5
    assert expected_version('"v1", "v4"', 5) == 1
    assert expected_version(None, 5) is None
    with pytest.raises(MalformedRequest):
        expected_version('"v1", W/"v5"', 5)


def test_a_call_that_names_no_version_is_run_again_on_the_new_one(
    shopper: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that comes between must not be lost, and nobody is bothered with it."""
    price: Callable[..., Any] = Shelf.price
    session = selectors.authenticate(shopper.token).session_id
    once = [True]

    def price_while_another_writes(*args: Any, **facts: Any) -> Any:
        if once:
            once.clear()
            services.change_session(session, expected_version=1, patch={"agent": {"note": "x"}})
        return price(*args, **facts)

    monkeypatch.setattr(Shelf, "price", price_while_another_writes)

    answer = shopper.send("POST", "/cart", {"item_id": "mug"})

    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v3"')
    assert selectors.current_state(session).state["agent"] == {"note": "x"}


def test_a_call_and_the_end_of_its_session_that_meet_are_refused_as_dead(
    shopper: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    price: Callable[..., Any] = Shelf.price
    session = selectors.authenticate(shopper.token).session_id

    def price_while_it_ends(*args: Any, **facts: Any) -> Any:
        services.end_session(session)
        return price(*args, **facts)

    monkeypatch.setattr(Shelf, "price", price_while_it_ends)

    shopper.refused(401, "POST", "/cart", {"item_id": "mug"})
