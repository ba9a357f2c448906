"""The write itself: compare-and-set, version and event, all or nothing.

On PostgreSQL it is one statement (the function of migration 0002) and so one round trip with no transaction block;
inside a transaction of the host it becomes part of that. Elsewhere, and for the rare writes that also end a session
or add a message, it is the same statements in a short transaction, the compare-and-set first: it decides the race, and
SQLite cannot take a write lock after a read.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, OuterRef, Q

from agent_sessions.domain.lifecycle import Status
from agent_sessions.models import AuditEvent, Message, Session, SessionKey, SessionVersion, SiteKey
from agent_sessions.selectors import _rows

_TYPES = (
    "uuid", "integer", "bytea", "integer", "timestamptz", "uuid", "smallint", "varchar", "bytea", "bytea", "integer",
    "bigint", "bytea", "bytea", "varchar", "varchar", "smallint", "bytea",
)  # fmt: skip
_CALL = f"SELECT agent_sessions_write_1({', '.join('%s::' + name for name in _TYPES)})"


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event ready to be stored after the one that ``head_seq`` and ``head_hash`` name.

    The hash pins everything that was read: it covers all events before it, and with them version and state.
    """

    session_id: uuid.UUID
    head_seq: int
    head_hash: bytes
    now: datetime
    kind: str
    canonical: bytes
    hash: bytes
    capability: str
    policy_result: str
    response_status: int
    private: bytes | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """The version that the event makes; ``snapshot_version`` and ``patch_bytes`` are the session's new ones."""

    number: int
    uid: uuid.UUID
    schema: int
    patch: bytes
    snapshot: bytes | None
    snapshot_version: int
    patch_bytes: int


@dataclass(frozen=True, slots=True)
class EndRow:
    """How the session ends with this write; ``when_overdue`` is for sessions whose deadline has passed."""

    ended_at: datetime
    end_reason: str
    when_overdue: bool | None
    """True: only if the deadline has passed. False: only if it has not. None: either way, and revoked or not."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    number: int
    role: str
    body: bytes


def write(
    event: EventRow,
    version: VersionRow | None = None,
    *,
    end: EndRow | None = None,
    message: MessageRow | None = None,
) -> bool:
    """Store an event and the version it makes, if the session still stands where it was read.

    Return False, with nothing written, if it does not: another write came first, it is no longer live, or its data key
    was destroyed. The caller reads again to see which. Raises SessionBusy if the database stays locked.
    """
    connection = _rows.write_connection()
    if connection.vendor == "postgresql" and end is None and message is None:
        return _rows.with_retries(f"Session {event.session_id}", lambda: _call_function(connection, event, version))
    return _rows.with_retries(
        f"Session {event.session_id}", lambda: _write_rows(connection, event, version, end, message)
    )


def _call_function(connection: BaseDatabaseWrapper, event: EventRow, version: VersionRow | None) -> bool:
    number = uid = schema = patch = snapshot = snapshot_version = patch_bytes = None
    if version is not None:
        number, uid, schema, patch = version.number, version.uid, version.schema, version.patch
        snapshot, snapshot_version, patch_bytes = version.snapshot, version.snapshot_version, version.patch_bytes
    params = (
        event.session_id, event.head_seq, event.head_hash, number, event.now, uid, schema, event.kind, patch,
        snapshot, snapshot_version, patch_bytes, event.canonical, event.hash, event.capability,
        event.policy_result, event.response_status, event.private,
    )  # fmt: skip
    return bool(_rows.select(connection, _CALL, params)[0][0])


def _write_rows(
    connection: BaseDatabaseWrapper,
    event: EventRow,
    version: VersionRow | None,
    end: EndRow | None,
    message: MessageRow | None,
) -> bool:
    alias = connection.alias
    changes: dict[str, object] = {"head_seq": event.head_seq + 1, "head_hash": event.hash, "updated_at": event.now}
    expected = Q(pk=event.session_id, head_seq=event.head_seq, head_hash=event.head_hash, status=Status.ACTIVE.value)
    # A writer who remembers a key that was destroyed since must not seal with it.
    expected &= Q(Exists(SessionKey.objects.filter(pk=OuterRef("pk"))))
    if end is None or end.when_overdue is False:
        # As a subquery of its own: a join would make Django wrap the session in a second SELECT, which PostgreSQL
        # does not look at again after waiting for another writer.
        expected &= Q(expires_at__gt=event.now) & Q(
            Exists(SiteKey.objects.filter(pk=OuterRef("token_key_id"), revoked_at__isnull=True))
        )
    elif end.when_overdue:
        expected &= Q(expires_at__lte=event.now)
    if version is not None:
        expected &= Q(version=version.number - 1)
        changes |= {
            "version": version.number,
            "version_uid": version.uid,
            "schema": version.schema,
            "snapshot_version": version.snapshot_version,
            "patch_bytes": version.patch_bytes,
        }
    if end is not None:
        changes |= {"status": Status.ENDED.value, "ended_at": end.ended_at, "end_reason": end.end_reason}
    with transaction.atomic(using=alias):
        if not Session.objects.using(alias).filter(expected).update(**changes):
            return False
        store_history(alias, event, version, message)
    return True


def store_history(alias: str, event: EventRow, version: VersionRow | None, message: MessageRow | None = None) -> None:
    """Insert the rows of one write, in the caller's transaction."""
    seq = event.head_seq + 1
    if version is not None:
        SessionVersion.objects.using(alias).create(
            session_id=event.session_id,
            number=version.number,
            event_seq=seq,
            schema=version.schema,
            patch=version.patch,
            snapshot=version.snapshot,
        )
    AuditEvent.objects.using(alias).create(
        session_id=event.session_id,
        seq=seq,
        canonical=event.canonical,
        kind=event.kind,
        capability=event.capability,
        policy_result=event.policy_result,
        response_status=event.response_status,
        version=None if version is None else version.number,
        created_at=event.now,
        private=event.private,
    )
    if message is not None:
        Message.objects.using(alias).create(
            session_id=event.session_id,
            number=message.number,
            role=message.role,
            body=message.body,
            event_seq=seq,
            created_at=event.now,
        )
