"""Whoever holds, releases or marks dies at any statement: nothing is held twice, leaked or missed (X1, X2, R3)."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.exceptions import HoldNotFound
from agent_sessions.models import Hold, Session, SessionReference, StoreChange
from tests.faults import support
from tests.faults.support import Child, half_done
from tests.services.holding import held, hold
from tests.store.calling import counting, shop, state

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["counting", "shop"]

_MOST = 60
"""Writing statements that no job here needs."""


@contextmanager
def dying_at(number: int) -> Iterator[None]:
    """Kill this process after so many statements that write."""
    written = 0

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal written
        result = execute(sql, params, many, context)
        if sql.startswith(("UPDATE", "INSERT", "DELETE", "SELECT agent_sessions_write_1")):
            written += 1
            if written == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return result

    with connection.execute_wrapper(watch):
        yield


def killed_everywhere(work: Callable[[], object]) -> Iterator[int]:
    """Run ``work`` in a process of its own and kill it at its first statement, its second, until it gets through."""
    for number in range(1, _MOST):

        def run(tell: Callable[..., None], number: int = number) -> None:
            with dying_at(number):
                work()

        with Child(run) as child:
            died = child.wait() == signal.SIGKILL
        yield number
        if not died:
            return
    raise AssertionError("It never got through.")


def whole(sessions: list[uuid.UUID]) -> None:
    assert [problem for one in sessions for problem in half_done(one)] == []
    held()


def overdue(*sessions: uuid.UUID) -> None:
    Hold.objects.filter(session_id__in=sessions).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_the_job_that_releases_is_killed_at_every_statement(counting: Any) -> None:
    """X1: what was released stays so, what was not is for the next run, and nothing is released twice."""
    sessions = [support.open_session() for _ in range(2)]
    deaths = 0
    for one in sessions:
        hold(one, "mug", 2)
        hold(one, "pot", 1)
    overdue(*sessions)
    for _ in killed_everywhere(services.release_expired_holds):
        whole(sessions)
        deaths += 1
    assert deaths > 4
    assert held() == {}
    for one in sessions:
        kinds = [event["kind"] for event in selectors.events(one)]
        assert kinds.count("hold.expired") == 2


def test_an_end_that_is_killed_holds_or_has_released(counting: Any) -> None:
    """L6: never ended and still holding."""
    one = support.open_session()
    hold(one, "mug", 2)
    for _ in killed_everywhere(lambda: services.end_session(one)):
        whole([one])
        over = Session.objects.get(pk=one).status == "ended"
        assert held() == ({} if over else {"mug": 2})
        if over:
            return
    raise AssertionError("It was never ended.")


def test_a_hold_that_is_killed_is_placed_or_not(counting: Any) -> None:
    one = support.open_session()
    placed = False
    for _ in killed_everywhere(lambda: hold(one, "pot", 2)):
        whole([one])
        known = {entry["item"] for entry in state(one).get("inventory", {}).get("holds", {}).values()}
        assert held() == dict.fromkeys(known, 2)
        placed = bool(known)
    assert placed
    services.release_holds(one)
    with pytest.raises(HoldNotFound):
        services.release_holds(one, hold_id=Hold.objects.get().pk)


def test_the_job_that_marks_is_killed_at_every_statement(counting: Any) -> None:
    """X2: no session is missed, and none is marked twice for one change."""
    sessions = [support.open_session(support.line("mug")) for _ in range(3)]
    assert SessionReference.objects.count() == 3
    services.report_change("item", ["mug"], "price")
    for _ in killed_everywhere(services.mark_stale):
        whole(sessions)
        StoreChange.objects.update(claimed_until=None)  # as after a minute
    assert [list(state(one)["stale"]["parts"]) for one in sessions] == [["item:mug"]] * 3
    assert [selectors.read_head(one).version for one in sessions] == [2] * 3
    assert not StoreChange.objects.filter(done_at__isnull=True).exists()
