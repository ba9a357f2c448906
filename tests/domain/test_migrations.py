from __future__ import annotations

import copy

import pytest

from agent_sessions.domain import migrations
from agent_sessions.domain import state as shapes
from agent_sessions.domain.migrations import MIGRATIONS, migrate
from agent_sessions.domain.state import SCHEMA_VERSION
from agent_sessions.exceptions import SchemaUnknown

OLD = {"agent": {"plan": {"step": 1}}, "shopping": {"lines": {}}}


@pytest.fixture
def schema_3(monkeypatch):
    """An installation that has moved on to schema 3."""

    def note_first(state):
        return {**state, "agent": {**state["agent"], "seen": ["first"]}}

    def note_second(state):
        state["agent"]["seen"].append("second")  # careless: changes what it was given
        state["agent"]["plan"]["step"] = 2
        return state

    monkeypatch.setattr(shapes, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(migrations, "MIGRATIONS", {1: note_first, 2: note_second})


def test_every_schema_since_the_first_has_its_step():
    assert set(MIGRATIONS) == set(range(1, SCHEMA_VERSION))


def test_a_current_state_is_handed_back_untouched():
    assert migrate(OLD, SCHEMA_VERSION) is OLD


@pytest.mark.usefixtures("schema_3")
def test_steps_run_in_order_and_from_where_the_state_is():
    assert migrate(OLD, 1)["agent"]["seen"] == ["first", "second"]
    assert migrate({"agent": {"seen": [], "plan": {}}}, 2)["agent"]["seen"] == ["second"]
    assert migrate(OLD, 3) is OLD


@pytest.mark.usefixtures("schema_3")
def test_the_stored_state_is_never_changed():
    state = copy.deepcopy(OLD)
    assert migrate(state, 1)["agent"]["plan"] == {"step": 2}
    assert state == OLD


@pytest.mark.parametrize("found", [SCHEMA_VERSION + 1, SCHEMA_VERSION + 50, 0, -1])
def test_a_schema_that_is_not_known_is_refused(found):
    with pytest.raises(SchemaUnknown) as refused:
        migrate(OLD, found, "0190")
    assert refused.value.details == {"session": "0190", "found": found, "known": SCHEMA_VERSION}


@pytest.mark.usefixtures("schema_3")
def test_a_missing_step_is_refused_before_any_runs(monkeypatch):
    def never(state):
        raise AssertionError("ran")

    monkeypatch.setattr(migrations, "MIGRATIONS", {1: never})
    with pytest.raises(SchemaUnknown):
        migrate(OLD, 1)
