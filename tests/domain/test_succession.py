"""What of a state goes along into a session that goes on from another one (L2, L3, T4)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from agent_sessions.domain.state import check_whole
from agent_sessions.domain.succession import branched, carried_on, running_step
from tests.domain.strategies import states

NOW = "2026-03-02T10:00:00.000000Z"


def full() -> Any:
    """A state with some of everything that could stay behind."""
    return {
        "shopping": {"lines": {"l1": {"item": "mug", "quantity": 2, "unit_price": 1250, "currency": "EUR"}}},
        "decisions": {
            "approvals": {
                "a1": {"status": "rejected", "reason": "too dear"},
                "a2": {"status": "pending", "version": 3},
                "a3": {"status": "granted"},
                "a4": {"status": "escalated"},
                "a5": {"status": "used"},
            },
            "payments": {"p1": {"method": "card", "outcome": "declined", "code": "insufficient_funds"}},
        },
        "checkout": {"approval": "a3", "handoff": "h1", "method": "card"},
        "inventory": {
            "holds": {"x": {"item": "mug", "quantity": 2, "held_at": NOW}},
            "stock": {"mug": {"available": 3, "at": NOW}},
        },
        "recovery": {
            "steps": {"payment": {"outcome": "failed", "attempt": 2}},
            "next": "payment",
            "retry": {"rule": "card first", "step": "payment"},
            "interventions": {"a2": {"kind": "approval", "since": NOW}, "i1": {"kind": "escalation", "since": NOW}},
            "endpoints": {"pay": {"failures": 2}},
        },
        "stale": {
            "parts": {
                "item:mug": {"kind": "item", "ref": "mug", "since": NOW, "what": "price"},
                "consumer:c": {"kind": "consumer", "ref": "c", "since": NOW},
            }
        },
        "agent": {"mood": "calm"},
    }


def test_what_belongs_to_the_one_session_stays_behind() -> None:
    before = full()
    after: Any = carried_on(before)

    assert before == full(), "the state itself is left as it was"
    statuses = {key: one["status"] for key, one in after["decisions"]["approvals"].items()}
    assert statuses == {"a1": "rejected", "a2": "expired", "a3": "void", "a4": "expired", "a5": "used"}
    assert after["decisions"]["approvals"]["a1"] == {"status": "rejected", "reason": "too dear"}
    assert after["checkout"] == {"method": "card"}
    assert after["inventory"] == {"stock": {"mug": {"available": 3, "at": NOW}}}
    assert after["recovery"] == {
        **before["recovery"], "interventions": {"i1": {"kind": "escalation", "since": NOW}},
    }  # fmt: skip
    for name in ("shopping", "stale", "agent"):
        assert after[name] == before[name]
    assert after["decisions"]["payments"] == before["decisions"]["payments"]
    check_whole(after)


def test_a_branch_begins_none_of_the_parents_steps() -> None:
    after: Any = branched(full(), full())
    assert after["recovery"] == {"endpoints": {"pay": {"failures": 2}}}
    assert after["decisions"]["payments"].keys() == {"p1"}, "what was tried is still known"
    check_whole(after)


def test_a_branch_of_an_older_version_knows_what_has_become_stale_since() -> None:
    """X2"""
    old, now = full(), full()
    old["stale"] = {"parts": {"item:plate": {"kind": "item", "ref": "plate", "since": NOW}}}
    after: Any = branched(old, now)
    assert after["stale"]["parts"].keys() == {"item:plate", "item:mug", "consumer:c"}


@pytest.mark.parametrize("state", [{}, {"agent": {}}, {"checkout": {}}, {"inventory": {"holds": {}}}])
def test_of_nothing_nothing_stays_behind(state: Any) -> None:
    assert {name: slice_ for name, slice_ in carried_on(state).items() if slice_} == {}


@pytest.mark.parametrize(
    ("steps", "running"),
    [
        ({}, ""),
        ({"payment": {"outcome": "failed"}, "pick": {"outcome": "done"}}, ""),
        ({"payment": {"outcome": "started"}, "pick": {"outcome": "done"}}, "payment"),
    ],
)
def test_a_step_without_an_outcome_is_found(steps: Any, running: str) -> None:
    assert running_step({"recovery": {"steps": steps}}) == running


@given(states())
def test_whatever_a_session_holds_its_successor_can_hold(state: Any) -> None:
    before = copy.deepcopy(state)
    for after in (carried_on(state), branched(state, state)):
        check_whole(after)
        assert carried_on(after).keys() <= state.keys()
    assert carried_on(carried_on(state)) == carried_on(state)
    assert state == before
