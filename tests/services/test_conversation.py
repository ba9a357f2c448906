"""The conversation: turns in order, sealed, only ever added (S6)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import InvalidValue, LimitExceeded
from agent_sessions.models import Message
from tests.shopping import variables
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db


def test_turns_are_read_in_the_order_they_were_added(opened: Any) -> None:
    """S6"""
    one = opened()
    said: list[tuple[str, Any]] = [
        ("user", "a mug, please 🙂"),
        ("agent", {"text": "Which colour?", "choices": ["blue", "red"]}),
        ("tool", ["sku-1", 12, True, {}]),
        ("user", ""),
    ]

    added = [services.add_message(one.session_id, role=role, content=content) for role, content in said]

    turns = selectors.messages(one.session_id)
    assert [(turn.role, turn.content) for turn in turns] == said
    assert [turn.number for turn in turns] == [made.number for made in added] == [1, 2, 3, 4]
    assert [turn.created_at for turn in turns] == [made.created_at for made in added]


def test_each_turn_is_an_event_that_commits_to_it(opened: Any) -> None:
    """S6, A1"""
    one = opened()

    made = services.add_message(one.session_id, role="user", content="hello", actor=Actor("consumer", "c-1"))
    services.end_session(one.session_id)

    event = selectors.events(one.session_id, after=1)[0]
    assert (event["kind"], event["seq"], event["actor"]) == ("conversation.message_added", made.seq, "consumer:c-1")
    assert event["private"].keys() == {"message"}
    artifact = json.loads(services.get_artifact(one.session_id, disclose="all"))
    (opening,) = artifact["openings"]
    assert (opening["seq"], opening["value"]) == (2, {"role": "user", "content": "hello"})


def test_a_turn_changes_neither_version_nor_state(opened: Any) -> None:
    """S6"""
    one = opened(state=variables(a=1))

    services.add_message(one.session_id, role="user", content="hello")

    view = selectors.current_state(one.session_id)
    assert (view.version, view.state) == (1, variables(a=1))


def test_what_was_said_is_sealed(opened: Any) -> None:
    """S6, A7"""
    one = opened()
    services.add_message(one.session_id, role="user", content="my street is Marker Lane 5")

    assert Message.objects.get().role == "user"
    assert not is_stored("Marker Lane")
    assert selectors.messages(one.session_id)[0].content == "my street is Marker Lane 5"


def test_turns_of_two_sessions_are_apart(opened: Any) -> None:
    """L7"""
    one, other = opened(), opened()
    services.add_message(one.session_id, role="user", content="one")
    services.add_message(other.session_id, role="user", content="other")
    services.add_message(one.session_id, role="agent", content="one again")

    assert [(turn.number, turn.content) for turn in selectors.messages(one.session_id)] == [
        (1, "one"),
        (2, "one again"),
    ]
    assert [(turn.number, turn.content) for turn in selectors.messages(other.session_id)] == [(1, "other")]


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        ({}, list(range(1, 8))),
        ({"limit": 3}, [1, 2, 3]),
        ({"after": 3, "limit": 3}, [4, 5, 6]),
        ({"after": 6}, [7]),
        ({"after": 7}, []),
        ({"limit": 0}, []),
    ],
)
def test_a_window_of_the_conversation_can_be_read(opened: Any, window: dict[str, int], numbers: list[int]) -> None:
    """S6"""
    one = opened()
    for number in range(1, 8):
        services.add_message(one.session_id, role="user", content=f"turn {number}")

    turns = selectors.messages(one.session_id, **window)

    assert [(turn.number, turn.content) for turn in turns] == [(number, f"turn {number}") for number in numbers]


def test_by_default_fifty_turns_are_read(opened: Any) -> None:
    one = opened()
    for number in range(52):
        services.add_message(one.session_id, role="user", content=number)

    assert [turn.content for turn in selectors.messages(one.session_id)] == list(range(50))


@pytest.mark.parametrize("role", ["", "User", "the user", "r" * 17, "usér", "1st", "user\n", None, 7])
def test_a_role_is_a_short_lower_case_word(opened: Any, role: Any) -> None:
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.add_message(one.session_id, role=role, content="hello")

    assert refusal.value.path == "/role"
    assert everything_stored() == before


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (None, "/content"),
        ("a\0b", "/content"),
        ({"text": "\ud800"}, "/content/text"),
        ({"list": [1, None]}, "/content/list/1"),
        ([1.5], "/content/0"),
        (2**53, "/content"),
        (b"bytes", "/content"),
    ],
)
def test_content_that_cannot_be_held_is_refused_with_its_place(opened: Any, content: Any, path: str) -> None:
    """S6"""
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.add_message(one.session_id, role="user", content=content)

    assert refusal.value.path == path
    assert everything_stored() == before


def test_a_turn_is_kept_up_to_the_limit(opened: Any, configure: Any) -> None:
    """S7: bytes of JSON, not characters."""
    one = opened()
    content = "ü" * 20
    size = len(msgspec.json.encode({"role": "user", "content": content}))
    configure(MAX_MESSAGE_BYTES=size)
    services.add_message(one.session_id, role="user", content=content)
    before = everything_stored()

    with pytest.raises(LimitExceeded) as refusal:
        services.add_message(one.session_id, role="user", content=content + "x")

    assert (refusal.value.what, refusal.value.size, refusal.value.limit) == ("the message", size + 1, size)
    assert "AGENT_SESSIONS['MAX_MESSAGE_BYTES']" in str(refusal.value)
    assert everything_stored() == before
