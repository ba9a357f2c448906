"""Times in a history never run backwards, whatever the clocks of its writers do (S4, V2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.models import AuditEvent, Message
from agent_sessions.selectors import _cache
from tests.conftest import MORNING
from tests.shopping import variables

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def event_times(session_id: Any) -> list[str]:
    return [event["timestamp"] for event in selectors.events(session_id)]


@pytest.mark.parametrize("cached", [True, False])
def test_versions_go_on_from_the_last_one_when_the_clock_was_set_back(opened: Any, clock: Any, cached: bool) -> None:
    """V1, V2: in one process, and in several with clocks of their own."""
    one = opened()
    for version, minutes in enumerate((10, 4, 2, 12), start=1):
        if not cached:
            _cache.local.clear()
        clock.move_to(MORNING + minutes * MINUTE)
        services.change_session(one.session_id, expected_version=version, patch=variables(n=version))

    times = [version.created_at - MORNING for version in selectors.versions(one.session_id)]
    assert times == [0 * MINUTE, 10 * MINUTE, 10 * MINUTE, 10 * MINUTE, 12 * MINUTE]
    assert selectors.verify_session(one.session_id).ok


def test_of_versions_at_one_moment_the_last_is_the_state_of_that_moment(opened: Any, clock: Any) -> None:
    """V2"""
    one = opened()
    for version, minutes in enumerate((10, 4), start=1):
        clock.move_to(MORNING + minutes * MINUTE)
        services.change_session(one.session_id, expected_version=version, patch=variables(n=version))

    assert selectors.state_at_time(one.session_id, MORNING + 10 * MINUTE).version == 3
    assert selectors.state_at_time(one.session_id, MORNING + 5 * MINUTE).version == 1


def test_events_go_on_from_the_last_one_when_the_clock_was_set_back(opened: Any, clock: Any) -> None:
    """S4: the ones that make no version too."""
    one = opened()
    for minutes in (10, 4, 2):
        clock.move_to(MORNING + minutes * MINUTE)
        services.record_event(one.session_id, kind="cart.viewed")

    times = event_times(one.session_id)
    assert times == sorted(times)
    columns = list(AuditEvent.objects.order_by("seq").values_list("created_at", flat=True))
    assert columns == sorted(columns)


def test_turns_go_on_from_the_last_one_when_the_clock_was_set_back(opened: Any, clock: Any) -> None:
    """S6"""
    one = opened()
    for minutes in (10, 4):
        clock.move_to(MORNING + minutes * MINUTE)
        services.add_message(one.session_id, role="user", content="hello")

    first, second = Message.objects.order_by("number").values_list("created_at", flat=True)
    assert first <= second


def test_the_end_is_not_before_the_last_event(opened: Any, clock: Any) -> None:
    """L6"""
    one = opened()
    clock.move_to(MORNING + 10 * MINUTE)
    services.record_event(one.session_id, kind="cart.viewed")
    clock.move_to(MORNING + 2 * MINUTE)

    services.end_session(one.session_id)

    times = event_times(one.session_id)
    assert times == sorted(times)


def test_a_clock_before_the_start_neither_opens_the_past_nor_ends_anything(opened: Any, clock: Any) -> None:
    """L1: it ends by its deadline alone."""
    one = opened()
    clock.move_to(MORNING - 60 * MINUTE)

    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    assert selectors.versions(one.session_id)[1].created_at == MORNING
    assert selectors.read_head(one.session_id).is_live()
