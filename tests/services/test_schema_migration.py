"""An older state is migrated on read and recorded with the next change; a newer one is refused, never misread (R6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain import migrations
from agent_sessions.domain import state as shapes
from agent_sessions.exceptions import InvalidValue, SchemaUnknown, VersionConflict
from agent_sessions.models import Session, SessionVersion
from agent_sessions.selectors import _cache
from agent_sessions.types import State
from tests.shopping import variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def rename(state: State) -> State:
    """The step of the tests: what schema 1 calls "mood", schema 2 calls "temper"."""
    agent: Any = state.get("agent", {})
    if "mood" in agent:
        agent["temper"] = agent.pop("mood")
    return state


STEPS = {1: rename}


@contextmanager
def schema_two(monkeypatch: pytest.MonkeyPatch, steps: dict[int, Any] = STEPS) -> Iterator[None]:
    """An installation of the next release, in a process of its own."""
    with monkeypatch.context() as patched:
        patched.setattr(shapes, "SCHEMA_VERSION", 2)
        patched.setattr("agent_sessions.services._opening.SCHEMA_VERSION", 2)
        patched.setattr(migrations, "MIGRATIONS", steps)
        _cache.local.clear()
        yield
    _cache.local.clear()


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with schema_two(monkeypatch):
        yield


@pytest.fixture
def old(opened: Any) -> Any:
    """A session of two versions that the release before wrote; comes before ``upgraded``."""
    one = opened(state=variables(mood="calm"))
    services.change_session(one.session_id, expected_version=1, patch=variables(budget=50))
    return one


def test_an_older_state_is_migrated_on_read_and_not_in_the_database(old: Any, upgraded: None) -> None:
    before = everything_stored()

    for view in (
        selectors.current_state(old.session_id),
        selectors.state_at_version(old.session_id, 2),
        selectors.state_at_version(selectors.read_head(old.session_id), 2),
    ):
        assert view.state == variables(temper="calm", budget=50)
        assert (view.version, view.schema) == (2, 1)

    assert selectors.state_at_version(old.session_id, 1).state == variables(temper="calm")
    assert everything_stored() == before


def test_the_first_change_records_the_migration_and_then_itself(old: Any, upgraded: None) -> None:
    made = services.change_session(old.session_id, expected_version=2, patch=variables(temper="keen"))

    assert (made.version, made.seq) == (4, 4)
    versions = selectors.versions(old.session_id)
    assert [(version.kind, version.actor) for version in versions[2:]] == [
        ("state.migrated", "system"),
        ("state.changed", "agent"),
    ]
    assert list(SessionVersion.objects.order_by("number").values_list("schema", flat=True)) == [1, 1, 2, 2]
    view = selectors.current_state(old.session_id)
    assert (view.state, view.schema) == (variables(temper="keen", budget=50), 2)
    assert selectors.verify_session(old.session_id).ok


def test_every_version_reads_in_todays_schema_afterwards(old: Any, upgraded: None) -> None:
    """V2, R6"""
    services.change_session(old.session_id, expected_version=2, patch=variables(temper="keen"))
    _cache.local.clear()

    views = [selectors.state_at_version(old.session_id, number) for number in range(1, 5)]

    assert [view.schema for view in views] == [1, 1, 2, 2]
    assert [view.state for view in views] == [
        variables(temper="calm"),
        variables(temper="calm", budget=50),
        variables(temper="calm", budget=50),
        variables(temper="keen", budget=50),
    ]
    assert [change.text for change in selectors.compare(old.session_id, 1, 3)] == ["Variable budget set to 50"]


def test_a_second_change_migrates_nothing_more(old: Any, upgraded: None) -> None:
    services.change_session(old.session_id, expected_version=2, patch=variables(a=1))

    made = services.change_session(old.session_id, expected_version=4, patch=variables(a=2))

    assert made.version == 5
    kinds = [version.kind for version in selectors.versions(old.session_id)]
    assert kinds.count("state.migrated") == 1


def test_replay_needs_no_old_code(old: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R6: what the migration did stands in the history."""
    with schema_two(monkeypatch):
        services.change_session(old.session_id, expected_version=2, patch=variables(a=1))

    with schema_two(monkeypatch, steps={}):
        assert selectors.current_state(old.session_id).state == variables(temper="calm", budget=50, a=1)
        assert selectors.verify_session(old.session_id).ok


@pytest.mark.parametrize("storage", ["hybrid", "history"])
def test_a_migration_that_changes_nothing_is_recorded_all_the_same(
    opened: Any, monkeypatch: pytest.MonkeyPatch, configure: Any, storage: str
) -> None:
    configure(STORAGE=storage, SNAPSHOT_EVERY=2)
    one = opened(state=variables(budget=50))
    with schema_two(monkeypatch):
        made = services.change_session(one.session_id, expected_version=1, patch=variables(budget=60))

        assert made.version == 3
        assert selectors.current_state(one.session_id).state == variables(budget=60)
        assert selectors.verify_session(one.session_id).ok


def test_a_stale_change_is_refused_before_anything_is_migrated(old: Any, upgraded: None) -> None:
    """V3"""
    before = everything_stored()

    with pytest.raises(VersionConflict) as refusal:
        services.change_session(old.session_id, expected_version=1, patch=variables(a=1))

    assert refusal.value.current == 2
    assert everything_stored() == before


def test_a_change_that_cannot_be_held_migrates_nothing(old: Any, upgraded: None) -> None:
    """V3: the caller who is refused finds the session as it was, and can send the right change with its version."""
    before = everything_stored()

    with pytest.raises(InvalidValue):
        services.change_session(
            old.session_id, expected_version=2, patch={"shopping": {"lines": {"a": {"item": "half a line"}}}}
        )

    assert everything_stored() == before


def test_events_messages_and_the_end_need_no_migration(old: Any, upgraded: None) -> None:
    """L6"""
    services.record_event(old.session_id, kind="cart.viewed")
    services.add_message(old.session_id, role="user", content="hello")
    services.end_session(old.session_id)

    assert [version.kind for version in selectors.versions(old.session_id)] == [
        "session.created",
        "state.changed",
        "session.ended",
    ]
    assert selectors.read_head(old.session_id).schema == 1
    assert selectors.current_state(old.session_id).state == variables(temper="calm", budget=50)
    assert selectors.verify_session(old.session_id).ok
    assert services.get_artifact(old.session_id)


def test_new_sessions_begin_in_todays_schema(opened: Any, upgraded: None) -> None:
    one = opened(state=variables(temper="calm"))

    assert selectors.current_state(one.session_id).schema == 2
    assert services.change_session(one.session_id, expected_version=1, patch=variables(a=1)).version == 2


def test_a_newer_state_is_refused_and_nothing_is_written(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R6: a machine that was not upgraded yet."""
    with schema_two(monkeypatch):
        one = opened(state=variables(temper="calm"))
        services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    before = everything_stored()

    for attempt in (
        lambda: selectors.current_state(one.session_id),
        lambda: selectors.state_at_version(one.session_id, 1),
        lambda: selectors.compare(one.session_id, 1, 2),
        lambda: services.change_session(one.session_id, expected_version=2, patch=variables(a=2)),
    ):
        with pytest.raises(SchemaUnknown, match="Upgrade agent_sessions") as refusal:
            attempt()
        assert (refusal.value.details["found"], refusal.value.details["known"]) == (2, 1)

    assert everything_stored() == before


def test_a_machine_that_was_not_upgraded_can_end_a_newer_session(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """L6: deadlines do not wait for a deployment."""
    with schema_two(monkeypatch):
        one = opened(state=variables(temper="calm"))

    services.end_session(one.session_id)

    assert selectors.verify_session(one.session_id).ok
    assert Session.objects.get().schema == 2


def test_without_the_step_an_older_state_is_refused(old: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R6: not guessed."""
    before = everything_stored()

    with schema_two(monkeypatch, steps={}):
        with pytest.raises(SchemaUnknown):
            selectors.current_state(old.session_id)
        with pytest.raises(SchemaUnknown):
            services.change_session(old.session_id, expected_version=2, patch=variables(a=1))

    assert everything_stored() == before


def test_a_change_that_also_changes_the_sessions_row_does_so_after_the_migration(
    opened: Any, monkeypatch: pytest.MonkeyPatch, configure: Any
) -> None:
    """V6: a step that was begun before the upgrade commits the cart when it is done after it."""
    configure(STEPS="tests.services.working.RULES")
    session_id = opened(state=variables(mood="calm")).session_id
    services.start_step(session_id, "payment")
    with schema_two(monkeypatch):
        made = services.finish_step(session_id, "payment", outcome="done")

        assert made is not None
        assert made.version == 4
        head = selectors.read_head(session_id)
        assert (head.version, head.committed_version, head.schema) == (4, 4, 2)
        assert list(selectors.verify_session(session_id).problems) == []
