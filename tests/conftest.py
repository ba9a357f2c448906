"""Fixtures that every part of the tests shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine as clocks
from django.test import TransactionTestCase
from django.utils import translation

from agent_sessions import selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.crypto.keys import KeyProvider
from agent_sessions.domain.identity import Agent
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.selectors import _cache
from agent_sessions.services import OpenedSession
from tests.crypto.softhsm import softhsm  # noqa: F401 - a fixture
from tests.emptying import empty_tables
from tests.tampering import Tamper, lived

SHOPPING_AGENT = Agent(name="Shopping helper", version="2.1", operator="Acme Assistants", key="ed25519:k1")
MORNING = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""When the tests with a stopped clock begin: a whole second, which every clock and database keeps exactly."""


@pytest.fixture(scope="session", autouse=True)
def tables_emptied_quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture(autouse=True)
def fresh_state_cache() -> Iterator[None]:
    """Each test starts like a new process: with no state kept from another."""
    _cache.local.clear()
    yield
    _cache.local.clear()


@pytest.fixture(autouse=True)
def no_language_left_over() -> Iterator[None]:
    """A request that was answered in a language leaves its thread in it."""
    yield
    translation.deactivate()


@pytest.fixture
def provider() -> KeyProvider:
    """The site's master keys."""
    return package_settings.key_provider


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Change single settings of the package until the end of the test: ``configure(SNAPSHOT_EVERY=3)``."""

    def change(**changes: object) -> None:
        settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, **changes}

    return change


@pytest.fixture
def opened() -> Callable[..., OpenedSession]:
    """Open a session of the test agent; takes what ``open_session`` takes."""

    def open_one(**facts: Any) -> OpenedSession:
        return services.open_session(**{"agent": SHOPPING_AGENT, **facts})

    return open_one


@pytest.fixture
def clock() -> Iterator[clocks.Traveller]:
    """A clock that stands still at MORNING until the test moves it."""
    with clocks.travel(MORNING, tick=False) as traveller:
        yield traveller


@pytest.fixture
def live(opened: Callable[..., OpenedSession], configure: Callable[..., None]) -> OpenedSession:
    """A session with some of everything (see ``lived``), with a snapshot at version 3."""
    configure(SNAPSHOT_EVERY=3)
    return lived(opened)


@pytest.fixture
def ended(live: OpenedSession) -> OpenedSession:
    """The same, checked out: version 5 and event 8 are its end."""
    services.end_session(live.session_id, reason=EndReason.COMPLETED)
    return live


@pytest.fixture
def quarantined(live: OpenedSession) -> OpenedSession:
    """The same as ``live``, closed because something small is wrong: all its content could be read."""
    Tamper(live.session_id).session(merchant="elsewhere")
    assert services.quarantine_damaged(selectors.verify_session(live.session_id))
    return live
