"""Where a session stands, its versions, its states and what changed between, over HTTP (V2, L2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from tests.api.conftest import DEAD, AgentClient
from tests.conftest import MORNING

pytestmark = pytest.mark.django_db


@pytest.fixture
def shopped(clock: Any, shopper: AgentClient) -> AgentClient:
    """Version 1 at 10:00, a mug at 10:05, two of them at 10:10; it is 10:15."""
    shopper.open()
    for minutes, method, body in ((5, "POST", {"item_id": "mug"}), (10, "PATCH", {"item_id": "mug", "quantity": 2})):
        clock.move_to(MORNING + timedelta(minutes=minutes))
        shopper.send(method, "/cart", body)
    clock.move_to(MORNING + timedelta(minutes=15))
    return shopper


def test_a_session_says_where_it_stands(shopped: AgentClient) -> None:
    answer = shopped.send("GET", "/session")
    told = answer.json()["data"]

    assert answer.headers["ETag"] == '"v3"'
    assert (told["status"], told["version"], told["held_by"], told["kind"]) == ("active", 3, "agent", "standard")
    assert (told["seconds_left"], told["expires_at"]) == (15 * 60, "2026-03-02T10:30:00.000000Z")
    assert told["cart"]["items"][0]["quantity"] == 2
    assert {"checkout", "session.renew", "session.pause"} <= set(told["may"])
    assert not told.keys() & {"warning", "approval", "stale", "holds", "steps", "paused_at"}, "what says nothing"


def test_near_its_deadline_it_warns(shopped: AgentClient, clock: Any) -> None:
    """L2: the last tenth of its life, two minutes at least"""
    clock.move_to(MORNING + timedelta(minutes=26, seconds=59))
    assert "warning" not in shopped.data("GET", "/session")

    clock.move_to(MORNING + timedelta(minutes=27))
    assert shopped.data("GET", "/session")["warning"] == "The session ends in 180 seconds. Renew it to go on."

    clock.move_to(MORNING + timedelta(minutes=30))
    assert shopped.refused(401, "GET", "/session")["error"] == DEAD


def test_its_versions_are_listed_with_who_and_why(shopped: AgentClient) -> None:
    listed = shopped.data("GET", "/session/versions")

    assert [(one["number"], one["kind"], one["actor"]) for one in listed] == [
        (1, "session.created", "agent"),
        (2, "cart.item_added", "agent"),
        (3, "cart.item_updated", "agent"),
    ]
    assert [one["committed"] for one in listed] == [False, False, False]
    assert shopped.data("GET", "/session/versions?after=1&limit=1") == listed[1:2]


def test_any_state_of_the_past_can_be_read(shopped: AgentClient) -> None:
    """V2: at a version, at a time, five minutes ago"""

    def quantities(query: str) -> list[int]:
        state = shopped.data("GET", f"/session/state{query}")["state"]
        return [line["quantity"] for line in state.get("shopping", {}).get("lines", {}).values()]

    assert quantities("") == [2]
    assert quantities("?version=1") == []
    assert quantities("?version=2") == [1]
    assert quantities("?at=2026-03-02T10:09:59Z") == [1]
    assert quantities("?at=2026-03-02T11:09:59%2B01:00") == [1]
    assert quantities("?at=2026-03-02T11:09:59+01:00") == [1], "a plus that nobody encoded"
    assert quantities("?seconds_ago=300") == [2]
    assert quantities("?seconds_ago=301") == [1]


def test_differences_are_told_in_the_words_of_a_shop(shopped: AgentClient) -> None:
    told = shopped.data("GET", "/session/differences?from=2")

    changed = next(one for one in told if one["kind"] == "line.quantity_changed")
    assert (changed["before"], changed["after"], changed["path"]) == (1, 2, "/shopping/lines/mug/quantity")
    assert changed["text"].endswith("quantity 1 → 2")
    assert shopped.data("GET", "/session/differences?from=3&to=3") == []
    back = shopped.data("GET", "/session/differences?from=2&to=1")
    assert "line.removed" in [one["kind"] for one in back]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/session/state?version=4", 404, "version_not_found"),
        ("/session/state?at=2026-03-02T09:59:59Z", 404, "version_not_found"),
        ("/session/state?at=yesterday", 400, "invalid_parameter"),
        ("/session/state?at=2026-03-02T10:00:00", 400, "invalid_parameter"),
        ("/session/state?at=2026-13-02T10:00:00Z", 400, "invalid_parameter"),
        ("/session/state?version=1&seconds_ago=5", 400, "invalid_parameter"),
        ("/session/state?version=-1", 400, "invalid_parameter"),
        ("/session/state?version=%D9%A1", 400, "invalid_parameter"),
        ("/session/state?seconds_ago=99999999999999999999", 400, "invalid_parameter"),
        ("/session/differences", 400, "invalid_parameter"),
        ("/session/differences?from=1&to=9", 404, "version_not_found"),
        ("/session/versions?limit=0", 400, "invalid_parameter"),
        ("/session/versions?limit=501", 400, "invalid_parameter"),
    ],
)
def test_what_there_is_not_is_refused(shopped: AgentClient, path: str, status: int, code: str) -> None:
    assert shopped.refused(status, "GET", path)["code"] == code


def test_a_session_shows_nothing_of_another(shopped: AgentClient, make_agent: Any) -> None:
    other = make_agent()
    other.open()

    assert [one["number"] for one in other.data("GET", "/session/versions")] == [1]
    assert other.data("GET", "/session/state")["state"] == {}
    other.token = ""
    assert other.refused(401, "GET", "/session/versions")["error"] == DEAD


def test_what_a_person_or_job_did_is_told_too(shopped: AgentClient) -> None:
    head = selectors.session_of_token(shopped.token)
    services.change_session(
        head, expected_version=3, patch={"agent": {"seen": True}}, kind="shop.noted", actor=SYSTEM, note="secret words"
    )

    assert shopped.data("GET", "/session/versions?after=3")[0]["actor"] == "system"
    assert b"secret words" not in shopped.send("GET", "/session/versions").content


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
def test_times_beyond_the_calendar_are_refused(shopped: AgentClient, moment: str) -> None:
    assert shopped.refused(400, "GET", f"/session/state?at={moment}")["code"] == "invalid_parameter"


def test_what_may_be_done_is_what_is_not_refused(shopped: AgentClient) -> None:
    """L3, L4: who is held or paused by a person is not told that it may go on by itself."""
    head = selectors.session_of_token(shopped.token)
    staff = Actor("staff", "7")

    services.pause_session(head, actor=staff)
    assert shopped.data("GET", "/session")["may"] == ["session.end"]
    services.resume_session(head.session_id, actor=staff)
    services.hand_over(head.session_id, to=staff, actor=staff)
    assert shopped.data("GET", "/session")["may"] == []
    services.pause_session(head.session_id, actor=staff)
    assert shopped.data("GET", "/session")["may"] == []
    assert shopped.refused(409, "DELETE", "/session")["code"] == "session_held"
