"""Reading tables of any size: in one snapshot, in order, a few thousand rows in memory at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import transaction

from agent_sessions.selectors._rows import write_connection

_CHUNK: Final = 2000

Row = tuple[Any, ...]


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything as it was at one moment, whatever is written meanwhile; a shop goes on selling.

    From the primary, for a replica may lag behind the sinks. On SQLite writers wait, unless its journal is a WAL.
    Inside a transaction of the caller's what is seen is up to that one.
    """
    connection = write_connection()
    begins = not connection.in_atomic_block
    with transaction.atomic(using=connection.alias):
        if begins and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def stream(sql: str, parameters: Sequence[int] = ()) -> Iterator[Row]:
    """Yield the rows of a query. On PostgreSQL the cursor is the server's, even where the host turned those off.

    A host does so for a pooler that hands out connections by transaction; there is one transaction here.
    """
    connection = write_connection()
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, parameters)
        while rows := cursor.fetchmany(_CHUNK):
            yield from rows


class Merged:
    """Rows in the order of their first column, of which those with one key can be taken: one side of a merge."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.row: Row | None = next(rows, None)

    def key(self) -> Any:
        return None if self.row is None else self.row[0]

    def of(self, key: object) -> Iterator[Row]:
        """Take the rows with this key."""
        while self.row is not None and self.row[0] == key:
            row = self.row
            self.row = next(self._rows, None)
            yield row


def merged(*sides: Merged) -> Iterator[Any]:
    """Yield every key that one of the sides has, in order. Take all its rows from each before the next."""
    while keys := [side.key() for side in sides if side.row is not None]:
        yield min(keys)


def by_session(rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows with their first column as the UUID that it is; SQLite keeps its digits."""
    for row in rows:
        yield (row[0] if isinstance(row[0], uuid.UUID) else uuid.UUID(row[0]), *row[1:])
