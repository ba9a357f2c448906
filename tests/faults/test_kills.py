"""A writer dies anywhere: what was acknowledged is there, nothing is half there, and the next writer goes on.

The named points are found from outside, by watching the statements that a writer sends: the package has no hooks.
"""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.models import AuditEvent
from tests.faults import support
from tests.faults.support import Child, Stored, statement, wrong

KILLS_AT_EACH_POINT = 3
"""More than a hundred in all, on either database."""
KILLS_AT_RANDOM = 30

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _every_second_version_has_a_snapshot(settings: Any) -> None:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "SNAPSHOT_EVERY": 2}


# The writes, and the statements that each consists of


def open_session(session_id: uuid.UUID, version: int) -> Stored:
    return Stored("open", support.open_session(), 1)


def change(session_id: uuid.UUID, version: int) -> Stored:
    return support.change(session_id, version)


def change_in_a_transaction(session_id: uuid.UUID, version: int) -> Stored:
    with transaction.atomic():
        return support.change(session_id, version)


def record_event(session_id: uuid.UUID, version: int) -> Stored:
    return support.record_event(session_id)


def add_message(session_id: uuid.UUID, version: int) -> Stored:
    return support.add_message(session_id)


def end_session(session_id: uuid.UUID, version: int) -> Stored:
    return support.end(session_id)


Write = Callable[[uuid.UUID, int], Stored]
_IN_THREE = ("the compare-and-set", "the version", "the event", "the commit")
STATEMENTS: dict[Write, tuple[str, ...]] = {
    open_session: ("the session", "the key", "the version", "the event", "the commit"),
    change: _IN_THREE,
    change_in_a_transaction: _IN_THREE,
    record_event: ("the compare-and-set", "the event", "the commit"),
    add_message: ("the compare-and-set", "the event", "the message", "the commit"),
    end_session: (*_IN_THREE, "the artifact"),
}
if connection.vendor == "postgresql":
    STATEMENTS |= {
        change: ("the write",),
        change_in_a_transaction: ("the write", "the commit"),
        record_event: ("the write",),
    }


def points(write: Write) -> Iterator[tuple[str, bool]]:
    """Yield every point where a writer can die, and whether what it wrote is there then."""
    statements = STATEMENTS[write]
    decides = "the commit" if "the commit" in statements else "the write"
    stored = False
    yield f"before {statements[0]}", stored
    for name in statements:
        if name == "the commit":
            yield f"before {name}", stored
        stored = stored or name == decides
        yield f"after {name}", stored
    yield "before the acknowledgement", True


@contextmanager
def dying(point: str) -> Iterator[None]:
    """Kill this process at a named point of what it does in the block."""
    when, name = point.split(" ", 1)
    commit = connection.commit

    def die_if(moment: str, here: str | None) -> None:
        if (moment, here) == (when, name):
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        die_if("before", statement(sql))
        result = execute(sql, params, many, context)
        die_if("after", statement(sql))
        return result

    def watched_commit() -> None:
        die_if("before", "the commit")
        commit()
        die_if("after", "the commit")

    connection.commit = watched_commit
    with connection.execute_wrapper(watch):
        yield
    die_if("before", "the acknowledgement")


# The tests


@pytest.mark.parametrize(
    ("write", "point", "stored"),
    [
        pytest.param(write, point, stored, id=f"{write.__name__} killed {point}")
        for write in STATEMENTS
        for point, stored in points(write)
    ],
)
def test_a_write_that_is_killed_is_there_wholly_or_not_at_all(write: Write, point: str, stored: bool) -> None:
    for earlier in range(KILLS_AT_EACH_POINT):
        others = set(selectors.session_ids())
        session_id = support.open_session()
        events = AuditEvent.objects.count()

        def work(tell: Callable[..., None], session_id: uuid.UUID = session_id, earlier: int = earlier) -> None:
            for version in range(1, earlier + 1):
                tell(support.change(session_id, version))
            with dying(point):
                write(session_id, earlier + 1)

        with Child(work) as child:
            assert child.wait() == signal.SIGKILL, "It never came to that point."
        assert len(child.acknowledged) == earlier
        assert AuditEvent.objects.count() == events + earlier + stored
        assert wrong(child.acknowledged, also=set(selectors.session_ids()) - others) == []
    the_next_writer_goes_on(session_id)


def test_a_writer_can_be_killed_at_any_moment(dice: random.Random) -> None:
    writes = (change, change_in_a_transaction, record_event, add_message)
    acknowledged: list[Stored] = []
    for kill in range(KILLS_AT_RANDOM):
        if kill % 5 == 0:
            session_id = support.open_session()
        events = AuditEvent.objects.count()

        def work(tell: Callable[..., None], session_id: uuid.UUID = session_id, seed: int = kill) -> None:
            choice = random.Random(seed)
            version = selectors.read_head(session_id).version
            while True:
                made = choice.choice(writes)(session_id, version)
                tell(made)
                version = made.number if made.what == "version" else version

        with Child(work) as child:
            enough = dice.randint(1, 8)
            while len(child.told) <= enough:
                assert child.hear(), "It ended by itself."
            time.sleep(dice.uniform(0, 0.01))  # the moment of the kill; nothing depends on it
            child.kill()
            assert child.wait() == signal.SIGKILL
        assert AuditEvent.objects.count() - events - len(child.acknowledged) in (0, 1)
        assert wrong(child.acknowledged) == []
        acknowledged += child.acknowledged
    assert wrong(acknowledged) == []
    the_next_writer_goes_on(session_id)


def the_next_writer_goes_on(session_id: uuid.UUID) -> None:
    """Nothing that a dead writer held is in the way, whether the session is still live or has ended."""
    head = selectors.read_head(session_id)
    if head.is_live():
        acknowledged = [support.change(session_id, head.version), support.end(session_id)]
        assert wrong(acknowledged) == []
    services.expire_sessions()
    assert services.get_artifact(session_id)
    assert wrong([], also=[session_id]) == []
