"""The write itself: compare-and-set, version and event, all or nothing.

On PostgreSQL it is one statement (the function of migration 0002) and so one round trip with no transaction block;
inside a transaction of the host it becomes part of that; so are the events of an erasure. Elsewhere, and for the rare
other writes that also change something else of the session's row or add a message, it is the same statements in a short
transaction, the compare-and-set first: it decides the race, and SQLite cannot take a write lock after a read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Concat

from agent_sessions.domain.lifecycle import LIVE, Status
from agent_sessions.domain.references import PAST
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import AuditEvent, Message, Session, SessionKey, SessionReference, SessionVersion, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.types import JSONValue

_TYPES = (
    "uuid", "integer", "bytea", "integer", "timestamptz", "uuid", "smallint", "varchar", "bytea", "bytea", "integer",
    "bigint", "bytea", "bytea", "varchar", "varchar", "smallint", "bytea", "varchar[]", "varchar[]",
    "bytea", "bytea",
)  # fmt: skip
_GAP: Final = "would leave a gap"
"""What the guards of migration 0002 say of a row whose predecessor is not there."""
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
    """The version that the event makes; ``snapshot_version`` and ``patch_bytes`` are the session's new ones.

    ``added`` and ``removed`` are what the session depends on from now on, and what no longer (X2).
    """

    number: int
    uid: uuid.UUID
    schema: int
    patch: bytes
    snapshot: bytes | None
    snapshot_version: int
    patch_bytes: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    personal_patch: bytes | None = None
    personal_snapshot: bytes | None = None


@dataclass(frozen=True, slots=True)
class RowChange:
    """What a write changes of the session's row besides: its status, who has it, what is committed.

    ``told`` is what the event says of it in the clear. ``when_overdue`` is for sessions whose deadline has passed.
    """

    columns: Mapping[str, object]
    told: Mapping[str, JSONValue] = field(default_factory=dict)
    when_overdue: bool | None = False
    """True: only if the deadline has passed. False: only if it has not. None: either way, and revoked or not."""
    after_end: bool = False
    """For a session that has ended and for no other; its keys may be gone."""

    @property
    def ends(self) -> bool:
        return self.columns.get("status") == Status.ENDED.value


@dataclass(frozen=True, slots=True)
class MessageRow:
    number: int
    role: str
    body: bytes


def write(
    event: EventRow,
    version: VersionRow | None = None,
    *,
    row: RowChange | None = None,
    message: MessageRow | None = None,
) -> bool:
    """Store an event and the version it makes, if the session still stands where it was read.

    Return False, with nothing written, if it does not: another write came first, it is no longer live, or its data key
    was destroyed. The caller reads again to see which. Raises SessionBusy if the database stays locked, SessionDamaged
    if what should come before it is gone.
    """
    try:
        return _write(_rows.write_connection(), event, version, row, message)
    except IntegrityError as refused:
        if _GAP not in str(refused):
            raise
        raise SessionDamaged(event.session_id, "the end of its history is missing") from refused


def _write(
    connection: BaseDatabaseWrapper,
    event: EventRow,
    version: VersionRow | None,
    row: RowChange | None,
    message: MessageRow | None,
) -> bool:
    if connection.vendor == "postgresql" and row is None and message is None:
        return _rows.with_retries(f"Session {event.session_id}", lambda: _call_function(connection, event, version))
    if connection.vendor == "postgresql" and row is not None and row.after_end and version is None and message is None:
        changed = row
        return _rows.with_retries(f"Session {event.session_id}", lambda: _append(connection, event, changed))
    return _rows.with_retries(
        f"Session {event.session_id}", lambda: _write_rows(connection, event, version, row, message)
    )


def _call_function(connection: BaseDatabaseWrapper, event: EventRow, version: VersionRow | None) -> bool:
    number = uid = schema = patch = snapshot = snapshot_version = patch_bytes = added = removed = None
    personal_patch = personal_snapshot = None
    if version is not None:
        number, uid, schema, patch = version.number, version.uid, version.schema, version.patch
        snapshot, snapshot_version, patch_bytes = version.snapshot, version.snapshot_version, version.patch_bytes
        added, removed = list(version.added) or None, list(version.removed) or None
        personal_patch, personal_snapshot = version.personal_patch, version.personal_snapshot
    params = (
        event.session_id, event.head_seq, event.head_hash, number, event.now, uid, schema, event.kind, patch,
        snapshot, snapshot_version, patch_bytes, event.canonical, event.hash, event.capability,
        event.policy_result, event.response_status, event.private, added, removed,
        personal_patch, personal_snapshot,
    )  # fmt: skip
    return bool(_rows.select(connection, _CALL, params)[0][0])


def _append(connection: BaseDatabaseWrapper, event: EventRow, row: RowChange) -> bool:
    """Change the row of a session that has ended and add the event, in one statement: a purge makes many of them."""
    changes = "".join(f', "{name}" = %s' for name in row.columns)
    statement = f"""WITH moved AS (
            UPDATE agent_sessions_session SET head_seq = %s, head_hash = %s, updated_at = %s{changes}
            WHERE id = %s AND head_seq = %s AND head_hash = %s AND status = %s RETURNING id, head_seq, updated_at)
        INSERT INTO agent_sessions_auditevent (session_id, seq, created_at, response_status, kind, capability,
            policy_result, canonical, private)
        SELECT id, head_seq, updated_at, %s, %s, %s, %s, %s, %s FROM moved RETURNING seq"""  # noqa: S608 - our columns
    params = [
        event.head_seq + 1, event.hash, event.now, *row.columns.values(),
        event.session_id, event.head_seq, event.head_hash, Status.ENDED.value,
        event.response_status, event.kind, event.capability, event.policy_result, event.canonical, event.private,
    ]  # fmt: skip
    return bool(_rows.select(connection, statement, params))


def _write_rows(
    connection: BaseDatabaseWrapper,
    event: EventRow,
    version: VersionRow | None,
    row: RowChange | None,
    message: MessageRow | None,
) -> bool:
    alias = connection.alias
    changes: dict[str, object] = {"head_seq": event.head_seq + 1, "head_hash": event.hash, "updated_at": event.now}
    # Nothing changes the state of a paused session; what happens to it is still recorded.
    statuses = [Status.ACTIVE.value] if version is not None and row is None else [status.value for status in LIVE]
    if row is not None and row.after_end:
        statuses = [Status.ENDED.value]
    expected = Q(pk=event.session_id, head_seq=event.head_seq, head_hash=event.head_hash, status__in=statuses)
    if row is None or not row.after_end:
        # A writer who remembers a key that was destroyed since must not seal with it.
        expected &= Q(Exists(SessionKey.objects.filter(pk=OuterRef("pk"))))
    if row is not None and row.after_end:
        pass
    elif row is None or row.when_overdue is False:
        # As a subquery of its own: a join would make Django wrap the session in a second SELECT, which PostgreSQL
        # does not look at again after waiting for another writer.
        expected &= Q(expires_at__gt=event.now) & Q(
            Exists(SiteKey.objects.filter(pk=OuterRef("token_key_id"), revoked_at__isnull=True))
        )
    elif row.when_overdue:
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
    if row is not None:
        changes |= row.columns
    with transaction.atomic(using=alias):
        if not Session.objects.using(alias).filter(expected).update(**changes):
            return False
        store_history(alias, event, version, message)
        if row is not None and row.ends:
            # Out of the way of what looks for live sessions; staff still find by it what was in the cart.
            references = SessionReference.objects.using(alias).filter(session_id=event.session_id)
            references.update(ref=Concat(Value(PAST), F("ref")))
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
            personal_patch=version.personal_patch,
            personal_snapshot=version.personal_snapshot,
        )
        references = SessionReference.objects.using(alias)
        if version.removed:
            references.filter(session_id=event.session_id, ref__in=version.removed).delete()
        if version.added:
            references.bulk_create(
                [SessionReference(session_id=event.session_id, ref=ref) for ref in version.added], ignore_conflicts=True
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
