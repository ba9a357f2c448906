"""Many writers at one session: who changes what somebody else changed is told so, who only adds is never refused."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import SessionEnded, VersionConflict
from agent_sessions.models import Artifact, SiteKey
from agent_sessions.services import Committed
from tests.faults.support import at_once, half_done, line, open_session, writing_together

WRITERS = 16
ROUNDS = 4

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["hybrid", "history"])
def storage(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "STORAGE": request.param, "SNAPSHOT_EVERY": 3}
    return request.param


# Writers that change


def changers(session_id: uuid.UUID, expected_version: int) -> list[Callable[[], Committed]]:
    """Sixteen changes, each of a line of its own, that are all written after all have read."""
    barrier = threading.Barrier(WRITERS)

    def changer(number: int) -> Callable[[], Committed]:
        def run() -> Committed:
            with writing_together(barrier):
                return services.change_session(
                    session_id, expected_version=expected_version, patch=line(f"mug-{expected_version}-{number}")
                )

        return run

    return [changer(number) for number in range(WRITERS)]


def test_of_sixteen_changes_of_one_version_one_is_made(storage: str) -> None:
    session_id = open_session(line("pot"))
    for version in range(1, 1 + ROUNDS):
        results = at_once(changers(session_id, version))
        winners = [number for number, result in enumerate(results) if isinstance(result, Committed)]
        refusals = [result for result in results if isinstance(result, VersionConflict)]
        assert (len(winners), len(refusals)) == (1, WRITERS - 1), results

        assert [made.number for made in selectors.versions(session_id)] == list(range(1, version + 2))
        assert len(selectors.events(session_id)) == version + 1
        lines = selectors.state_at_version(session_id, version + 1).state["shopping"]["lines"]
        assert lines.keys() - selectors.state_at_version(session_id, version).state["shopping"]["lines"].keys() == {
            f"mug-{version}-{winners[0]}"
        }
        assert half_done(session_id) == []


def test_who_is_refused_learns_the_current_version_and_what_has_changed(storage: str) -> None:
    session_id = open_session(line("pot"))
    results = at_once(changers(session_id, 1))
    winner = next(number for number, result in enumerate(results) if isinstance(result, Committed))
    for refusal in (result for result in results if isinstance(result, VersionConflict)):
        assert (refusal.expected, refusal.current) == (1, 2)
        assert [change.path for change in refusal.changes] == [f"/shopping/lines/mug-1-{winner}"]
        assert f"at version 2, not 1. Since then: Added 1 × mug-1-{winner} at 12.50 EUR." in str(refusal)


def test_who_is_refused_can_decide_again_and_in_the_end_all_are_in(storage: str) -> None:
    session_id = open_session()

    def change_until_done(number: int) -> int:
        version = 1
        for attempt in range(WRITERS):
            try:
                services.change_session(session_id, expected_version=version, patch=line(f"mug-{number}"))
            except VersionConflict as conflict:
                version = conflict.current
            else:
                return attempt
        raise AssertionError("Every refusal means that somebody else got in, so sixteen attempts are enough.")

    results = at_once([lambda number=number: change_until_done(number) for number in range(WRITERS)])
    assert all(isinstance(result, int) for result in results), results
    assert len(selectors.current_state(session_id).state["shopping"]["lines"]) == WRITERS
    assert len(selectors.versions(session_id)) == 1 + WRITERS
    assert half_done(session_id) == []


# Writers that only add


def add_messages(session_id: uuid.UUID, count: int) -> list[int]:
    return [services.add_message(session_id, role="user", content="Is it blue?").number for _ in range(count)]


def record_events(session_id: uuid.UUID, count: int) -> list[int]:
    return [services.record_event(session_id, kind="item.viewed").seq for _ in range(count)]


@pytest.mark.parametrize("writers", [2, WRITERS])
@pytest.mark.parametrize("add", [add_messages, record_events])
def test_who_only_adds_is_never_refused(add: Callable[[uuid.UUID, int], list[int]], writers: int) -> None:
    session_id, each = open_session(), 4
    results = at_once([lambda: add(session_id, each)] * writers)
    assert all(isinstance(result, list) for result in results), results
    numbers = sorted(number for result in results for number in result)
    assert numbers == list(range(numbers[0], numbers[0] + writers * each))
    assert len(selectors.events(session_id)) == 1 + writers * each
    assert half_done(session_id) == []


def test_who_only_adds_is_not_refused_while_others_change(storage: str) -> None:
    session_id, each = open_session(), 3
    changed = Counter[str]()

    def change() -> None:
        for _ in range(each):
            version = selectors.read_head(session_id).version
            try:
                services.change_session(session_id, expected_version=version, patch={"agent": {"version": version + 1}})
                changed["made"] += 1
            except VersionConflict:
                changed["refused"] += 1

    adders = [lambda: add_messages(session_id, each), lambda: record_events(session_id, each)]
    results = at_once([*adders * (WRITERS // 4), *[change] * (WRITERS // 2)])
    assert not any(isinstance(result, Exception) for result in results), results
    assert changed.total() == each * WRITERS // 2
    assert len(selectors.versions(session_id)) == 1 + changed["made"]
    assert len(selectors.messages(session_id)) == each * WRITERS // 4
    assert len(selectors.events(session_id)) == 1 + changed["made"] + each * WRITERS // 2
    assert half_done(session_id) == []


# Opening, ending, revoking


def test_the_first_sixteen_sessions_of_a_site_can_be_opened_at_once() -> None:
    results = at_once([lambda: services.open_session(agent=Agent("Shopper"))] * WRITERS)
    assert not any(isinstance(result, Exception) for result in results), results
    assert SiteKey.objects.filter(purpose=SiteKey.Purpose.TOKEN).count() == 1
    for opened in results:
        assert selectors.authenticate(opened.token).session_id == opened.session_id
        assert half_done(opened.session_id) == []


def test_nothing_is_written_after_the_end_of_a_session_that_is_ended_while_it_is_written() -> None:
    for _ in range(ROUNDS):
        session_id = open_session()

        has_ended = threading.Event()

        def write(session_id: uuid.UUID = session_id, has_ended: threading.Event = has_ended) -> None:
            told = False
            while not told:  # how long the end takes to get its turn is the database's business
                told = has_ended.is_set()
                services.record_event(session_id, kind="item.viewed")
            raise AssertionError("It has never been told of the end.")

        def end(session_id: uuid.UUID = session_id, has_ended: threading.Event = has_ended) -> None:
            try:
                record_events(session_id, 2)
                services.end_session(session_id)
            finally:
                has_ended.set()

        ended, *writers = at_once([end, write, write, write])
        assert ended is None, ended
        assert all(isinstance(result, SessionEnded) for result in writers), writers
        assert selectors.events(session_id, limit=1_000_000)[-1]["kind"] == "session.ended"
        assert half_done(session_id) == []


def test_of_sixteen_who_end_a_session_one_does() -> None:
    session_id = open_session()
    results = at_once([lambda: services.end_session(session_id)] * WRITERS)
    assert Counter(type(result) for result in results) == {Committed: 1, SessionEnded: WRITERS - 1}, results
    assert half_done(session_id) == []


def test_sixteen_who_ask_for_an_artifact_get_the_same_one() -> None:
    session_id = open_session()
    services.end_session(session_id)
    Artifact.objects.all().delete()  # as if nobody had come to seal it
    results = at_once([lambda: services.get_artifact(session_id)] * WRITERS)
    assert len(set(results)) == 1, results
    assert half_done(session_id) == []


def test_jobs_that_expire_sessions_at_the_same_time_end_each_of_them_once() -> None:
    with time_machine.travel(timezone.now() - timedelta(days=1)):
        session_ids = [open_session() for _ in range(6)]
    results = at_once([services.expire_sessions] * 4)
    assert not any(isinstance(result, Exception) for result in results), results
    assert sum(result.ended for result in results) == len(session_ids)
    assert sum(result.failed for result in results) == 0
    for session_id in session_ids:
        assert [event["kind"] for event in selectors.events(session_id)] == ["session.created", "session.ended"]
        assert half_done(session_id) == []


def test_once_all_sessions_are_revoked_nothing_more_is_written_to_them() -> None:
    session_ids = [open_session() for _ in range(4)]
    busy = threading.Barrier(len(session_ids) + 1)

    def write(session_id: uuid.UUID) -> None:
        services.record_event(session_id, kind="item.viewed")
        busy.wait(60)
        for _ in range(1000):
            services.record_event(session_id, kind="item.viewed")
        raise AssertionError("It has never been told of the revocation.")

    def revoke() -> list[int]:
        busy.wait(60)
        services.revoke_all_sessions(reason="A key was lost.")
        return [selectors.read_head(session_id).head_seq for session_id in session_ids]

    writers = [lambda session_id=session_id: write(session_id) for session_id in session_ids]
    standing, *refusals = at_once([revoke, *writers])
    assert all(isinstance(refusal, SessionEnded) for refusal in refusals), refusals
    assert standing == [selectors.read_head(session_id).head_seq for session_id in session_ids]
    for session_id in session_ids:
        assert selectors.read_head(session_id).end_reason == "revoked"
        assert half_done(session_id) == []


# Readers


def problems_while_it_is_written(session_id: uuid.UUID) -> list[Any]:
    """What twenty checks find wrong with a session that somebody changes and adds to all the while."""
    checked = threading.Event()

    def write() -> None:
        version = 1
        while not checked.is_set() and version < 400:
            version = services.change_session(
                session_id, expected_version=version, patch={"agent": {"version": version + 1}}
            ).version
            add_messages(session_id, 1)

    def check() -> list[Any]:
        try:
            return [problem for _ in range(20) for problem in selectors.verify_session(session_id).problems]
        finally:
            checked.set()

    written, found = at_once([write, check])
    assert written is None, written
    assert isinstance(found, list), found
    return found


def test_a_check_finds_nothing_wrong_with_a_session_that_is_being_written(storage: str) -> None:
    assert problems_while_it_is_written(open_session()) == []


# On a host that has chosen another isolation level than PostgreSQL's default


@pytest.fixture(params=["repeatable read", "serializable"])
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    escaped = request.param.replace(" ", r"\ ")
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c default_transaction_isolation={escaped}"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == (request.param,)
    yield
    connection.close()


@pytest.mark.postgres
def test_the_same_is_true_at_stricter_isolation_levels(isolation: None) -> None:
    session_id = open_session()
    results = at_once(changers(session_id, 1))
    assert Counter(type(result) for result in results) == {Committed: 1, VersionConflict: WRITERS - 1}, results
    results = at_once([lambda: add_messages(session_id, 2), lambda: record_events(session_id, 2)] * (WRITERS // 2))
    assert not any(isinstance(result, Exception) for result in results), results
    results = at_once([lambda: services.end_session(session_id)] * WRITERS)
    assert Counter(type(result) for result in results) == {Committed: 1, SessionEnded: WRITERS - 1}, results
    assert half_done(session_id) == []


@pytest.mark.postgres
def test_a_check_at_a_stricter_isolation_level_finds_nothing_wrong_either(isolation: None) -> None:
    assert problems_while_it_is_written(open_session()) == []
