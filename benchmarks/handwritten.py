"""The opponent: what an engineer writes by hand when a session is one row of plain JSON.

One transaction of the same three statements: compare-and-set of the session row with its whole new state,
insert of the version with its patch, insert of the event, hashed and chained. Same driver, same database
options, same primary keys, and foreign keys where the package's tables have triggers that cost what foreign
keys would. It neither encrypts nor validates, serialises with the standard library's json, keeps the state
and the head of its chain in memory between changes (so it reads nothing), and reuses one cursor.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import transaction
from psycopg.types.json import Jsonb

from benchmarks import workload
from benchmarks.models import PlainEvent, PlainSession, PlainVersion

NAME = "hand-written"
TABLES = "bench\\_%"
UPDATED_TABLE = "bench_session"
_SCHEMA = """
CREATE TABLE bench_session{suffix} (
    id uuid PRIMARY KEY, version integer NOT NULL, status varchar(16) NOT NULL,
    updated_at timestamptz NOT NULL, expires_at timestamptz NOT NULL, state {column} NOT NULL);
CREATE TABLE bench_version{suffix} (
    session_id uuid NOT NULL {references}, number integer NOT NULL, kind varchar(64) NOT NULL,
    actor varchar(80) NOT NULL, created_at timestamptz NOT NULL, patch jsonb NOT NULL,
    PRIMARY KEY (session_id, number));
CREATE TABLE bench_event{suffix} (
    session_id uuid NOT NULL {references}, seq integer NOT NULL, kind varchar(64) NOT NULL,
    created_at timestamptz NOT NULL, event text NOT NULL, hash bytea NOT NULL,
    PRIMARY KEY (session_id, seq));
"""
# As Django makes them.
_REFERENCES = "REFERENCES bench_session{suffix} DEFERRABLE INITIALLY DEFERRED"
VARIANTS = {"": ("jsonb", _REFERENCES), "_text": ("text", _REFERENCES), "_loose": ("jsonb", "")}
"""Suffix of the tables -> type of the state's column, what the history rows refer to."""


def create_tables() -> None:
    with connect() as connection:
        for suffix, (column, references) in VARIANTS.items():
            references = references.format(suffix=suffix)
            for statement in _SCHEMA.format(suffix=suffix, column=column, references=references).split(";\n"):
                connection.execute(statement)


KIND = "cart.item_added"
ACTOR = "agent:bench"


def connection_parameters(name: str | None = None) -> dict[str, Any]:
    database = settings.DATABASES["default"]
    wanted = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"]}
    wanted |= {"password": database["PASSWORD"], "dbname": name or database["NAME"]}
    return {key: value for key, value in wanted.items() if value}


def connect(*, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Connect as Django does with the options in force: same cursor class, same use of prepared statements."""
    options = settings.DATABASES["default"]["OPTIONS"]
    factory = psycopg.Cursor if options.get("server_side_binding") else psycopg.ClientCursor
    return psycopg.connect(
        **connection_parameters(),
        autocommit=autocommit,
        cursor_factory=factory,
        prepare_threshold=options.get("prepare_threshold"),
    )


class PlainJSONSession:
    """A session as one plain row, rewritten whole by each change."""

    def __init__(
        self, kb: int, *, suffix: str = "", session_id: uuid.UUID | None = None, only_reads: bool = False
    ) -> None:
        column, _ = VARIANTS[suffix]
        self.dump = Jsonb if column == "jsonb" else json.dumps
        self.load = (lambda value: value) if column == "jsonb" else json.loads
        self.update = (
            f"UPDATE bench_session{suffix} SET state = %s, version = %s, updated_at = %s WHERE id = %s AND version = %s"
        )
        self.insert_version = (
            f"INSERT INTO bench_version{suffix} (session_id, number, kind, actor, created_at, patch) "
            "VALUES (%s, %s, %s, %s, %s, %s)"
        )
        self.insert_event = (
            f"INSERT INTO bench_event{suffix} (session_id, seq, kind, created_at, event, hash) "
            "VALUES (%s, %s, %s, %s, %s, %s)"
        )
        self.select = f"SELECT version, state FROM bench_session{suffix} WHERE id = %s"
        self.select_with_head = (
            f"SELECT s.version, s.state, e.hash FROM bench_session{suffix} s LEFT JOIN bench_event{suffix} e "
            "ON e.session_id = s.id AND e.seq = s.version WHERE s.id = %s"
        )
        self.connection = connect()
        self.cursor = self.connection.cursor()
        self.state = workload.state_of(kb)
        self.changes = workload.changes(self.state)
        self.version, self.head = 1, b""
        self.id = session_id or self._open(suffix)
        # A read needs no transaction block.
        self.connection.autocommit = only_reads

    def _open(self, suffix: str) -> uuid.UUID:
        new, now = uuid.uuid4(), datetime.now(UTC)
        self.cursor.execute(
            f"INSERT INTO bench_session{suffix} (id, version, status, updated_at, expires_at, state) "
            "VALUES (%s, 1, 'active', %s, %s, %s)",
            (new, now, now + timedelta(minutes=30), self.dump(self.state)),
        )
        self.connection.commit()
        return new

    def change(self) -> bool:
        """Change a line. Returns False, with nothing written, when another writer was there first."""
        key, line = next(self.changes)
        self.state["shopping"]["lines"][key] = line
        now, version = datetime.now(UTC), self.version + 1
        patch = workload.patch_of(key, line)
        event, head = event_of(self.id, version, now, patch, self.head)
        execute = self.cursor.execute
        execute(self.update, (self.dump(self.state), version, now, self.id, self.version))
        if self.cursor.rowcount != 1:
            self.connection.rollback()
            return False
        execute(self.insert_version, (self.id, version, KIND, ACTOR, now, Jsonb(patch)))
        execute(self.insert_event, (self.id, version, KIND, now, event, head))
        self.connection.commit()
        self.version, self.head = version, head
        return True

    def read(self) -> workload.State:
        self.cursor.execute(self.select, (self.id,))
        self.version, state = self.cursor.fetchone()
        return self.load(state)

    def read_then_change(self) -> None:
        """Change without memory, as a web request does: the row is read first, in the same transaction."""
        assert self._reread_and_change(), "nobody else changes this session"

    def contend(self) -> int:
        """Read, decide, change, and again until it is written. Returns how many tries were refused."""
        refused = 0
        while not self._reread_and_change():
            refused += 1
        return refused

    def _reread_and_change(self) -> bool:
        self.cursor.execute(self.select_with_head, (self.id,))
        self.version, state, head = self.cursor.fetchone()
        self.state, self.head = self.load(state), head or b""
        return self.change()

    def change_through_orm(self) -> None:
        key, line = next(self.changes)
        self.state["shopping"]["lines"][key] = line
        now, version = datetime.now(UTC), self.version + 1
        patch = workload.patch_of(key, line)
        event, head = event_of(self.id, version, now, patch, self.head)
        with transaction.atomic():
            rows = PlainSession.objects.filter(pk=self.id, version=self.version)
            assert rows.update(state=self.state, version=version, updated_at=now) == 1
            PlainVersion.objects.create(
                session_id=self.id, number=version, kind=KIND, actor=ACTOR, created_at=now, patch=patch
            )
            PlainEvent.objects.create(
                session_id=self.id, seq=version, kind=KIND, created_at=now, event=event, hash=head
            )
        self.version, self.head = version, head


def event_of(
    session_id: uuid.UUID, version: int, now: datetime, patch: dict[str, Any], previous: bytes
) -> tuple[str, bytes]:
    """Write the event down as sorted JSON of about 600 bytes and chain it to the one before."""
    digest = hashlib.sha256(json.dumps(patch, sort_keys=True).encode()).hexdigest()
    event = json.dumps(
        {
            "type": "session.changed",
            "session": str(session_id),
            "seq": version,
            "version": version,
            "kind": KIND,
            "actor": {"type": "agent", "name": "bench", "version": "1.0", "operator": "Benchmarks Ltd"},
            "merchant": "default",
            "capability": "cart.add",
            "policy": {"result": "allow", "rule": "default"},
            "response": {"status": 200},
            "paths": ["/shopping/lines"],
            "patch_sha256": digest,
            "previous": previous.hex(),
            "at": now.isoformat(),
            "site": "https://shop.example",
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return event, hashlib.sha256(previous + event.encode()).digest()
