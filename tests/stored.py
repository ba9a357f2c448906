"""What the database really holds: every column of every table, past the models."""

from __future__ import annotations

from typing import Any

from django.db import connection

Rows = dict[str, list[tuple[Any, ...]]]


def everything_stored() -> Rows:
    """Return all rows of all tables, so that two calls compare equal exactly if nothing was written between."""
    with connection.cursor() as cursor:
        stored: Rows = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows = [tuple(map(_plain, row)) for row in cursor.fetchall()]
            stored[table] = sorted(rows, key=repr)
    return stored


def is_stored(text: str | bytes) -> bool:
    """Tell whether ``text`` stands anywhere in any column of any table, bytes and JSON included."""
    wanted = text.encode() if isinstance(text, str) else text
    return any(
        wanted in (value if isinstance(value, bytes) else str(value).encode())
        for rows in everything_stored().values()
        for row in rows
        for value in row
    )


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value
