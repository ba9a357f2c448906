"""Keeping everybody else from changing a session while a caller works on it (V4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from agent_sessions.exceptions import InvalidValue, SessionBusy
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, lock_head

MAX_TIMEOUT = 60
"""Seconds that a caller can ask to wait."""
_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def locked_session(session_id: uuid.UUID, *, timeout: float = 5.0) -> Iterator[SessionHead]:
    """Lock a session for a block of code, in one transaction: nobody else changes it until the block ends (V4).

    Yields where the session stands; give that to ``change_session`` and the others. What the block wrote is undone if
    it raises. ``timeout``, in seconds, at most 60, is how long to wait for whoever has the lock. Others wait for this
    block as for any transaction, so do nothing slow in it. On SQLite it is the whole database that is locked.

    Raises SessionBusy if the lock is not to be had in time, SessionNotFound, InvalidValue.
    """
    if not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
        raise InvalidValue("/timeout", f"Send seconds: more than 0, at most {MAX_TIMEOUT}.")
    lock = _lock_on_postgresql if _rows.write_connection().vendor == "postgresql" else _lock_on_sqlite
    with ExitStack() as block:
        try:
            head = lock(block, _rows.write_connection(), session_id, max(1, int(timeout * 1000)))
        except OperationalError as error:
            if not _is_out_of_time(error):
                raise
            raise SessionBusy(f"Session {session_id}") from error
        yield head


def _lock_on_postgresql(
    block: ExitStack, connection: BaseDatabaseWrapper, session_id: uuid.UUID, milliseconds: int
) -> SessionHead:
    block.enter_context(transaction.atomic(using=connection.alias))
    set_timeout = "SELECT set_config('lock_timeout', %s, true)"
    ((before,),) = _rows.select(connection, "SELECT current_setting('lock_timeout')", [])
    # A savepoint: a host that catches the refusal goes on with its transaction, and with its own timeout.
    with transaction.atomic(using=connection.alias):
        _rows.select(connection, set_timeout, [f"{milliseconds}ms"])
        head = lock_head(session_id)
    _rows.select(connection, set_timeout, [before])
    return head


def _lock_on_sqlite(
    block: ExitStack, connection: BaseDatabaseWrapper, session_id: uuid.UUID, milliseconds: int
) -> SessionHead:
    ((before,),) = _rows.select(connection, "PRAGMA busy_timeout", [])
    # Before the transaction, because it takes the lock as it begins where transaction_mode is IMMEDIATE.
    _rows.select(connection, f"PRAGMA busy_timeout = {milliseconds:d}", [])
    try:
        block.enter_context(transaction.atomic(using=connection.alias))
        with transaction.atomic(using=connection.alias):
            return lock_head(session_id)
    finally:
        _rows.select(connection, f"PRAGMA busy_timeout = {before:d}", [])


def _is_out_of_time(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE or "locked" in str(error)
