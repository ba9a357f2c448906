"""A session's change inside a transaction of the shop: they commit together, roll back together, and leave no trace."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidValue,
    LimitExceeded,
    SessionEnded,
    SessionNotFound,
    VersionConflict,
)
from agent_sessions.services import Committed
from agent_sessions.signals import session_changed
from tests.faults.support import Child, at_once, half_done, line, open_session, statement

pytestmark = pytest.mark.django_db(transaction=True)

STORAGES = {
    "hybrid": {"STORAGE": "hybrid"},
    "hybrid, shared": {"STORAGE": "hybrid", "STATE_CACHE": "default"},
    "history": {"STORAGE": "history"},
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, **STORAGES[request.param], "SNAPSHOT_EVERY": 2}
    return request.param


def order(number: int) -> None:
    """A row of the shop's own."""
    User.objects.create(username=f"order-{number}")


def orders() -> list[str]:
    return list(User.objects.order_by("username").values_list("username", flat=True))


class PaymentFailed(Exception):
    pass


@contextmanager
def rolled_back() -> Iterator[None]:
    with suppress(PaymentFailed), transaction.atomic():
        yield
        raise PaymentFailed


def change(session_id: uuid.UUID, expected_version: int, item: str) -> Committed:
    return services.change_session(session_id, expected_version=expected_version, patch=line(item))


def items(session_id: uuid.UUID) -> list[str]:
    shopping = selectors.current_state(session_id).state.get("shopping", {})
    return sorted(shopping.get("lines", {}))


def another_process_changes(session_id: uuid.UUID, expected_version: int, item: str) -> None:
    """Another process, because a thread of this one would share what it remembers of the session."""
    with Child(lambda _tell: change(session_id, expected_version, item)) as child:
        assert child.wait() == 0


# Together or not at all


def test_an_order_and_the_changes_of_its_session_commit_together(storage: str) -> None:
    session_id = open_session()
    with transaction.atomic():
        order(1)
        change(session_id, 1, "mug")
        change(session_id, 2, "pot")
        services.add_message(session_id, role="agent", content="Ordered.")
        services.end_session(session_id, expected_version=3)
    assert orders() == ["order-1"]
    assert items(session_id) == ["mug", "pot"]
    assert [turn.content for turn in selectors.messages(session_id)] == ["Ordered."]
    assert services.get_artifact(session_id)
    assert half_done(session_id) == []


def test_an_order_and_the_changes_of_its_session_roll_back_together(storage: str) -> None:
    session_id = open_session()
    with rolled_back():
        order(1)
        change(session_id, 1, "mug")
        services.add_message(session_id, role="agent", content="Ordered.")
        services.end_session(session_id)
        assert items(session_id) == ["mug"]
    assert orders() == []
    assert items(session_id) == []
    assert len(selectors.events(session_id)) == 1
    assert selectors.messages(session_id) == []
    assert selectors.read_head(session_id).is_live()
    assert half_done(session_id) == []


def test_a_session_that_is_opened_in_a_transaction_is_gone_with_it() -> None:
    with rolled_back():
        session_id = open_session()
        change(session_id, 1, "mug")
    with pytest.raises(SessionNotFound):
        selectors.read_head(session_id)
    with pytest.raises(SessionNotFound):
        change(session_id, 2, "mug")


def test_listeners_are_told_after_the_commit_and_never_of_what_was_rolled_back() -> None:
    session_id = open_session()
    heard: list[int] = []

    def listen(version: int, **facts: Any) -> None:
        assert not connection.in_atomic_block
        heard.append(version)

    session_changed.connect(listen)
    try:
        with rolled_back():
            change(session_id, 1, "mug")
        assert heard == []
        with transaction.atomic():
            change(session_id, 1, "mug")
            assert heard == []
        assert heard == [2]
    finally:
        session_changed.disconnect(listen)


# A refusal leaves the transaction usable


def conflict(session_id: uuid.UUID) -> None:
    change(session_id, 1, "cup")


def invalid(session_id: uuid.UUID) -> None:
    services.change_session(session_id, expected_version=2, patch={"shopping": {"lines": {"cup": {"quantity": 1}}}})


def too_large(session_id: uuid.UUID) -> None:
    services.change_session(session_id, expected_version=2, patch={"agent": {"notes": "x" * 300_000}})


def unknown(session_id: uuid.UUID) -> None:
    change(uuid.uuid4(), 1, "cup")


def ended(session_id: uuid.UUID) -> None:
    other = open_session()
    services.end_session(other)
    change(other, 2, "cup")


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (conflict, VersionConflict),
        (invalid, InvalidValue),
        (too_large, LimitExceeded),
        (unknown, SessionNotFound),
        (ended, SessionEnded),
    ],
)
def test_the_transaction_goes_on_after_a_refusal(
    refused: Callable[[uuid.UUID], None], error: type[AgentSessionsError], storage: str
) -> None:
    session_id = open_session()
    change(session_id, 1, "mug")
    with transaction.atomic():
        order(1)
        with pytest.raises(error):
            refused(session_id)
        order(2)
        change(session_id, 2, "pot")
    assert orders() == ["order-1", "order-2"]
    assert items(session_id) == ["mug", "pot"]
    assert half_done(session_id) == []


def test_a_change_that_another_process_was_quicker_with_is_refused_and_the_order_goes_on(storage: str) -> None:
    session_id = open_session()
    change(session_id, 1, "mug")
    another_process_changes(session_id, 2, "pot")
    with transaction.atomic():
        order(1)
        with pytest.raises(VersionConflict) as refusal:
            change(session_id, 2, "cup")
        change(session_id, refusal.value.current, "cup")
    assert orders() == ["order-1"]
    assert items(session_id) == ["cup", "mug", "pot"]
    assert half_done(session_id) == []


# What was rolled back is forgotten


def test_after_a_rollback_the_next_change_stands_on_what_is_stored(storage: str) -> None:
    session_id = open_session(line("mug"))
    with rolled_back():
        change(session_id, 1, "pot")
        change(session_id, 2, "cup")
    assert items(session_id) == ["mug"]
    assert change(session_id, 1, "tea").version == 2
    assert items(session_id) == ["mug", "tea"]
    assert half_done(session_id) == []


def test_after_a_rollback_a_version_that_is_gone_is_no_version_to_change(storage: str) -> None:
    session_id = open_session(line("mug"))
    with rolled_back():
        change(session_id, 1, "pot")
    with pytest.raises(VersionConflict) as refusal:
        change(session_id, 2, "cup")
    assert (refusal.value.expected, refusal.value.current) == (2, 1)
    assert items(session_id) == ["mug"]
    assert half_done(session_id) == []


def test_after_a_savepoint_is_rolled_back_the_transaction_stands_on_what_was_before_it(storage: str) -> None:
    session_id = open_session(line("mug"))
    with transaction.atomic():
        change(session_id, 1, "pot")
        with rolled_back():
            change(session_id, 2, "cup")
            services.record_event(session_id, kind="payment.refused")
        assert items(session_id) == ["mug", "pot"]
        change(session_id, 2, "tea")
    assert items(session_id) == ["mug", "pot", "tea"]
    assert [event["seq"] for event in selectors.events(session_id)] == [1, 2, 3]
    assert half_done(session_id) == []


def test_a_version_of_another_process_is_not_mistaken_for_the_one_that_was_rolled_back(storage: str) -> None:
    session_id = open_session(line("mug"))
    with rolled_back():
        change(session_id, 1, "pot")
    another_process_changes(session_id, 1, "cup")
    assert change(session_id, 2, "tea").version == 3
    assert items(session_id) == ["cup", "mug", "tea"]
    assert half_done(session_id) == []


def test_a_change_is_judged_by_the_version_of_another_process_not_by_the_one_that_was_rolled_back(
    storage: str,
) -> None:
    session_id = open_session()
    with rolled_back():
        change(session_id, 1, "pot")
    another_process_changes(session_id, 1, "cup")
    two_cups = {"shopping": {"lines": {"cup": {"quantity": 2}}}}  # no whole line, if there is no cup
    services.change_session(session_id, expected_version=2, patch=two_cups)
    assert selectors.current_state(session_id).state["shopping"]["lines"]["cup"]["quantity"] == 2
    assert half_done(session_id) == []


def test_who_still_has_the_session_as_it_was_before_the_rollback_can_change_it(storage: str) -> None:
    session_id = open_session()
    with rolled_back():
        change(session_id, 1, "pot")
        head = selectors.read_head(session_id)
    another_process_changes(session_id, 1, "cup")
    services.change_session(head, expected_version=2, patch=line("tea"))
    services.record_event(head, kind="item.viewed")
    assert items(session_id) == ["cup", "tea"]
    assert half_done(session_id) == []


def test_a_change_that_only_what_was_rolled_back_would_allow_is_refused(storage: str) -> None:
    session_id = open_session()
    with rolled_back():
        change(session_id, 1, "pot")
    another_process_changes(session_id, 1, "cup")
    with pytest.raises(InvalidValue):
        services.change_session(session_id, expected_version=2, patch={"shopping": {"lines": {"pot": {"quantity": 2}}}})
    assert items(session_id) == ["cup"]
    assert half_done(session_id) == []


def test_room_that_only_what_was_rolled_back_took_is_free(storage: str) -> None:
    session_id, large = open_session(), "x" * 200_000
    with rolled_back():
        services.change_session(session_id, expected_version=1, patch={"agent": {"rolled back": large}})
    another_process_changes(session_id, 1, "cup")
    services.change_session(session_id, expected_version=2, patch={"agent": {"kept": large}})
    assert selectors.current_state(session_id).state["agent"] == {"kept": large}
    assert half_done(session_id) == []


# Who has to wait for the transaction


@pytest.mark.parametrize("commits", [True, False])
def test_who_changes_what_an_open_transaction_has_changed_waits_for_its_outcome(commits: bool, storage: str) -> None:
    session_id = open_session()
    changed, waiting = threading.Event(), threading.Event()

    def host() -> None:
        with transaction.atomic():
            change(session_id, 1, "mug")
            changed.set()
            assert waiting.wait(30)
            transaction.set_rollback(not commits)

    def other() -> Committed:
        def tell(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            if statement(sql):
                waiting.set()
            return execute(sql, *rest)

        assert changed.wait(30)
        with connection.execute_wrapper(tell):
            return change(session_id, 1, "pot")

    hosted, result = at_once([host, other])
    assert hosted is None, hosted
    if commits:
        assert isinstance(result, VersionConflict), result
        assert result.current == 2
    else:
        assert isinstance(result, Committed), result
    assert items(session_id) == (["mug"] if commits else ["pot"])
    assert half_done(session_id) == []
