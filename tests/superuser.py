"""What someone with all rights on the database can do to it, past every trigger and foreign key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection

from agent_sessions.audit.events import event_hash
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.models import AuditEvent, Session


@contextmanager
def superuser() -> Iterator[Any]:
    """A cursor that nothing stands in the way of."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
            yield cursor
            cursor.execute("SET session_replication_role = origin")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            yield cursor
            for _, sql in triggers:
                cursor.execute(sql)


def run_sql(*statements: str | tuple[str, list[Any]]) -> None:
    """Run statements that have something to do."""
    with superuser() as cursor:
        for statement in statements:
            sql, parameters = (statement, []) if isinstance(statement, str) else statement
            cursor.execute(sql, parameters)
            assert cursor.rowcount, f"nothing to attack: {sql}"


def tables() -> list[str]:
    """The package's tables; foreign keys between them are looked at when it is committed, if ever."""
    return [model._meta.db_table for model in apps.get_app_config("agent_sessions").get_models()]


class Backup:
    """All rows of the package as they are now, to go back to."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            for table in tables():
                cursor.execute(f"CREATE TEMPORARY TABLE backup_{table} AS SELECT * FROM {table}")

    def restore(self) -> None:
        with superuser() as cursor:
            for table in reversed(tables()):
                cursor.execute(f"DELETE FROM {table}")
            for table in tables():
                cursor.execute(f"INSERT INTO {table} SELECT * FROM backup_{table}")

    def restore_session(self, session_id: UUID) -> None:
        """Go back with one session alone."""
        delete_session(session_id)
        with superuser() as cursor:
            for table, column in _session_tables():
                cursor.execute(
                    f"INSERT INTO {table} SELECT * FROM backup_{table} WHERE {column} = %s", [key(session_id)]
                )


def key(session_id: UUID) -> object:
    """A session's id as the database's own columns hold it."""
    return session_id if connection.features.has_native_uuid_field else session_id.hex


def _session_tables() -> list[tuple[str, str]]:
    """The tables with rows of one session, and their column that says of which."""
    found = []
    for model in apps.get_app_config("agent_sessions").get_models():
        names = {field.column for field in model._meta.concrete_fields}
        if model is Session or "session_id" in names:
            found.append((model._meta.db_table, "id" if model is Session else "session_id"))
    return found


def delete_session(session_id: UUID) -> None:
    """Leave nothing of a session in any table but the log's."""
    with superuser() as cursor:
        for table, column in reversed(_session_tables()):
            cursor.execute(f"DELETE FROM {table} WHERE {column} = %s", [key(session_id)])


def delete_event(session_id: UUID, seq: int) -> None:
    run_sql(("DELETE FROM agent_sessions_auditevent WHERE session_id = %s AND seq = %s", [key(session_id), seq]))


def edit_event(session_id: UUID, seq: int, **members: Any) -> None:
    """Write other members into an event, and into the columns beside it."""
    stored = AuditEvent.objects.get(session_id=session_id, seq=seq)
    event = {**json.loads(bytes(stored.canonical)), **members}
    with superuser():
        AuditEvent.objects.filter(session_id=session_id, seq=seq).update(
            canonical=canonical_bytes(event), kind=event["kind"], response_status=event["response_status"]
        )


def chain_again(session_id: UUID) -> None:
    """Make numbers, links and the session's row fit the events that are there, as nothing but the log can deny."""
    hashes: list[str] = []
    with superuser():
        rows = AuditEvent.objects.filter(session_id=session_id)
        for number, stored in enumerate(rows.order_by("seq"), 1):
            event = {**json.loads(bytes(stored.canonical)), "seq": number, "prev_hash": hashes[-1] if hashes else ""}
            rows.filter(seq=stored.seq).update(seq=number, canonical=canonical_bytes(event))
            hashes.append(event_hash(canonical_bytes(event)))
        last = rows.get(seq=len(hashes))
        Session.objects.filter(pk=session_id).update(
            head_seq=len(hashes), head_hash=bytes.fromhex(hashes[-1]), updated_at=last.created_at
        )
