"""A caller that asks for it keeps everybody else from changing a session, and waits no longer than it said (V4)."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.exceptions import InvalidValue, SessionBusy, SessionNotFound, VersionConflict
from agent_sessions.models import Session
from tests.faults.support import PATIENCE, at_once, half_done
from tests.shopping import variables
from tests.store.calling import head, state

pytestmark = pytest.mark.django_db(transaction=True)


def add_one(session_id: uuid.UUID) -> int:
    """Count up what is in the session, unprotected but for the lock."""
    with services.locked_session(session_id, timeout=30) as locked:
        count: Any = selectors.current_state(locked).state.get("agent", {}).get("count", 0)
        made = services.change_session(locked, expected_version=locked.version, patch=variables(count=count + 1))
    return made.version


def test_of_eight_who_lock_it_none_is_refused_and_none_is_lost(opened: Any) -> None:
    """V4"""
    one = opened()
    results = at_once([lambda: add_one(one.session_id)] * 8)
    assert sorted(map(int, results)) == list(range(2, 10)), results
    assert state(one)["agent"] == {"count": 8}
    assert half_done(one.session_id) == []


def test_several_changes_in_one_block_are_one(opened: Any) -> None:
    one = opened()
    with services.locked_session(one.session_id) as locked:
        services.change_session(locked, expected_version=1, patch=variables(a=1))
        services.change_session(one.session_id, expected_version=2, patch=variables(b=2))
    assert (head(one).version, state(one)["agent"]) == (3, {"a": 1, "b": 2})


def test_what_a_block_wrote_is_undone_if_it_fails(opened: Any) -> None:
    one = opened()

    def fail() -> None:
        with services.locked_session(one.session_id) as locked:
            services.change_session(locked, expected_version=1, patch=variables(a=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (head(one).version, state(one)) == (1, {})
    assert half_done(one.session_id) == []
    assert add_one(one.session_id) == 2


def while_locked(session_id: uuid.UUID, act: Any) -> Any:
    """Run ``act`` while another thread has the lock."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> str:
        with services.locked_session(session_id, timeout=30):
            taken.set()
            assert done.wait(PATIENCE)
        return "held"

    def meanwhile() -> Any:
        assert taken.wait(PATIENCE)
        try:
            return act()
        finally:
            done.set()

    held, result = at_once([hold, meanwhile])
    assert held == "held", held
    return result


def test_whoever_waits_in_vain_is_told_in_time(opened: Any) -> None:
    one = opened()

    def wait() -> float:
        began = time.monotonic()
        with pytest.raises(SessionBusy), services.locked_session(one.session_id, timeout=0.3):
            pass
        return time.monotonic() - began

    waited = while_locked(one.session_id, wait)
    assert isinstance(waited, float), waited
    assert 0.2 < waited < 5
    assert add_one(one.session_id) == 2


def test_whoever_does_not_lock_comes_before_or_after_but_not_between(opened: Any) -> None:
    """What a block has read stays true until it ends, however many write without asking for the lock."""
    one = opened()

    def write() -> int:
        for _ in range(100):
            try:
                patch = variables(other=str(uuid.uuid4()))
                return services.change_session(one.session_id, expected_version=head(one).version, patch=patch).version
            except VersionConflict:
                continue
        raise AssertionError("never got in")

    results = at_once([lambda: add_one(one.session_id), write] * 5)
    assert sorted(map(int, results)) == list(range(2, 12)), results
    assert state(one)["agent"]["count"] == 5
    assert half_done(one.session_id) == []


def test_others_sessions_are_not_locked_on_postgresql(opened: Any) -> None:
    """On SQLite there is one lock for all."""
    one, other = opened(), opened()
    result = while_locked(one.session_id, lambda: services.locked_session(other.session_id, timeout=0.3).__enter__())
    assert isinstance(result, SessionBusy if connection.vendor == "sqlite" else selectors.SessionHead), result


def timeout_in_force() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout" if connection.vendor == "sqlite" else "SHOW lock_timeout")
        return cursor.fetchone()


def test_the_hosts_own_timeout_is_left_as_it_was(opened: Any) -> None:
    one = opened()
    before = timeout_in_force()
    with services.locked_session(one.session_id, timeout=7):
        assert timeout_in_force() == before
    assert timeout_in_force() == before
    with transaction.atomic():
        with pytest.raises(SessionNotFound), services.locked_session(uuid.uuid4(), timeout=7):
            pass
        assert timeout_in_force() == before
        Session.objects.count()
    assert timeout_in_force() == before


def test_the_hosts_transaction_survives_a_wait_in_vain(opened: Any) -> None:
    one = opened()

    def wait() -> int:
        with transaction.atomic():
            before = timeout_in_force()
            with pytest.raises(SessionBusy), services.locked_session(one.session_id, timeout=0.1):
                pass
            assert timeout_in_force() == before
            return Session.objects.count()

    assert while_locked(one.session_id, wait) == 1


@pytest.mark.parametrize("timeout", [0, -1, 61, "5", None, float("nan"), float("inf")])
def test_a_wait_has_an_end(opened: Any, timeout: Any) -> None:
    with pytest.raises(InvalidValue), services.locked_session(opened().session_id, timeout=timeout):
        pass


def test_a_session_that_there_is_not_cannot_be_locked(db: None) -> None:
    with pytest.raises(SessionNotFound), services.locked_session(uuid.uuid4()):
        pass
