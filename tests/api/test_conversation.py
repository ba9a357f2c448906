"""The conversation over HTTP: added to, read by windows, searched, through the sessions that one came from (S6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason, Lineage, Origin
from agent_sessions.models import Message
from agent_sessions.services._quarantine import quarantine
from tests.api.conftest import AgentClient
from tests.conftest import MORNING, SHOPPING_AGENT
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db


def say(agent: AgentClient, content: Any, role: str = "user") -> dict[str, Any]:
    told: dict[str, Any] = agent.data("POST", "/session/messages", {"role": role, "content": content}, status=201)
    return told


def test_turns_are_added_and_read_by_windows(shopper: AgentClient) -> None:
    assert [say(shopper, text)["number"] for text in ("Hello", "A teapot?", {"text": "Green", "tool": 3})] == [1, 2, 3]

    read = shopper.data("GET", "/session/messages?after=1&limit=1")

    assert [(turn["number"], turn["role"], turn["content"]) for turn in read["turns"]] == [(2, "user", "A teapot?")]
    assert read["ancestors"] == []
    assert shopper.data("GET", "/session/messages")["turns"][2]["content"] == {"text": "Green", "tool": 3}
    assert not any(b"teapot" in bytes(row.body) for row in Message.objects.all()), "sealed"


def test_adding_needs_no_version_and_moves_none(shopper: AgentClient) -> None:
    shopper.send("POST", "/cart", {"item_id": "mug"})
    answer = shopper.send(
        "POST", "/session/messages", {"role": "agent", "content": "Done"}, headers={"If-Match": '"v1"'}
    )

    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v2"')


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "content"),
        ({"role": "user"}, "content"),
        ({"content": "Hello"}, "role"),
        ({"role": "User!", "content": "Hello"}, "role"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "user", "content": 1.5}, "content"),
        ({"role": 7, "content": "Hello"}, "role"),
    ],
)
def test_what_is_no_turn_is_refused(shopper: AgentClient, body: Any, name: str) -> None:
    refusal = shopper.refused(400, "POST", "/session/messages", body)

    assert (refusal["code"], refusal["details"]["parameter"].split("/")[0]) == ("invalid_parameter", name)
    assert Message.objects.count() == 0


def test_a_turn_that_is_too_large_is_refused(shopper: AgentClient, configure: Any) -> None:
    configure(MAX_MESSAGE_BYTES=100)

    assert shopper.refused(413, "POST", "/session/messages", {"role": "user", "content": "x" * 100})
    assert Message.objects.count() == 0


def test_words_are_found_wherever_they_stand(shopper: AgentClient) -> None:
    for content in ("A GREEN teapot", "Two cups", {"said": ["the teapot", "is green"]}, "Thank you"):
        say(shopper, content)

    found = shopper.data("GET", "/session/messages?q=green+teapot")["turns"]

    assert [turn["number"] for turn in found] == [3, 1], "the latest first"
    assert [turn["number"] for turn in shopper.data("GET", "/session/messages?q=teapot&limit=1")["turns"]] == [3]
    assert shopper.data("GET", "/session/messages?q=spoon")["turns"] == []
    assert shopper.refused(400, "GET", "/session/messages?q=+")["code"] == "invalid_parameter"
    assert shopper.refused(400, "GET", f"/session/messages?q={'x' * 201}")["code"] == "invalid_parameter"


@pytest.fixture
def family(clock: Any, shopper: AgentClient) -> tuple[AgentClient, AgentClient, AgentClient]:
    """A session, one that goes on from it, and one that goes on from that; each says something before and after."""
    agents = [shopper]
    shopper.open()
    say(shopper, "First: hello")
    for number in (1, 2):
        clock.shift(timedelta(minutes=1))
        parent = selectors.session_of_token(agents[-1].token)
        opened = services.open_session(
            agent=SHOPPING_AGENT, lineage=Lineage(Origin.FORK, parent.session_id, parent.version, parent.family)
        )
        child = AgentClient()
        child.token = opened.token
        clock.shift(timedelta(minutes=1))
        say(agents[-1], f"{number}: said too late, hello")
        say(child, f"{number}: said after, hello")
        agents.append(child)
    return agents[0], agents[1], agents[2]


def test_a_session_goes_on_with_what_was_said_before_it(family: tuple[AgentClient, AgentClient, AgentClient]) -> None:
    first, second, third = (selectors.session_of_token(agent.token) for agent in family)

    read = family[2].data("GET", "/session/messages")
    assert [turn["content"] for turn in read["turns"]] == ["2: said after, hello"]
    assert read["ancestors"] == [str(second.session_id), str(first.session_id)]
    assert selectors.ancestors(third)[1].until == MORNING + timedelta(minutes=1), "when the second session began"

    from_second = family[2].data("GET", f"/session/messages?of={second.session_id}")["turns"]
    assert [turn["content"] for turn in from_second] == ["1: said after, hello"]
    from_first = family[2].data("GET", f"/session/messages?of={first.session_id}")["turns"]
    assert [turn["content"] for turn in from_first] == ["First: hello"]

    found = family[2].data("GET", "/session/messages?q=hello")["turns"]
    assert [turn["content"] for turn in found] == ["2: said after, hello", "1: said after, hello", "First: hello"]


def test_only_ancestors_are_read(family: tuple[AgentClient, AgentClient, AgentClient]) -> None:
    third = selectors.session_of_token(family[2].token)

    assert family[0].refused(400, "GET", f"/session/messages?of={third.session_id}")["code"] == "invalid_parameter"
    assert family[0].refused(400, "GET", "/session/messages?of=nothing")["code"] == "invalid_parameter"
    assert family[0].data("GET", "/session/messages")["ancestors"] == []


def test_it_stays_readable_when_the_ancestor_has_ended(family: tuple[AgentClient, AgentClient, AgentClient]) -> None:
    first = selectors.session_of_token(family[0].token)
    services.end_session(first, reason=EndReason.DELETED)

    found = family[1].data("GET", "/session/messages?q=first")["turns"]

    assert [turn["content"] for turn in found] == ["First: hello"]


@pytest.mark.parametrize("what", ["quarantined", "altered"])
def test_an_ancestor_that_cannot_be_trusted_is_not_read(
    what: str, family: tuple[AgentClient, AgentClient, AgentClient]
) -> None:
    first = selectors.session_of_token(family[0].token)
    if what == "quarantined":
        quarantine(first.session_id, "found damaged")
    else:
        Tamper(first.session_id).message(1, body=b"altered" * 10)

    found = family[2].data("GET", "/session/messages?q=hello")["turns"]

    assert [turn["content"] for turn in found] == ["2: said after, hello", "1: said after, hello"]
