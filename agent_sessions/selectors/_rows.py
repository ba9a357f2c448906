"""Raw SQL for the few queries that every call makes, through Django's own connection.

The ORM takes longer to build these queries than the database to answer them. Nearly all of the text runs on PostgreSQL
and SQLite alike; how a UUID and a time are stored differs, and that is settled here.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from agent_sessions.exceptions import InvalidValue, SessionBusy
from agent_sessions.models import Session

T = TypeVar("T")
_ATTEMPTS = 11
_LONGEST_WAIT = 0.8
"""Seconds between two attempts at most."""
_kept = threading.local()


def write_connection() -> BaseDatabaseWrapper:
    """Return the connection that sessions are written to; history is never decided on from a replica."""
    return connections[router.db_for_write(Session)]


def select(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows. On PostgreSQL JSON comes back parsed: cast it to text."""
    cursor = _postgres_cursor(connection) if connection.vendor == "postgresql" else connection.cursor()
    cursor.execute(sql, params)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _postgres_cursor(connection: BaseDatabaseWrapper) -> Any:
    """Return a cursor that sends parameters beside the statement and reads results as bytes, one per thread.

    Django's cursors write them into the statement, unless told otherwise, because not all of the ORM's SQL gives them
    types; ours does. That, and a cursor that still knows how to read the columns, spares a third of the driver's time.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    cursor: Any = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not connection.connection:
        from psycopg import Cursor
        from psycopg.pq import Format

        cursor = _kept.cursor = Cursor(connection.connection)
        cursor.format = Format.BINARY
    connection.validate_thread_sharing()
    # Wrapped by Django as its own are, so that errors are its own and hosts see the query.
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


def uuid_param(connection: BaseDatabaseWrapper, value: uuid.UUID) -> object:
    return value if connection.features.has_native_uuid_field else value.hex


def as_uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def time_param(connection: BaseDatabaseWrapper, value: datetime) -> object:
    return connection.ops.adapt_datetimefield_value(value)


def as_time(value: Any) -> datetime:
    """Read a time of the database; SQLite keeps it in UTC without saying so, as text or parsed by its driver."""
    moment: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def checked_limit(limit: int) -> int:
    """Return how many rows are wanted at most. Raises InvalidValue unless that is a whole number from 0."""
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise InvalidValue("/limit", "Send a whole number from 0.")
    return limit


def with_retries(what: str, attempt: Callable[[], T]) -> T:
    """Run ``attempt`` again while the database asks for that, unless the host's transaction is open around it.

    A lock, a deadlock or a serialization failure undoes the whole transaction; only its owner can repeat it. Raises
    SessionBusy if the database stays locked.
    """
    connection = write_connection()
    for number in range(_ATTEMPTS):
        try:
            return attempt()
        except OperationalError as error:
            if connection.in_atomic_block or not _is_transient(error):
                raise
            spread = min(0.02 * 2**number, _LONGEST_WAIT)
            time.sleep(random.uniform(0, spread))  # noqa: S311 - spreads writers, hides nothing
    raise SessionBusy(what)


def in_transaction(what: str, act: Callable[[], T]) -> T:
    """Run ``act`` in one transaction where sessions are written, again while the database asks for that.

    For changes of a session that come with rows of their own: let the change be the first statement, because it locks
    the session on every database. Raises SessionBusy.
    """

    def attempt() -> T:
        with transaction.atomic(using=write_connection().alias):
            return act()

    return with_retries(what, attempt)


def _is_transient(error: DatabaseError) -> bool:
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate in ("40001", "40P01") or "locked" in str(error)
