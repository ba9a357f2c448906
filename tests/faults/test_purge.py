"""Purge, legal holds, writers and expiry at the same sessions at once; and a purge that is killed (A5, A6, R5).

A held session never loses anything, a purged one never comes back, and none is half purged.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import AgentSessionsError, LegallyHeld
from agent_sessions.models import (
    AuditEvent,
    LegalHold,
    Message,
    Session,
    SessionKey,
    SessionVersion,
)
from agent_sessions.services import retention as purging
from agent_sessions.services.erasing import Grounds, erase
from agent_sessions.types import State
from tests.faults import support
from tests.faults.support import Child, at_once, line
from tests.shopping import variables

pytestmark = pytest.mark.django_db(transaction=True)

LAWYER = Actor("staff", "1")
ROUNDS = int(os.environ.get("FAULTS_ROUNDS") or (5 if connection.vendor == "postgresql" else 3))
"""A few in the suite; many by hand: FAULTS_ROUNDS=100."""
SESSIONS = 8
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _at_once(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended is due the moment that it has, in batches small enough to race with."""
    configure(RETENTION={"personal": {"maximum_days": 0}, "decision_log": {"maximum_days": 0}})
    monkeypatch.setattr(purging, "BATCH", 3)


def sessions(number: int, *, ended: bool = False, overdue: bool = False) -> list[uuid.UUID]:
    """Sessions that say something of both classes, each of a consumer of its own."""
    with time_machine.travel(timezone.now() - DAY * (ended or overdue)):
        ids = []
        for _ in range(number):
            who = str(uuid.uuid4())
            state = cast("State", {**line("mug"), **variables(a=1)})
            session_id = support.open_session(state, consumer=services.consumer_pseudonym(who))
            consumers[session_id] = who
            services.add_message(session_id, role="user", content="hello")
            if ended:
                services.end_session(session_id)
            ids.append(session_id)
    return ids


def content(session_id: uuid.UUID) -> dict[str, Any]:
    """All that is kept of a session but its row: keys, versions, private values, messages."""
    keys = SessionKey.objects.filter(pk=session_id).values_list("wrapped", "personal")
    versions = SessionVersion.objects.filter(session_id=session_id).order_by("number")
    parts = versions.values_list("number", "patch", "snapshot", "personal_patch", "personal_snapshot")
    private = AuditEvent.objects.filter(session_id=session_id).order_by("seq").values_list("seq", "private")
    said = Message.objects.filter(session_id=session_id).order_by("number").values_list("number", "body")
    found = {"keys": keys, "versions": parts, "private": private, "messages": said}
    return {
        name: {repr([bytes(value) if isinstance(value, memoryview) else value for value in row]) for row in rows}
        for name, rows in found.items()
    }


def left(session_id: uuid.UUID) -> list[str]:
    """What of a purged session could be read if its keys were there: there is to be nothing."""
    rows = content(session_id)
    sealed = [row for name in ("versions", "private", "messages") for row in rows[name] if "b'" in row or 'b"' in row]
    return [*rows["keys"], *sealed]


def lost(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name, rows in before.items() if not rows <= after[name]]


def erased(session_id: uuid.UUID) -> set[str]:
    row = Session.objects.get(pk=session_id)
    return {name for name in ("personal", "content") if getattr(row, f"{name}_erased_at") is not None}


def half_purged(session_id: uuid.UUID) -> list[object]:
    """What is left of what was erased, or gone without having been."""
    return list(selectors.verify_session(session_id).problems)


consumers: dict[uuid.UUID, str] = {}
"""Who each session is of, as the shop calls them."""


class Holder:
    """Places holds of three scopes, and takes down what each session said when the hold was in force."""

    def __init__(self, ids: list[uuid.UUID], dice: random.Random) -> None:
        self.ids = dice.sample(ids, len(ids) // 2)
        self.seen: dict[uuid.UUID, tuple[set[str], dict[str, Any]]] = {}

    def __call__(self) -> None:
        for number, session_id in enumerate(self.ids):
            if number % 3 == 1:
                opened = Session.objects.get(pk=session_id).created_at
                services.place_legal_hold(
                    scope="period", period_start=opened, period_end=opened + timedelta(microseconds=1),
                    matter="M", actor=LAWYER,
                )  # fmt: skip
            if number % 3 == 2:
                who = consumers[session_id]
                services.place_legal_hold(scope="consumer", consumer=who, matter="M", actor=LAWYER)
            # One whose personal class was faster is not found by its consumer any more.
            if number % 3 == 0 or not Session.objects.get(pk=session_id).consumer:
                services.place_legal_hold(scope="session", session_id=session_id, matter="M", actor=LAWYER)
            self.seen[session_id] = erased(session_id), content(session_id)


def purge_until(stop: threading.Event) -> Callable[[], int]:
    def run() -> int:
        done = 0
        while not stop.is_set():
            done += services.purge(limit=5).erased
        return done + services.purge().erased

    return run


def end_until(stop: threading.Event, live: list[uuid.UUID]) -> Callable[[], None]:
    """End what is past its deadline, and of the others one after the other."""

    def run() -> None:
        left = list(live)
        while left or not stop.is_set():
            services.expire_sessions(limit=1)
            if left:
                services.end_session(left.pop())

    return run


def write_until(stop: threading.Event, ids: list[uuid.UUID]) -> Callable[[], int]:
    """Change, say and record whatever the sessions still let in; ended ones refuse."""

    def run() -> int:
        written = 0
        while not stop.is_set():
            for number, session_id in enumerate(ids):
                with suppress(AgentSessionsError):
                    if number % 2:
                        services.add_message(session_id, role="agent", content="late")
                    else:
                        services.record_event(session_id, kind="cart.viewed")
                    written += 1
        return written

    return run


def test_a_held_session_loses_nothing_and_a_purged_one_never_comes_back(dice: random.Random) -> None:
    """A5, A6: many rounds of two purges, a holder, an expiry and writers at the same sessions."""
    purged = written = 0
    for _ in range(ROUNDS):
        live = sessions(SESSIONS // 2)
        ids = [*live, *sessions(SESSIONS // 4, overdue=True), *sessions(SESSIONS // 4, ended=True)]
        stop, holder = threading.Event(), Holder(ids, dice)

        def hold(holder: Holder = holder, stop: threading.Event = stop) -> None:
            try:
                holder()
            finally:
                stop.set()

        jobs = [purge_until(stop), purge_until(stop), end_until(stop, live), write_until(stop, ids), hold]
        results = at_once(jobs)
        assert not [result for result in results if isinstance(result, Exception)], results
        written += cast("int", results[3])
        services.expire_sessions()
        services.purge()

        assert holder.seen.keys() == set(holder.ids)
        for session_id, (before, said) in holder.seen.items():
            assert erased(session_id) == before, "it lost a class after a hold was placed"
            assert lost(said, content(session_id)) == []
        for session_id in ids:
            assert half_purged(session_id) == []
            if session_id not in holder.seen:
                assert erased(session_id) == {"personal", "content"}
                assert left(session_id) == []
                purged += 1
        LegalHold.objects.update(lifted_at=timezone.now())
        assert services.purge().failed == 0
        assert all(erased(session_id) == {"personal", "content"} and not left(session_id) for session_id in ids)
    assert purged == ROUNDS * SESSIONS // 2
    assert written > 0, "no write came in time to race with anything"


def test_two_purges_share_the_work() -> None:
    """A5: each class of each session is erased once."""
    ids = sessions(12, ended=True)
    reports = at_once([services.purge, services.purge, services.purge])
    assert sum(report.erased for report in reports if not isinstance(report, Exception)) == 2 * len(ids), reports
    told = AuditEvent.objects.filter(session_id__in=ids, kind="pii.purged")
    assert told.count() == 2 * len(ids)
    assert [half_purged(session_id) for session_id in ids] == [[]] * len(ids)


def test_a_hold_and_an_erasure_of_one_session_come_one_after_the_other() -> None:
    """A6: whoever comes first: either it was held and nothing went, or all of it had gone."""
    grounds = Grounds("request", "GDPR Art. 17", "erasure")
    for _ in range(2 * ROUNDS):
        (session_id,) = sessions(1, ended=True)
        before = content(session_id)

        def hold(session_id: uuid.UUID = session_id) -> set[str]:
            services.place_legal_hold(scope="session", session_id=session_id, matter="M", actor=LAWYER)
            return erased(session_id)

        def request(session_id: uuid.UUID = session_id) -> object:
            return erase(selectors.read_head(session_id), frozenset({"content"}), grounds, actor=SYSTEM)

        seen, done = at_once([hold, request])
        if isinstance(done, LegallyHeld):
            assert seen == set() == erased(session_id)
            assert lost(before, content(session_id)) == []
        else:
            assert seen == {"content", "personal"} == erased(session_id), (seen, done)
        assert half_purged(session_id) == []


# Killed on the way


_TOLD = (
    ("WITH moved AS (",)  # the row and the event, in one statement
    if connection.vendor == "postgresql"
    else ('UPDATE "agent_sessions_session"', 'INSERT INTO "agent_sessions_auditevent"')
)
_POINTS = (
    *_TOLD,
    'DELETE FROM "agent_sessions_sessionkey"',
    'UPDATE "agent_sessions_sessionkey"',
    'UPDATE "agent_sessions_sessionversion"',
    'UPDATE "agent_sessions_message"',
)


@pytest.fixture
def killed() -> Callable[[str, int], None]:
    """Run a purge in a process of its own that kills itself after the n-th statement of a kind."""

    def run(start: str, number: int) -> None:
        def work(_tell: Callable[..., None]) -> None:
            seen = 0

            def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
                nonlocal seen
                result = execute(sql, params, many, context)
                seen += sql.startswith(start)
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            with connection.execute_wrapper(watch):
                services.purge()

        with Child(work) as child:
            assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL
            child._reaped = True

    return run


@pytest.mark.parametrize("start", _POINTS)
def test_a_purge_that_is_killed_is_finished_by_the_next(killed: Callable[[str, int], None], start: str) -> None:
    """R5: what it had committed is whole, the rest is untouched, and nothing is told twice."""
    ids = sessions(7, ended=True)
    before = {session_id: content(session_id) for session_id in ids}
    killed(start, 2)

    for session_id in ids:
        assert half_purged(session_id) == []
        if not erased(session_id):
            assert lost(before[session_id], content(session_id)) == []
    left = sum(2 - len(erased(session_id)) for session_id in ids)
    assert left > 0
    assert services.purge().erased == left
    assert all(erased(session_id) == {"personal", "content"} for session_id in ids)
    assert all(half_purged(session_id) == [] for session_id in ids)
    assert AuditEvent.objects.filter(kind="pii.purged").count() == 2 * len(ids)


@pytest.mark.postgres
def test_a_session_that_somebody_works_on_is_left_to_the_next_run() -> None:
    """A5: SKIP LOCKED: nobody waits for it, and nobody is kept waiting."""
    first, second = sessions(2, ended=True)
    locked, done = threading.Event(), threading.Event()

    def hold_the_row() -> None:
        from django.db import transaction

        with transaction.atomic():
            list(Session.objects.select_for_update().filter(pk=first))
            locked.set()
            assert done.wait(30)

    def purge() -> int:
        assert locked.wait(30)
        try:
            return services.purge().erased
        finally:
            done.set()

    results = at_once([hold_the_row, purge])
    assert results == [None, 2]
    assert (erased(first), erased(second)) == (set(), {"personal", "content"})
    with suppress(AgentSessionsError):
        assert services.purge().erased == 2
