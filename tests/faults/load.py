"""Load on a few sessions: many processes that write and read, some of which die, and a record of what each was told."""

from __future__ import annotations

import json
import mmap
import random
import select
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

from django.db import InterfaceError, OperationalError, connection

from agent_sessions.exceptions import AgentSessionsError, VersionConflict
from tests.faults import support
from tests.faults.history import Operation
from tests.faults.operations import OPERATIONS, Turn
from tests.faults.support import PATIENCE, Child

BETWEEN_FAULTS = 0.2
"""Seconds, on average."""
LOST_ANSWERS = 0.02
"""How often an answer to a statement of a write is lost."""

_READY = "ready"  # what every child says first
Record = dict[uuid.UUID, list[Operation]]


class Writer:
    """The work of one process: it draws one operation after the other, and tells before and after each."""

    def __init__(self, process: int, sessions: Sequence[uuid.UUID], seed: int, stop: mmap.mmap) -> None:
        self._process = process
        self._sessions = sessions
        self._versions = dict.fromkeys(sessions, 1)  # the newest that this process knows of
        self._dice = random.Random(seed)
        self._stop = stop

    def __call__(self, tell: Callable[..., None]) -> None:
        with connection.execute_wrapper(self._lose_an_answer):
            self._write_until_told_to_stop(tell)

    def _write_until_told_to_stop(self, tell: Callable[..., None]) -> None:
        names, weights = list(OPERATIONS), [kind.weight for kind in OPERATIONS.values()]
        for number in count(1):
            if self._stop[0]:
                return
            signal.alarm(2 * PATIENCE)  # for this operation; whoever started the process may be gone
            name, session_id = self._dice.choices(names, weights)[0], self._dice.choice(self._sessions)
            begun = self._begin(name, session_id, f"mark-{self._process}-{number}")
            tell(_line(session_id, begun))
            ended = self._end(begun, session_id)
            tell(_line(session_id, ended))
            self._versions[session_id] = max(self._versions[session_id], ended.version or 0)

    def _begin(self, name: str, session_id: uuid.UUID, marker: str) -> Operation:
        version = self._versions[session_id] if OPERATIONS[name].names_version else None
        return Operation(
            self._process, name, time.monotonic_ns(), base_version=version, marker=marker, reads=OPERATIONS[name].reads
        )

    def _end(self, begun: Operation, session_id: uuid.UUID) -> Operation:
        """Carry out what was begun and return it with what was told."""
        try:
            told = OPERATIONS[begun.kind].run(Turn(session_id, self._versions[session_id], begun.marker))
        except AgentSessionsError as refusal:
            current = refusal.current if isinstance(refusal, VersionConflict) else None
            ended = replace(begun, outcome="refused", version=current, code=refusal.code)
        except (OperationalError, InterfaceError):
            connection.close()  # and connect again, as any client would
            return begun
        else:
            marker = told.shows if begun.reads else begun.marker
            ended = replace(begun, outcome="ok", version=told.version, seq=told.seq, marker=marker)
        return replace(ended, answered_at=time.monotonic_ns())

    def _lose_an_answer(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Now and then the network fails when the server has done what it was asked to."""
        answer = execute(sql, params, many, context)
        if connection.vendor == "postgresql" and support.statement(sql) and self._dice.random() < LOST_ANSWERS:
            connection.connection.close()
            raise OperationalError("The answer was lost.")
        return answer


@dataclass(slots=True)
class Load:
    """So many writers on so many sessions, for ``seconds`` and until each kind of operation has been acknowledged."""

    writers: int
    sessions: int
    seconds: float
    dice: random.Random
    killed: int = 0
    disconnected: int = 0

    def run(self) -> Record:
        """Let them write, killing or disconnecting one now and then; return what they were told, by session."""
        opened = [_open_session(number) for number in range(self.sessions)]
        stop = mmap.mmap(-1, 1)
        children: list[Child] = []  # all there ever were
        writing: list[Child] = []  # those that nobody has killed
        heard: list[Child] = []  # those whose last word has not come
        with ExitStack() as stack:

            def start_one() -> None:
                work = Writer(len(children) + 1, [one for one, _ in opened], self.dice.getrandbits(32), stop)
                child = stack.enter_context(Child(work))
                for known in (children, writing, heard):
                    known.append(child)

            def recorded() -> Record:
                return _record(opened, (line for child in children for line in child.told))

            for _ in range(self.writers):
                start_one()
            deadline = time.monotonic() + self.seconds
            while time.monotonic() < deadline or not _has_everything(recorded()):
                assert time.monotonic() < deadline + PATIENCE, "Not every kind of operation is ever acknowledged."
                _listen(heard, time.monotonic() + self.dice.uniform(0, 2 * BETWEEN_FAULTS))
                if self.dice.random() < 0.5 and self._disconnect_one():
                    continue
                killed = self.dice.choice([child for child in writing if _is_at_a_write(child)] or writing)
                killed.kill()
                writing.remove(killed)
                self.killed += 1
                start_one()
            stop[0] = 1
            _listen(heard, time.monotonic() + PATIENCE)
            assert not heard, "A writer hangs."
            ended = Counter(child.wait() for child in children)
            assert ended == {0: self.writers, signal.SIGKILL: self.killed}, ended
            return recorded()

    def _disconnect_one(self) -> bool:
        """End a connection on which something is being done, from the server's side; False where there is none."""
        if connection.vendor != "postgresql":
            return False
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend' AND state <> 'idle' ORDER BY pid"
            )
            busy = [pid for (pid,) in cursor.fetchall()]
            if busy:
                cursor.execute("SELECT pg_terminate_backend(%s)", [self.dice.choice(busy)])
                self.disconnected += 1
        return bool(busy)


def _open_session(number: int) -> tuple[uuid.UUID, Operation]:
    begun = Operation(0, "open", time.monotonic_ns(), marker=f"mark-0-{number}")
    session_id = support.open_session({"agent": {"marker": begun.marker}})
    return session_id, replace(begun, outcome="ok", answered_at=time.monotonic_ns(), version=1, seq=1)


def _listen(children: list[Child], until: float) -> None:
    """Hear what they tell until then, or until all have ended; who has ended is no longer among them."""
    while children and (seconds := until - time.monotonic()) > 0:
        for child in select.select(children, [], [], seconds)[0]:
            if not child.hear():
                children.remove(child)


def _is_at_a_write(child: Child) -> bool:
    """Tell whether the last that was heard of it is that it begins a write; it may be further by now."""
    if child.told[-1:] in ([], [_READY]):
        return False
    _, operation = _parse(child.told[-1])
    return operation.outcome == "unknown" and not operation.reads


def _line(session_id: uuid.UUID, operation: Operation) -> str:
    return json.dumps([str(session_id), asdict(operation)])


def _parse(line: str) -> tuple[uuid.UUID, Operation]:
    session_id, facts = json.loads(line)
    return uuid.UUID(session_id), Operation(**facts)


def _record(opened: Iterable[tuple[uuid.UUID, Operation]], lines: Iterable[str]) -> Record:
    """Put the lines together: what was told at the end of an operation replaces what was told at its beginning."""
    record: dict[uuid.UUID, dict[Any, Operation]] = {session_id: {0: operation} for session_id, operation in opened}
    for line in lines:
        if line != _READY:
            session_id, operation = _parse(line)
            record[session_id][operation.process, operation.invoked_at] = operation
    return {session_id: list(operations.values()) for session_id, operations in record.items()}


def _has_everything(record: Record) -> bool:
    operations = [operation for one in record.values() for operation in one]
    acknowledged = {operation.kind for operation in operations if operation.outcome == "ok"}
    outcomes = {operation.outcome for operation in operations if not operation.reads}
    return acknowledged >= OPERATIONS.keys() and outcomes == {"ok", "refused", "unknown"}
