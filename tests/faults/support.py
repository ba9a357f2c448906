"""What the fault tests share: writers in threads and in processes, and what must be true of a session after a fault."""

from __future__ import annotations

import os
import select
import signal
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import SessionNotFound
from agent_sessions.models import AuditEvent, Message, Session, SessionVersion
from agent_sessions.types import Patch, State

T = TypeVar("T")

PATIENCE = 60
"""Seconds that anything here may take before it counts as hanging."""
_ALL = 100_000
_ADVISORY_LOCK = 20_417


def open_session(state: State | None = None, **facts: Any) -> uuid.UUID:
    return services.open_session(agent=Agent("Shopper", "1.0", "Example"), state=state, **facts).session_id


def line(item: str, quantity: int = 1) -> Patch:
    """A patch that puts one line into the basket."""
    return {"shopping": {"lines": {item: {"item": item, "quantity": quantity, "unit_price": 1250, "currency": "EUR"}}}}


# Threads


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run every job in a thread of its own, all from one moment on; return what each returned or raised."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [TimeoutError("The thread did not finish.")] * len(jobs)

    def run(number: int) -> None:
        try:
            start.wait(PATIENCE)
            results[number] = jobs[number]()
        except Exception as error:  # noqa: BLE001 - what a writer is told is what the tests are about
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "A writer hangs."
    return results


@contextmanager
def writing_together(barrier: threading.Barrier) -> Iterator[None]:
    """Hold this thread's first write until all have read what they base theirs on."""
    met = False

    def meet(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal met
        if not met and statement(sql) is not None:
            met = True
            barrier.wait(PATIENCE)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(meet):
        yield


# The statements of a write, by the names that the tests use for them

_STATEMENTS = {
    "SELECT agent_sessions_write_1(": "the write",  # all of it, on PostgreSQL
    "WITH moved AS (": "the event after the end",  # with the compare-and-set, on PostgreSQL
    'UPDATE "agent_sessions_session"': "the compare-and-set",
    'INSERT INTO "agent_sessions_session"': "the session",
    'INSERT INTO "agent_sessions_sessionkey"': "the key",
    'INSERT INTO "agent_sessions_sessionversion"': "the version",
    'INSERT INTO "agent_sessions_auditevent"': "the event",
    'INSERT INTO "agent_sessions_message"': "the message",
    'INSERT INTO "agent_sessions_artifact"': "the artifact",
}


def statement(sql: str) -> str | None:
    """Which statement of a write ``sql`` is; None for reads and for what belongs to no write."""
    return next((name for start, name in _STATEMENTS.items() if sql.startswith(start)), None)


# Processes


class Child:
    """A writer in a forked process, which tells over a pipe what it was told is stored.

    ``work`` gets the function to tell with. It starts at once; ``kill`` ends it wherever it is, and nothing of it is
    left after the block.
    """

    def __init__(self, work: Callable[[Callable[..., None]], None]) -> None:
        self.told: list[str] = []
        self._rest = ""
        self._reaped = False
        connections.close_all()  # no connection is shared with the child
        self._pipe, pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_child(work, pipe)
        os.close(pipe)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._pipe)
        if not self._reaped:
            self.kill()
            os.waitpid(self.pid, 0)

    @property
    def acknowledged(self) -> list[Stored]:
        return [Stored.parse(words) for words in self.told if words != "ready"]

    def fileno(self) -> int:
        """Where it tells, for ``select``."""
        return self._pipe

    def hear(self, seconds: float = PATIENCE) -> bool:
        """Read what it tells, for at most so long; False when it has ended."""
        if not select.select([self._pipe], [], [], seconds)[0]:
            assert seconds < PATIENCE, "The child hangs."
            return True
        heard = os.read(self._pipe, 65_536).decode()
        *lines, self._rest = (self._rest + heard).split("\n")
        self.told += lines
        assert not lines or not lines[-1].startswith("failed"), lines[-1].replace("\\n", "\n")
        return bool(heard)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return the signal that ended the process, or 0; then all that it did is settled."""
        while self.hear():
            pass
        _, status = os.waitpid(self.pid, 0)
        self._reaped = True
        _wait_for_the_server()
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _be_the_child(work: Callable[[Callable[..., None]], None], pipe: int) -> None:
    """Do the work and end the process, whatever happens: nothing of it may return into the test run."""

    def tell(*words: object) -> None:
        os.write(pipe, (" ".join(map(str, words)) + "\n").encode())

    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2 * PATIENCE)  # whoever started it may be gone
        connection_created.connect(_hold_the_lock)
        tell("ready")
        work(tell)
        connections.close_all()
        code = 0
    except BaseException:  # noqa: BLE001
        tell("failed", traceback.format_exc().replace("\n", "\\n"))
    finally:
        os._exit(code)


def _hold_the_lock(connection: BaseDatabaseWrapper, **facts: Any) -> None:
    """Hold a lock that goes with the connection, also with one that a child makes anew."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock_shared(%s)", [_ADVISORY_LOCK])


def _wait_for_the_server() -> None:
    """Wait until the server has finished with a killed client: it may still be at the last statement."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])


# What a writer was told is stored, and what is


class Stored(NamedTuple):
    """One acknowledged write: an opened session, a version, an event, a message or an end, and its number."""

    what: str
    session_id: uuid.UUID
    number: int

    def __str__(self) -> str:
        return f"{self.what} {self.session_id} {self.number}"

    @classmethod
    def parse(cls, text: str) -> Stored:
        what, session_id, number = text.split()
        return cls(what, uuid.UUID(session_id), int(number))


def change(session_id: uuid.UUID, version: int) -> Stored:
    """Write the next version; its content says its number, so that it can be told from any other."""
    patch: Patch = {"agent": {"version": version + 1, f"slot {version % 5}": "x" * (version % 7) * 40}}
    made = services.change_session(session_id, expected_version=version, patch=patch)
    return Stored("version", session_id, made.version)


def add_message(session_id: uuid.UUID) -> Stored:
    added = services.add_message(session_id, role="user", content="Do you have it in blue?")
    return Stored("message", session_id, added.number)


def record_event(session_id: uuid.UUID) -> Stored:
    return Stored("event", session_id, services.record_event(session_id, kind="item.viewed").seq)


def end(session_id: uuid.UUID) -> Stored:
    return Stored("end", session_id, services.end_session(session_id).version)


def lost(acknowledged: Iterable[Stored]) -> list[str]:
    """Which acknowledged writes are not there, or not as they were written."""
    missing = []
    for write in acknowledged:
        try:
            head = selectors.read_head(write.session_id)
        except SessionNotFound:
            missing.append(str(write))
            continue
        if write.what == "version":
            stored = write.number <= head.version and (
                selectors.state_at_version(head, write.number).state["agent"]["version"] == write.number
            )
        elif write.what == "message":
            stored = bool(selectors.messages(head, after=write.number - 1, limit=1))
        elif write.what == "event":
            stored = bool(selectors.events(write.session_id, after=write.number - 1, limit=1))
        elif write.what == "end":
            stored = head.ended_at is not None and head.version == write.number
        else:
            stored = True
        if not stored:
            missing.append(str(write))
    return missing


def half_done(session_id: uuid.UUID) -> list[str]:
    """What of a session is there in part: rows without the rows that were written with them, gaps, broken links."""
    session = Session.objects.get(pk=session_id)
    in_session = {"session_id": session_id}
    versions = SessionVersion.objects.filter(**in_session).order_by("number").values_list("number", "event_seq")
    events = AuditEvent.objects.filter(**in_session).order_by("seq").values_list("seq", "version", "kind")
    messages = Message.objects.filter(**in_session).order_by("number").values_list("number", "event_seq")
    with_messages = [seq for seq, _, kind in events if kind == "conversation.message_added"]
    expected = {
        "versions": (list(versions), [(version, seq) for seq, version, _ in events if version is not None]),
        "numbers of versions": ([number for number, _ in versions], list(range(1, session.version + 1))),
        "numbers of events": ([seq for seq, *_ in events], list(range(1, session.head_seq + 1))),
        "messages": (list(messages), list(enumerate(with_messages, start=1))),
        "end": ([session.ended_at is not None], [any(kind == "session.ended" for *_, kind in events)]),
    }
    found = [
        f"{session_id}, {what}: {found} is not {other}" for what, (found, other) in expected.items() if found != other
    ]
    return found + [str(problem) for problem in selectors.verify_session(session_id).problems]


def wrong(acknowledged: Iterable[Stored], *, also: Iterable[uuid.UUID] = ()) -> list[str]:
    """Everything that is wrong after a fault: what was acknowledged and is lost, and what is there by half."""
    writes = list(acknowledged)
    found = lost(writes)
    for session_id in sorted({write.session_id for write in writes} | set(also)):
        found += half_done(session_id) if Session.objects.filter(pk=session_id).exists() else []
    return found
