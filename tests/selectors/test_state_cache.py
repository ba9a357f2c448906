"""A cached state is never stale, never in the clear, and never needed (M1, M2, R4)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.selectors import _cache
from agent_sessions.selectors._cache import LocalStates
from agent_sessions.selectors._keys import PATCH, SNAPSHOT
from agent_sessions.selectors._states import open_document
from tests.shopping import basket, line, variables
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
MARKER = "marker-in-the-cache-" + "x" * 24


class BrokenCache(BaseCache):
    """A cache whose server is down."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("the cache is down")

    set = delete = get


@pytest.fixture
def shared(settings: Any, configure: Callable[..., None]) -> Callable[..., BaseCache]:
    """Share states through a Django cache, which is returned."""

    def share(backend: str = LOCMEM) -> BaseCache:
        settings.CACHES = {"default": {"BACKEND": LOCMEM}, "states": {"BACKEND": backend, "LOCATION": uuid.uuid4().hex}}
        configure(STATE_CACHE="states")
        cache: BaseCache = caches["states"]
        return cache

    return share


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What happens in here happens in a process that shares the database and the shared cache, and nothing else."""
    with monkeypatch.context() as patched:
        patched.setattr(_cache, "local", LocalStates())
        yield


def cache_key(session_id: uuid.UUID) -> str:
    return f"agent_sessions:{selectors.read_head(session_id).version_uid.hex}"


def test_a_change_in_another_process_is_seen_at_once(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """M1: never stale."""
    one = opened(state=variables(a=1))
    assert selectors.current_state(one.session_id).state == variables(a=1)

    with another_process(monkeypatch):
        services.change_session(one.session_id, expected_version=1, patch=variables(a=2))

    assert selectors.current_state(one.session_id).state == variables(a=2)
    services.change_session(one.session_id, expected_version=2, patch=variables(b=3))
    assert selectors.current_state(one.session_id).state == variables(a=2, b=3)


def test_a_version_that_was_rolled_back_is_not_taken_for_the_one_that_came_instead(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M1: the same number, another version."""
    one = opened(state=variables(a=1))
    with transaction.atomic():
        services.change_session(one.session_id, expected_version=1, patch=variables(a="never happened"))
        transaction.set_rollback(True)
    with another_process(monkeypatch):
        services.change_session(one.session_id, expected_version=1, patch=variables(a=2))

    assert selectors.current_state(one.session_id).state == variables(a=2)
    services.change_session(one.session_id, expected_version=2, patch=variables(b=3))
    assert selectors.current_state(one.session_id).state == variables(a=2, b=3)
    assert selectors.verify_session(one.session_id).ok


def test_a_change_is_not_checked_against_a_version_that_was_rolled_back(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M1, V3: what was never committed refuses nobody."""
    one = opened(state=basket(a=line()))
    with transaction.atomic():
        services.change_session(one.session_id, expected_version=1, patch=basket(a=None))
        transaction.set_rollback(True)
    with another_process(monkeypatch):
        services.change_session(one.session_id, expected_version=1, patch=variables(a=2))

    services.change_session(one.session_id, expected_version=2, patch=basket(a={"quantity": 2}))

    assert selectors.current_state(one.session_id).state == {**basket(a=line(quantity=2)), **variables(a=2)}


def test_without_the_cache_no_state_is_kept(opened: Any, configure: Any) -> None:
    """M2"""
    configure(STORAGE="history")
    one = opened(state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(b=2))

    assert selectors.current_state(one.session_id).state == variables(a=1, b=2)
    assert _cache.local.get(one.session_id) is None


def test_the_setting_can_be_changed_at_any_time(opened: Any, configure: Any) -> None:
    """M1, M2: nothing that is stored depends on it."""
    one = opened()
    for version, storage in enumerate(("hybrid", "history", "hybrid", "history", "hybrid"), start=1):
        configure(STORAGE=storage)
        services.change_session(one.session_id, expected_version=version, patch=variables(**{storage: version}))

    assert selectors.current_state(one.session_id).state == variables(hybrid=5, history=4)
    assert selectors.verify_session(one.session_id).ok


def test_what_a_process_keeps_is_bounded(opened: Any, configure: Any) -> None:
    """M1: the least recently used go first, and nothing is lost by it."""
    configure(STATE_CACHE_BYTES=12_000)
    sessions = [opened(state=variables(text=letter * 3000)) for letter in "abcd"]
    selectors.current_state(sessions[2].session_id)

    kept = [_cache.local.get(one.session_id) is not None for one in sessions]
    assert kept == [False, False, True, True]
    texts = [selectors.current_state(one.session_id).state["agent"]["text"] for one in sessions]
    assert texts == [letter * 3000 for letter in "abcd"]


def test_a_state_too_large_to_keep_is_not_kept(opened: Any, configure: Any) -> None:
    configure(STATE_CACHE_BYTES=4000)
    one = opened(state=variables(text="a" * 5000))

    assert _cache.local.get(one.session_id) is None
    services.change_session(one.session_id, expected_version=1, patch=variables(b=1))
    assert selectors.current_state(one.session_id).state == variables(text="a" * 5000, b=1)


# Going on from a state that other processes have left behind


@pytest.fixture
def patches_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the versions whose patches are opened from here on."""
    numbers: list[int] = []

    def opened(keys: Any, session_id: uuid.UUID, what: str, number: int, sealed: Any) -> Any:
        if what in (PATCH, SNAPSHOT):
            numbers.append(number)
        return open_document(keys, session_id, what, number, sealed)

    monkeypatch.setattr("agent_sessions.selectors._states.open_document", opened)
    return numbers


def change(session_id: uuid.UUID, *versions: int) -> None:
    for version in versions:
        services.change_session(session_id, expected_version=version, patch=variables(**{f"v{version}": version}))


def test_a_process_reads_only_what_others_have_changed_since(
    opened: Any, monkeypatch: pytest.MonkeyPatch, patches_read: list[int], django_assert_num_queries: Any
) -> None:
    """M1: workers that take turns at a session. On PostgreSQL the changes come with where the session stands."""
    one = opened()
    change(one.session_id, *range(1, 10))
    with another_process(monkeypatch):
        change(one.session_id, 10, 11)
    patches_read.clear()

    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 2):
        state = selectors.current_state(one.session_id).state

    assert state == variables(**{f"v{version}": version for version in range(1, 12)})
    assert patches_read == [11, 12]
    change(one.session_id, 12)
    assert selectors.verify_session(one.session_id).ok


def test_nothing_goes_on_from_a_version_that_was_rolled_back(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """M1: the same number, and others have gone on from another version of it."""
    one = opened(state=variables(a=1))
    with transaction.atomic():
        services.change_session(one.session_id, expected_version=1, patch=variables(never="happened"))
        transaction.set_rollback(True)
    with another_process(monkeypatch):
        change(one.session_id, 1, 2, 3)

    assert selectors.current_state(one.session_id).state == variables(a=1, v1=1, v2=2, v3=3)
    change(one.session_id, 4)
    assert selectors.verify_session(one.session_id).ok


def test_behind_a_snapshot_the_snapshot_is_read(
    opened: Any, configure: Any, monkeypatch: pytest.MonkeyPatch, patches_read: list[int]
) -> None:
    configure(SNAPSHOT_EVERY=3)
    one = opened()
    change(one.session_id, 1)
    with another_process(monkeypatch):
        change(one.session_id, *range(2, 9))
    snapshot = selectors.read_head(one.session_id).snapshot_version
    assert snapshot > 2
    patches_read.clear()

    assert selectors.current_state(one.session_id).state == variables(**{f"v{n}": n for n in range(1, 9)})
    assert min(patches_read) == snapshot


def test_a_version_that_is_missing_is_named_all_the_same(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R5"""
    one = opened()
    with another_process(monkeypatch):
        change(one.session_id, 1, 2, 3)
    tamper = Tamper(one.session_id)
    tamper.delete(tamper.versions.filter(number=3))

    with pytest.raises(SessionDamaged, match="version 3 is missing"):
        selectors.current_state(one.session_id)


def test_a_changed_event_before_it_makes_history_answer(
    opened: Any, monkeypatch: pytest.MonkeyPatch, patches_read: list[int]
) -> None:
    """R5: what cannot be told to be this history is not gone on from."""
    one = opened(state=variables(a=1))
    with another_process(monkeypatch):
        change(one.session_id, 1)
    tamper = Tamper(one.session_id)
    tamper.event(1, canonical=b"{}")
    patches_read.clear()

    assert selectors.current_state(one.session_id).state == variables(a=1, v1=1)
    assert patches_read == [1, 2]


# Shared through a Django cache


def test_a_shared_state_saves_other_processes_the_replay(
    opened: Any, shared: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    """M1"""
    shared()
    one = opened(state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(b=MARKER))

    with another_process(monkeypatch), django_assert_num_queries(1):
        assert selectors.current_state(one.session_id).state == variables(a=1, b=MARKER)


def test_a_shared_state_is_sealed(opened: Any, shared: Any) -> None:
    """A7: erasing the key erases it too."""
    cache = shared()
    one = opened(state=variables(a=MARKER))

    kept = cache.get(cache_key(one.session_id))

    assert isinstance(kept, bytes)
    assert MARKER.encode() not in kept


def test_with_a_shared_cache_all_is_the_same(opened: Any, shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """M1: two processes take turns."""
    shared()
    one = opened()
    for version in range(1, 6):
        with another_process(monkeypatch):
            services.change_session(
                one.session_id, expected_version=version, patch=variables(**{f"v{version}": version})
            )

    expected = variables(**{f"v{version}": version for version in range(1, 6)})
    assert selectors.current_state(one.session_id).state == expected
    assert selectors.verify_session(one.session_id).ok


def test_another_sessions_shared_state_is_not_believed(
    opened: Any, shared: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """R4: it opens only where it belongs; history answers instead."""
    cache = shared()
    one, other = opened(state=variables(a="one")), opened(state=variables(a="other"))
    cache.set(cache_key(one.session_id), cache.get(cache_key(other.session_id)))
    _cache.local.clear()

    assert selectors.current_state(one.session_id).state == variables(a="one")
    assert "was altered" in caplog.text
    assert str(one.session_id) in caplog.text


@pytest.mark.parametrize("value", [b"", b"\x01short", b"\x00" * 100, "text", 7, {"agent": {}}])
def test_rubbish_in_the_shared_cache_is_not_believed(opened: Any, shared: Any, value: Any) -> None:
    """R4"""
    cache = shared()
    one = opened(state=variables(a=1))
    cache.set(cache_key(one.session_id), value)
    _cache.local.clear()

    assert selectors.current_state(one.session_id).state == variables(a=1)
    services.change_session(one.session_id, expected_version=1, patch=variables(b=2))
    assert selectors.current_state(one.session_id).state == variables(a=1, b=2)


@pytest.mark.parametrize("backend", [f"{__name__}.BrokenCache", "no.such.Cache"])
def test_when_the_shared_cache_is_down_history_answers(
    opened: Any, settings: Any, configure: Any, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    """M1: a cache is never needed."""
    settings.CACHES = {"default": {"BACKEND": LOCMEM}, "states": {"BACKEND": backend}}
    configure(STATE_CACHE="states")

    one = opened(state=variables(a=1))
    _cache.local.clear()
    services.change_session(one.session_id, expected_version=1, patch=variables(b=2))
    _cache.local.clear()

    assert selectors.current_state(one.session_id).state == variables(a=1, b=2)
    assert selectors.verify_session(one.session_id).ok
    assert "The state cache 'states' does not answer" in caplog.text
