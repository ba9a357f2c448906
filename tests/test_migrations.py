"""What the migrations make: tables as the models say, and guards that the ORM cannot express (V1, A1)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.models import AuditEvent, Message, SessionVersion
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.stored import everything_stored


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "agent_sessions", check=True, dry_run=True, stdout=StringIO())


# Guards: what is written is not written again

COLUMNS: dict[type[Any], tuple[str, ...]] = {
    SessionVersion: (
        "number", "event_seq", "schema", "patch", "snapshot", "personal_patch", "personal_snapshot",
    ),
    AuditEvent: (
        "created_at", "seq", "version", "response_status", "kind", "capability", "policy_result", "canonical",
        "private",
    ),
    Message: ("number", "role", "body", "event_seq", "created_at"),
}  # fmt: skip
ERASABLE = {
    (SessionVersion, "patch"),
    (SessionVersion, "snapshot"),
    (SessionVersion, "personal_patch"),
    (SessionVersion, "personal_snapshot"),
    (AuditEvent, "private"),
    (Message, "body"),
}
OTHER: dict[str, Any] = {
    "created_at": timezone.now(), "kind": "cart.paid", "capability": "pay", "policy_result": "deny", "role": "staff",
    "canonical": b"{}", "patch": b"x", "snapshot": b"x", "personal_patch": b"x",
    "personal_snapshot": b"x", "private": b"x", "body": b"x",
}  # fmt: skip
"""Another value of each column; numbers get 77."""


def test_the_guards_know_every_column() -> None:
    """A column that is added later needs its guard too."""
    for model, columns in COLUMNS.items():
        assert {field.column for field in model._meta.concrete_fields} - {"session_id"} == set(columns)


@pytest.mark.django_db
@pytest.mark.parametrize("model", COLUMNS)
def test_history_is_not_rewritten(live: OpenedSession, model: Any) -> None:
    """V1, A1: no column of it, by no UPDATE, whoever sends it."""
    before = everything_stored()

    for column in COLUMNS[model]:
        with pytest.raises(DatabaseError, match="written again"), transaction.atomic():
            model.objects.filter(session_id=live.session_id).update(**{column: OTHER.get(column, 77)})

    assert everything_stored() == before


@pytest.mark.django_db
@pytest.mark.parametrize("model", COLUMNS)
def test_history_does_not_move_to_another_session(live: OpenedSession, opened: Any, model: Any) -> None:
    other = opened()

    with pytest.raises(DatabaseError, match="written again"), transaction.atomic():
        model.objects.filter(session_id=live.session_id).update(session_id=other.session_id)


@pytest.mark.django_db
@pytest.mark.parametrize(("model", "column"), sorted(ERASABLE, key=str))
def test_sealed_columns_can_be_emptied_and_not_filled_again(live: OpenedSession, model: Any, column: str) -> None:
    """A5, A7: purging is allowed, inventing is not."""
    rows = model.objects.filter(session_id=live.session_id)

    assert rows.update(**{column: None}) == rows.count() > 0

    with pytest.raises(DatabaseError, match="written again"), transaction.atomic():
        rows.update(**{column: b"invented"})
    assert not rows.exclude(**{column: None}).exists()


@pytest.mark.django_db
def test_an_update_that_changes_nothing_is_no_rewriting(live: OpenedSession) -> None:
    version = SessionVersion.objects.get(session_id=live.session_id, number=2)

    assert SessionVersion.objects.filter(pk=version.pk).update(schema=version.schema, patch=version.patch) == 1


# Guards: rows without gaps


def version_row(session_id: uuid.UUID, number: int) -> SessionVersion:
    return SessionVersion(session_id=session_id, number=number, schema=1, event_seq=number, patch=b"x")


def event_row(session_id: uuid.UUID, number: int) -> AuditEvent:
    return AuditEvent(
        session_id=session_id, seq=number, canonical=b"{}", kind="a.b", policy_result="allow",
        response_status=200, created_at=timezone.now(),
    )  # fmt: skip


def message_row(session_id: uuid.UUID, number: int) -> Message:
    return Message(
        session_id=session_id, number=number, role="user", body=b"x", event_seq=number, created_at=timezone.now()
    )


MAKERS = {"version": (version_row, 4), "event": (event_row, 7), "message": (message_row, 2)}
"""How to make a row, and the last number that the ``live`` session has."""


@pytest.mark.django_db
@pytest.mark.parametrize(("make", "last"), MAKERS.values(), ids=MAKERS.keys())
def test_a_row_goes_in_only_after_the_one_before(live: OpenedSession, make: Any, last: int) -> None:
    """V1: numbered without gaps."""
    before = everything_stored()

    for number in (last + 2, last + 100):
        with pytest.raises(DatabaseError, match="gap"), transaction.atomic():
            make(live.session_id, number).save(force_insert=True)
    for number in (0, -1):
        with pytest.raises(DatabaseError), transaction.atomic():
            make(live.session_id, number).save(force_insert=True)

    assert everything_stored() == before
    make(live.session_id, last + 1).save(force_insert=True)


@pytest.mark.django_db
@pytest.mark.parametrize(("make", "last"), MAKERS.values(), ids=MAKERS.keys())
def test_a_number_is_given_once(live: OpenedSession, make: Any, last: int) -> None:
    """V1: whoever comes second has lost."""
    with pytest.raises(IntegrityError), transaction.atomic():
        make(live.session_id, last).save(force_insert=True)


@pytest.mark.django_db
@pytest.mark.parametrize("make", [make for make, _ in MAKERS.values()], ids=MAKERS.keys())
def test_a_first_row_needs_its_session(make: Any) -> None:
    """The guards stand in for the foreign keys."""
    with pytest.raises(IntegrityError), transaction.atomic():
        make(uuid.uuid4(), 1).save(force_insert=True)


# Back and forth


@pytest.fixture
def migrated_again() -> Iterator[None]:
    yield
    call_command("migrate", "agent_sessions", verbosity=0)


def our_tables() -> set[str]:
    return {table for table in connection.introspection.table_names() if table.startswith("agent_sessions_")}


def leftovers() -> int:
    """Triggers and functions of ours."""
    sql = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'agent_sessions_%%'"
    if connection.vendor == "postgresql":
        sql = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'agent_sessions_%%'"
    with connection.cursor() as cursor:
        cursor.execute(sql, [])
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_migrations_go_back_to_nothing_and_forth_again(opened: Any, migrated_again: None) -> None:
    """I1: uninstalling leaves nothing behind."""
    opened()
    tables = {model._meta.db_table for model in apps.get_app_config("agent_sessions").get_models()}
    assert our_tables() == tables
    assert leftovers() > 0

    call_command("migrate", "agent_sessions", "zero", verbosity=0)

    assert our_tables() == set()
    assert leftovers() == 0

    call_command("migrate", "agent_sessions", verbosity=0)

    assert our_tables() == tables
    one = opened(state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(a=2))
    assert selectors.verify_session(one.session_id).ok
    with pytest.raises(DatabaseError, match="written again"), transaction.atomic():
        SessionVersion.objects.update(schema=9)
