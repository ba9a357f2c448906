"""What an agent writes into a session itself: with a version, without, merged, in a scope of its own (S6, V5, C4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import MergeConflict, VersionConflict
from tests.api.conftest import AgentClient

pytestmark = pytest.mark.django_db
STATE = "/session/state"


def write(agent: AgentClient, patch: Any, query: str = "", *, based_on: int | None = None, status: int = 200) -> Any:
    headers = {} if based_on is None else {"If-Match": f'"v{based_on}"'}
    answer = agent.send("PATCH", STATE + query, patch, headers=headers)
    assert answer.status_code == status, answer.content
    return answer.json().get("data") or answer.json()


def state_of(agent: AgentClient) -> Any:
    return agent.data("GET", STATE)["state"]


def test_it_writes_what_is_its_own(shopper: AgentClient) -> None:
    patch = {
        "agent": {"budget": 5000},
        "conversation": {"summary": "Looks for a teapot", "questions": {"q1": "Which colour?"}},
        "customer": {"preferences": {"colour": "green"}},
        "decisions": {"recommendations": {"r1": {"item": "mug", "reason": "Fits the pot", "confidence": 80}}},
    }

    told = write(shopper, patch)

    assert told == {"version": 2, "merged": False}
    assert state_of(shopper) == patch
    assert shopper.data("GET", "/session/versions")[1]["kind"] == "variables.written"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"shopping": {"lines": {"l1": None}}}, "shopping"),
        ({"decisions": None}, "decisions"),
        ({"decisions": {"payments": {"p1": None}}}, "decisions/payments"),
        ({"checkout": {"approval": "mine"}}, "checkout"),
        ({"agent": None}, "agent"),
        ({"agent": {"local": {"Another agent": {"x": 1}}}}, "agent/local"),
        ({"agent": {"local": None}}, "agent/local"),
        ({"customer": {"shoe": 42}}, "customer/shoe"),
        ({"agent": {"share": 0.5}}, "agent/share"),
    ],
)
def test_it_writes_nothing_else(shopper: AgentClient, patch: Any, path: str) -> None:
    refusal = shopper.refused(400, "PATCH", STATE, patch)

    assert refusal["details"]["parameter"] == path
    assert shopper.data("GET", "/session")["version"] == 1


def test_a_stale_write_is_refused_with_what_has_changed(shopper: AgentClient) -> None:
    """V3"""
    write(shopper, {"agent": {"colour": "green"}}, based_on=1)

    refusal = write(shopper, {"agent": {"colour": "blue"}}, based_on=1, status=412)

    assert (refusal["code"], refusal["details"]["current"]) == ("version_conflict", 2)
    assert state_of(shopper)["agent"] == {"colour": "green"}


def test_what_does_not_meet_is_merged_for_who_asks(shopper: AgentClient) -> None:
    """V5"""
    write(shopper, {"customer": {"addresses": {"a1": {"label": "Home"}}}}, based_on=1)

    told = write(shopper, {"agent": {"colour": "blue"}}, "?on_conflict=merge", based_on=1)

    assert told == {"version": 3, "merged": True}
    assert state_of(shopper) == {"customer": {"addresses": {"a1": {"label": "Home"}}}, "agent": {"colour": "blue"}}
    assert write(shopper, {"agent": {"size": 3}}, "?on_conflict=merge", based_on=3)["merged"] is False


def test_what_meets_is_a_conflict_that_names_the_place(shopper: AgentClient) -> None:
    write(shopper, {"customer": {"addresses": {"a1": {"label": "Home"}}}}, based_on=1)

    refusal = write(
        shopper,
        {"customer": {"addresses": {"a1": {"label": "My secret den"}}}},
        "?on_conflict=merge",
        based_on=1,
        status=412,
    )

    assert refusal["code"] == "merge_conflict"
    assert refusal["details"]["paths"] == ["/customer/addresses/a1"]
    assert "secret" not in str(refusal)
    assert state_of(shopper)["customer"]["addresses"]["a1"]["label"] == "Home"


def test_without_a_version_it_goes_on_top_of_whatever_there_is(shopper: AgentClient, monkeypatch: Any) -> None:
    """Another writer comes between reading and writing: the agent is not refused for it."""
    head = selectors.session_of_token(shopper.token)
    overtaken: list[int] = []
    change = services.variables.change_session

    def late(session: Any, **facts: Any) -> Any:
        if not overtaken:
            overtaken.append(1)
            change(head, expected_version=1, patch={"agent": {"first": 1}})
        return change(session, **facts)

    monkeypatch.setattr(services.variables, "change_session", late)

    told = services.write_variables(head, patch={"agent": {"second": 2}})

    assert told.version == 3
    assert state_of(shopper)["agent"] == {"first": 1, "second": 2}


def test_merging_from_python_raises_what_a_stale_write_raises(shopper: AgentClient) -> None:
    head = selectors.session_of_token(shopper.token)
    services.write_variables(head, patch={"customer": {"addresses": {"a": {"label": "1"}}}}, expected_version=1)
    patch = {"customer": {"addresses": {"a": {"label": "2"}}}}

    with pytest.raises(VersionConflict):
        services.write_variables(head.session_id, patch=patch, expected_version=1)
    with pytest.raises(MergeConflict, match="1 place") as conflict:
        services.write_variables(head.session_id, patch=patch, expected_version=1, merging=True)
    assert (conflict.value.expected, conflict.value.current) == (1, 2)


def test_an_agent_keeps_a_scope_of_its_own(shopper: AgentClient) -> None:
    """C4: other agents neither see nor write it."""
    write(shopper, {"plan": "compare three pots"}, "?scope=local")
    write(shopper, {"agent": {"shared": "yes"}})

    assert state_of(shopper)["agent"] == {"shared": "yes", "local": {"Shopping helper": {"plan": "compare three pots"}}}

    everything = selectors.current_state(selectors.session_of_token(shopper.token))
    assert everything.seen_by("Another agent")["agent"] == {"shared": "yes"}
    assert everything.seen_by("Shopping helper") == everything.state
    with_another = services.open_session(agent=Agent("Another agent"), state=everything.state)
    shopper.token = with_another.token
    assert state_of(shopper)["agent"] == {"shared": "yes"}


def test_unknown_choices_are_refused(shopper: AgentClient) -> None:
    assert shopper.refused(400, "PATCH", STATE + "?scope=mine", {"agent": {}})["details"]["parameter"] == "scope"
    assert shopper.refused(400, "PATCH", STATE + "?on_conflict=win", {"agent": {}})["code"] == "invalid_parameter"
