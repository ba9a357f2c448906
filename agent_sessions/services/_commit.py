"""The one way to write: whatever changes a session, or is recorded of it, goes through ``commit``.

It reads where the session stands, applies the patch, seals it, makes the event, and hands both to ``_write``, which
stores all of it or nothing. If another write came first it looks again: a change that was based on the old version is
refused with what has changed since, and everything else goes behind the other write.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from django.db import InternalError, transaction
from django.utils import timezone

from agent_sessions.domain import state as shapes
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.domain.migrations import migrate
from agent_sessions.domain.patch import diff
from agent_sessions.exceptions import (
    AgentSessionsError,
    ContentErased,
    KeyProblem,
    SessionBusy,
    SessionDamaged,
    SessionRevoked,
    VersionConflict,
)
from agent_sessions.models import Session
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import (
    SessionHead,
    lock_head,
    read_head,
    require_changeable,
    require_live,
    require_open,
)
from agent_sessions.selectors._keys import DataKeys
from agent_sessions.selectors._states import current, replay
from agent_sessions.services import _write
from agent_sessions.services._entries import Draft, event_row, moved, version_row
from agent_sessions.services._payment_data import check_draft
from agent_sessions.services._quarantine import closing_damaged
from agent_sessions.services._voiding import void_stored, voided_by
from agent_sessions.signals import session_changed
from agent_sessions.types import JSONValue

MIGRATED = "state.migrated"
_RACES = 4


@dataclass(frozen=True, slots=True)
class Committed:
    """What a write made: the event's number in the chain and its id, and the version that it led to or found.

    ``created_at`` is UTC.
    """

    session_id: uuid.UUID
    version: int
    seq: int
    event_id: uuid.UUID
    kind: str
    created_at: datetime


Changing = Callable[[SessionHead, datetime], _write.RowChange]
Adding = Callable[[SessionHead, DataKeys], _write.MessageRow]


def commit(
    session: SessionHead | uuid.UUID, draft: Draft, *, row: Changing | None = None, message: Adding | None = None
) -> Committed:
    """Write ``draft`` as the session's next event and, if it has a patch, as its next version.

    ``row`` and ``message`` are asked, for the session as it stands, what else of its row changes and which message is
    added. Who gives a ``row`` decides in it whether the session may be changed.

    Raises VersionConflict, SessionEnded and its kinds, SessionPaused, SessionHeld, SessionQuarantined, ContentErased,
    SchemaUnknown, InvalidValue, PaymentDataRefused, LimitExceeded, KeyProblem, SessionBusy; then nothing was written.
    """
    if not draft.repeats:
        check_draft(draft)
    session_id = session.session_id if isinstance(session, SessionHead) else session
    known = session if isinstance(session, SessionHead) else _cache.head_at(session, draft.expected_version)
    with closing_damaged(session_id):
        if known is None:
            return _commit(read_head(session_id), draft, row, message)
        return _commit_from_memory(known, draft, row, message)


def in_any_standing(head: SessionHead, told: Mapping[str, JSONValue]) -> _write.RowChange:
    """Let in an event that tells ``told``, whether the session is live, overdue, revoked or has ended.

    For what others do about a session, which changes nothing of it. Raises SessionQuarantined.
    """
    require_open(head)
    if head.status in LIVE:
        return _write.RowChange({}, told=told, when_overdue=None)
    return _write.RowChange({}, told=told, after_end=True)


def _commit_from_memory(head: SessionHead, draft: Draft, row: Changing | None, message: Adding | None) -> Committed:
    try:
        return _commit(head, draft, row, message)
    except AgentSessionsError as refusal:
        # What is remembered may be old, or never have been committed: nobody is refused for that.
        try:
            fresh = read_head(head.session_id)
        except InternalError:  # PostgreSQL has given up the caller's transaction, and answers nothing more in it
            raise refusal from None
        if fresh.head_hash == head.head_hash and fresh.master_key_id == head.master_key_id:
            raise
        return _commit(fresh, draft, row, message)


def _commit(head: SessionHead, draft: Draft, row: Changing | None, message: Adding | None) -> Committed:
    for _ in range(_RACES):
        made = _attempt(head, draft, row, message)
        if made is not None:
            return made
        before, head = head, read_head(head.session_id)
        if head.head_seq == before.head_seq and head.is_live() and _is_revoked(head):
            raise SessionRevoked(head.session_id)
    # Many are at it: queue for the row instead of racing for it.
    what = f"Session {head.session_id}"
    made = _rows.with_retries(what, lambda: _attempt_alone(head.session_id, draft, row, message))
    if made is None:
        raise SessionBusy(what)
    return made


def _attempt_alone(
    session_id: uuid.UUID, draft: Draft, row: Changing | None, message: Adding | None
) -> Committed | None:
    with transaction.atomic(using=_rows.write_connection().alias):
        return _attempt(lock_head(session_id), draft, row, message)


def _attempt(head: SessionHead, draft: Draft, row: Changing | None, message: Adding | None) -> Committed | None:
    # Times in a history never run backwards, whatever the clocks of its writers do.
    now = max(timezone.now(), head.updated_at)
    changed = None
    if row is not None:
        changed = row(head, now)
    elif draft.patch is None:
        require_live(head, now)
    else:
        require_changeable(head, draft.actor, now)
    if draft.expected_version not in (None, head.version):
        raise conflict_with(head, draft.expected_version)
    keys = head.data_keys()
    if changed is None or not changed.after_end:
        _ = keys.content  # nothing is written of a session whose content nobody could read
    if draft.patch and head.schema != shapes.SCHEMA_VERSION and draft.kind != MIGRATED:
        return _migrate_and_attempt(head, keys, draft, row, message)
    added = message(head, keys) if message is not None else None
    event_id = new_id()
    version, known, voided = None, None, None
    if draft.patch is not None:
        before = current(head, keys) if draft.patch else None
        if before is not None:
            draft, voided = voided_by(draft, before.state)
        schema = shapes.SCHEMA_VERSION if draft.patch or draft.kind == MIGRATED else head.schema
        version, known = version_row(head, keys, draft.patch or {}, event_id, schema, before)
    public: Mapping[str, JSONValue] = {} if changed is None else changed.told
    number = None if version is None else version.number
    event = event_row(head, keys, draft, now=now, event_id=event_id, number=number, public=public)
    after = head if version is None else moved(head, event, version, changed)
    write = partial(_write.write, event, version, row=changed, message=added)
    if not (write() if voided is None else _write_and_void(write, after, voided)):
        return None
    if known is not None:
        _cache.put(after, known, keys)
    made = Committed(head.session_id, number or head.version, event.head_seq + 1, event_id, draft.kind, now)
    announce(made)
    return made


def _write_and_void(write: Callable[[], bool], after: SessionHead, voided: Draft) -> bool:
    """Write a change of the cart and the end of the approval that was asked for it, or neither.

    ``after`` is where the session stands after the change.
    """

    def act() -> bool:
        if not write():
            return False
        if void_stored(after.session_id, voided) and _attempt(after, voided, None, None) is None:
            raise SessionRevoked(after.session_id)  # nothing else can come between: the row is ours
        return True

    return _rows.in_transaction(f"Session {after.session_id}", act)


def commit_first(
    head: SessionHead, keys: DataKeys, draft: Draft, header: Mapping[str, object], params: Mapping[str, JSONValue]
) -> tuple[_write.EventRow, _write.VersionRow]:
    """Make the first event and version of a session, to be stored with its row.

    ``head`` is the session as if it were at version 0 with no event. Raises InvalidValue, LimitExceeded.
    """
    uid = new_id()
    version, known = version_row(head, keys, draft.patch or {}, uid, shapes.SCHEMA_VERSION)
    event = event_row(head, keys, draft, now=head.created_at, event_id=uid, number=1, public=params, header=header)
    _cache.put(moved(head, event, version), known or _cache.measured({}), keys)
    return event, version


def announce(made: Committed) -> None:
    """Send ``session_changed`` once the database has it for good."""
    if session_changed.has_listeners(Session):
        facts = {"session_id": made.session_id, "version": made.version, "seq": made.seq, "kind": made.kind}
        send = partial(session_changed.send_robust, Session, **facts)
        transaction.on_commit(send, using=_rows.write_connection().alias, robust=True)


def _migrate_and_attempt(
    head: SessionHead, keys: DataKeys, draft: Draft, row: Changing | None, message: Adding | None
) -> Committed | None:
    """Bring an older state to this installation's schema, as a version of its own, then make the change; or neither.

    So replay never needs the code of a migration. Raises SchemaUnknown if the state is newer.
    """
    before = current(head, keys).state
    migration = diff(before, migrate(before, head.schema, head.session_id))
    with transaction.atomic(using=_rows.write_connection().alias):
        if _attempt(head, Draft(MIGRATED, SYSTEM, patch=migration), None, None) is None:
            return None
        # The row is ours until the end of the transaction, so nothing can have come between.
        migrated = read_head(head.session_id)
        return _attempt(migrated, replace(draft, expected_version=migrated.version), row, message)


def conflict_with(head: SessionHead, expected: int) -> VersionConflict:
    """Return the refusal of a change of version ``expected``, with what has changed since."""
    changes: tuple[Difference, ...] = ()
    # What has changed is a courtesy: the refusal stands even where the content cannot be read.
    with suppress(SessionDamaged, ContentErased, KeyProblem):
        if 0 < expected < head.version:
            keys = head.data_keys()
            changes = describe(replay(head.session_id, expected, keys)[0], current(head, keys).state)
    return VersionConflict(head.session_id, expected=expected, current=head.version, changes=changes)


def _is_revoked(head: SessionHead) -> bool:
    alias = _rows.write_connection().alias
    return Session.objects.using(alias).filter(pk=head.session_id, token_key__revoked_at__isnull=False).exists()
