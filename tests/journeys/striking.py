"""Something strikes at a named point of whatever is done: before or after a commit, one point after the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import OperationalError, connection

from tests.faults.support import Child

LEASE = timedelta(seconds=61)
"""After so long a request, or a run of a job, whose process is gone counts as dead."""
WRITES = ("INSERT", "UPDATE", "DELETE", "SELECT agent_sessions_write")
Act = Callable[[], Any]
Strike = Callable[[], None]


@contextmanager
def disturbed(number: int, strike: Strike, *, before: bool = True) -> Iterator[None]:
    """Let something strike at the ``number``-th point of the block: before or after a commit.

    A statement that writes outside of a transaction is a commit too. Without ``before`` the points are those after a
    commit: before the next one the database holds the same.
    """
    reached, commit = 0, connection.commit

    def reach() -> None:
        nonlocal reached
        reached += 1
        if reached == number:
            strike()

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.lstrip().startswith(WRITES) and not connection.in_atomic_block:
            reach()
        return result

    def watched_commit() -> None:
        if before:
            reach()
        commit()
        reach()

    connection.commit = watched_commit
    try:
        with connection.execute_wrapper(watch):
            yield
    finally:
        connection.commit = commit


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lose_the_answer() -> None:
    connection.connection.close()
    raise OperationalError("The answer was lost.")


def in_a_child(number: int, strike: Strike, act: Act, *, before: bool = True) -> bool:
    """Act in a process of its own; return whether it was killed."""

    def work(tell: Callable[..., None]) -> None:
        with disturbed(number, strike, before=before):
            act()

    with Child(work) as child:
        return child.wait() == signal.SIGKILL


def here(number: int, strike: Strike, act: Act) -> bool:
    """Act in this process; return whether it came to the point."""
    struck = False

    def note_and_strike() -> None:
        nonlocal struck
        struck = True
        strike()

    with disturbed(number, note_and_strike):
        act()
    connection.close()
    return struck
