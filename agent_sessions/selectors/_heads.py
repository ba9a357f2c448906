"""Where a session stands: its row, the end of its chain and its data key, in one query."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils import timezone

from agent_sessions.audit.events import event_hash
from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import read_token, same_digest, token_digest
from agent_sessions.domain.identity import Actor, Agent, Scope
from agent_sessions.domain.lifecycle import LIVE, EndReason, Status, is_expired
from agent_sessions.exceptions import (
    InvalidToken,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionNotFound,
    SessionPaused,
    SessionQuarantined,
)
from agent_sessions.models import Session
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._keys import DataKeys


class Since(msgspec.Struct, frozen=True):
    """The versions after the one that this process remembers, up to the session's: their sealed patches, in order.

    ``head_hash`` is the hash of the event that the remembered one was kept at; ``personal`` has None where a version
    said nothing of a person.
    """

    head_hash: str
    patches: tuple[bytes, ...]
    personal: tuple[bytes | None, ...]


# A Struct, because every call makes two of them, and a frozen dataclass sets its fields one by one in Python.
class SessionHead(msgspec.Struct, frozen=True):
    """A session as it stood when it was read; give it to a service and that need not read again.

    ``version`` and ``head_seq`` tell whether it is still current: every write compares them in the database.
    """

    session_id: uuid.UUID
    status: Status
    kind: str
    merchant: str
    consumer: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str
    version: int
    version_uid: uuid.UUID
    schema: int
    snapshot_version: int
    patch_bytes: int
    head_seq: int
    head_hash: str
    token_digest: bytes
    master_key_id: str | None
    wrapped_key: bytes | None
    agent_name: str
    agent_version: str
    agent_operator: str
    agent_key: str
    bound_to: str
    held_by: str
    paused_at: datetime | None
    committed_version: int
    family: uuid.UUID
    parent_request: str
    scope_json: str
    wrapped_personal: bytes | None
    others_hold: bool = True
    """Whether pieces may have been held for other sessions of the merchant when this was read."""
    since: Since | None = None

    @property
    def agent(self) -> Agent:
        return _agent(self.agent_name, self.agent_version, self.agent_operator, self.agent_key)

    @property
    def scope(self) -> Scope:
        return _scope(self.scope_json)

    def is_live(self, now: datetime | None = None) -> bool:
        """Tell whether the session's token is good at ``now`` (default: the current time), paused or not."""
        return self.status in LIVE and not is_expired(now or timezone.now(), self.expires_at)

    def data_keys(self) -> DataKeys:
        """Return the session's data keys, each to be unwrapped when it is needed."""
        return DataKeys(self.session_id, self.master_key_id, self.wrapped_key, self.wrapped_personal)


# The same few agents and scopes stand in most sessions; both are immutable, and checking them anew is most of the work.
_agent = lru_cache(maxsize=256)(Agent)


@lru_cache(maxsize=256)
def _scope(text: str) -> Scope:
    return Scope.from_json(json.loads(text))


_HEAD = """
    SELECT s.status, s.kind, s.merchant, s.consumer, s.created_at, s.updated_at, s.expires_at, s.ended_at, s.end_reason,
        s.version, s.version_uid, s.schema, s.snapshot_version, s.patch_bytes, s.head_seq, s.head_hash, s.token_digest,
        k.master_key_id, k.wrapped, s.agent_name, s.agent_version, s.agent_operator, s.agent_key, s.bound_to, s.held_by,
        s.paused_at, s.committed_version, s.family, s.parent_request, s.scope, k.personal, t.revoked_at, EXISTS (
            SELECT 1 FROM agent_sessions_hold h
            WHERE h.merchant = s.merchant AND h.released_at IS NULL AND h.session_id <> s.id
        ), NULL, NULL
    FROM agent_sessions_session s
    LEFT JOIN agent_sessions_sessionkey k ON k.session_id = s.id
    JOIN agent_sessions_sitekey t ON t.id = s.token_key_id WHERE s.id = %s"""
# The same columns by a function (migration 0002), because planning the join takes longer than the join; and what came
# after the version that this process remembers, because another round trip takes longer than both.
_POSTGRES_HEAD = "SELECT * FROM agent_sessions_head_1(%s, %s, %s, %s)"


_SINCE = """
    SELECT patch, personal_patch,
        (SELECT canonical FROM agent_sessions_auditevent WHERE session_id = %s AND seq = %s)
    FROM agent_sessions_sessionversion
    WHERE session_id = %s AND number > %s AND number <= %s
    ORDER BY number"""


def read_head(session_id: uuid.UUID) -> SessionHead:
    """Read where a session stands, one query. Raises SessionNotFound."""
    read = _read(session_id)
    if read is None:
        raise SessionNotFound(session_id)
    return read[0]


def id_of(session: SessionHead | uuid.UUID) -> uuid.UUID:
    return session.session_id if isinstance(session, SessionHead) else session


def lock_head(session_id: uuid.UUID) -> SessionHead:
    """Read where a session stands; until the transaction that is open ends, nobody else moves it.

    Raises SessionNotFound.
    """
    # An update that changes nothing, because it locks on every database, and on SQLite only a write does.
    Session.objects.using(router.db_for_write(Session)).filter(pk=session_id).update(head_seq=F("head_seq"))
    return read_head(session_id)


def _read(session_id: uuid.UUID) -> tuple[SessionHead, bool] | None:
    """Read where a session stands, and whether the key of its token was revoked."""
    connection = _rows.write_connection()
    if connection.vendor != "postgresql":
        rows = _rows.select(connection, _HEAD, [_rows.uuid_param(connection, session_id)])
        if not rows:
            return None
        head = _head(session_id, rows[0], None)
        return msgspec.structs.replace(head, since=_since(connection, head)), rows[0][31] is not None
    known = _cache.last_known(session_id)
    remembered = (None,) * 3 if known is None else (known.head_seq, bytes.fromhex(known.head_hash), known.version)
    row = _rows.select(connection, _POSTGRES_HEAD, [session_id, *remembered])[0]
    if row[0] is None:
        return None
    since = None if known is None or row[33] is None else Since(known.head_hash, row[33], row[34])
    return _head(session_id, row, since), row[31] is not None


def _since(connection: BaseDatabaseWrapper, head: SessionHead) -> Since | None:
    """Read what came after the version that this process remembers, as ``agent_sessions_head_1`` does on PostgreSQL.

    None if nothing did, a snapshot is nearer, a part was erased, or what is remembered is not of this history.
    """
    known = _cache.last_known(head.session_id)
    if known is None or head.wrapped_personal is None or not head.snapshot_version <= known.version < head.version:
        return None
    identity = _rows.uuid_param(connection, head.session_id)
    rows = _rows.select(connection, _SINCE, [identity, known.head_seq, identity, known.version, head.version])
    if len(rows) != head.version - known.version or rows[0][2] is None:
        return None
    if event_hash(bytes(rows[0][2])) != known.head_hash:
        return None
    return Since(known.head_hash, tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def _head(session_id: uuid.UUID, row: tuple[Any, ...], since: Since | None) -> SessionHead:
    (
        status, kind, merchant, consumer, created_at, updated_at, expires_at, ended_at, end_reason, version,
        version_uid, schema, snapshot_version, patch_bytes, head_seq, head_hash, digest, master_key_id, wrapped,
        agent_name, agent_version, agent_operator, agent_key, bound_to, held_by, paused_at, committed_version, family,
        parent_request, scope, personal, _, others_hold, _, _,
    ) = row  # fmt: skip
    return SessionHead(
        session_id,
        Status(status),
        kind,
        merchant,
        consumer,
        _rows.as_time(created_at),
        _rows.as_time(updated_at),
        _rows.as_time(expires_at),
        None if ended_at is None else _rows.as_time(ended_at),
        end_reason,
        version,
        _rows.as_uuid(version_uid),
        schema,
        snapshot_version,
        patch_bytes,
        head_seq,
        bytes(head_hash).hex(),
        bytes(digest),
        master_key_id,
        None if wrapped is None else bytes(wrapped),
        agent_name,
        agent_version,
        agent_operator,
        agent_key,
        bound_to,
        held_by,
        None if paused_at is None else _rows.as_time(paused_at),
        committed_version,
        _rows.as_uuid(family),
        parent_request,
        scope,
        None if personal is None else bytes(personal),
        bool(others_hold),
        since,
    )


def authenticate(token: str) -> SessionHead:
    """Return the live session that ``token`` speaks for (T1 to T3).

    A forged or malformed token is refused before any query. Raises InvalidToken, the same for a token that is
    malformed, forged, unknown, superseded, revoked, or of a session that has ended or expired.
    """
    head, revoked = _by_token(token)
    if revoked or not head.is_live():
        raise InvalidToken
    return head


def session_of_token(token: str) -> SessionHead:
    """Return the session that ``token`` was issued for, live or not: who holds it may fetch the artifact.

    Raises InvalidToken as ``authenticate`` does, but not for a session that has ended, expired or was revoked.
    """
    return _by_token(token)[0]


def authenticate_repeat(token: str) -> SessionHead:
    """Return the session that ``token`` speaks for, or spoke for until it ended: to tell again what was answered (V7).

    Raises InvalidToken as ``authenticate`` does, but not for a session that has come to its end; still for one that was
    revoked, has been erased or is quarantined.
    """
    head, revoked = _by_token(token)
    gone = head.status is Status.QUARANTINED or head.end_reason == EndReason.REVOKED.value or head.wrapped_key is None
    if revoked or (gone and not head.is_live()):
        raise InvalidToken
    return head


def _by_token(token: str) -> tuple[SessionHead, bool]:
    claims = read_token(settings.key_provider, token)
    read = _read(claims.session_id)
    if read is None or not same_digest(read[0].token_digest, token_digest(token)):
        raise InvalidToken
    return read


def require_open(head: SessionHead) -> None:
    """Raise SessionQuarantined if the session is closed even to readers."""
    if head.status is Status.QUARANTINED:
        raise SessionQuarantined(head.session_id, "it was found damaged and is closed until someone has looked")


def require_changeable(head: SessionHead, actor: Actor, now: datetime) -> None:
    """Raise what keeps ``actor`` from changing the session's state at ``now``, if anything does.

    Raises what ``require_live`` raises, SessionPaused, and for an agent SessionHeld while a person has the session.
    """
    require_live(head, now)
    if head.status is Status.PAUSED:
        raise SessionPaused(head.session_id)
    if head.held_by and actor.kind == "agent":
        raise SessionHeld(head.session_id, head.held_by)


def require_live(head: SessionHead, now: datetime) -> None:
    """Raise what keeps anything from being recorded of the session at ``now``, if anything does.

    Raises SessionEnded, SessionExpired or SessionQuarantined.
    """
    require_open(head)
    if head.status is Status.ENDED:
        if head.end_reason == EndReason.EXPIRED:
            raise SessionExpired(head.session_id)
        raise SessionEnded(head.session_id, head.end_reason)
    if is_expired(now, head.expires_at):
        raise SessionExpired(head.session_id)


def get_session(session_id: uuid.UUID) -> Session:
    """Return the session's row. Raises SessionNotFound."""
    try:
        return Session.objects.using(router.db_for_write(Session)).get(pk=session_id)
    except Session.DoesNotExist:
        raise SessionNotFound(session_id) from None
