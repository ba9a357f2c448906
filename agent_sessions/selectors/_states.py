"""States from history: the last snapshot at or before a version, and the patches after it."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from agent_sessions.audit.events import event_hash
from agent_sessions.crypto.sealing import place, seal, unseal
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import SealBroken, SessionDamaged
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.types import State

_decode = msgspec.json.Decoder(dict).decode
_encode = msgspec.json.Encoder().encode

PATCH = "version.patch"
SNAPSHOT = "version.snapshot"
PRIVATE = "event.private"
MESSAGE = "message.body"

# A snapshot row needs no patch: the rows after the start of the range have no snapshot.
_RANGE = """
    SELECT number, schema, CASE WHEN snapshot IS NULL THEN patch END, snapshot
    FROM agent_sessions_sessionversion
    WHERE session_id = %s AND number <= %s AND number >= COALESCE(
        (SELECT max(number) FROM agent_sessions_sessionversion
         WHERE session_id = %s AND number <= %s AND snapshot IS NOT NULL), 1)
    ORDER BY number"""


# Beside each row the event that the state to go on from was kept at: its bytes tell whether that is this history.
_SINCE = """
    SELECT number, schema, patch,
        (SELECT canonical FROM agent_sessions_auditevent WHERE session_id = %s AND seq = %s)
    FROM agent_sessions_sessionversion
    WHERE session_id = %s AND number > %s AND number <= %s
    ORDER BY number"""


def seal_document(
    key: bytes, session_id: uuid.UUID, what: str, number: int, document: object, *, level: int = 1
) -> bytes:
    """Seal a JSON document at its place in the session; ``level`` is how hard to try to make it small, 1 to 9."""
    return seal(key, place(session_id, what, number), _encode(document), level=level)


def open_document(key: bytes, session_id: uuid.UUID, what: str, number: int, sealed: bytes | memoryview | None) -> Any:
    """Open what ``seal_document`` sealed. Raises SessionDamaged if it is missing or does not open."""
    if sealed is None:
        raise SessionDamaged(session_id, f"{what} {number} is empty")
    try:
        return _decode(unseal(key, place(session_id, what, number), bytes(sealed)))
    except (SealBroken, msgspec.DecodeError):
        raise SessionDamaged(session_id, f"{what} {number} does not open: it was altered or moved") from None


def current(head: SessionHead, key: bytes) -> _cache.KnownState:
    """Return the state of the head's version, from the cache if it is there; never to be changed in place."""
    if head.version == 0:  # it is just being opened
        return _cache.measured({})
    known = _cache.get(head, key)
    if known is None:
        state, schema = _read_on(head, key) or replay(head.session_id, head.version, key)
        if schema != head.schema:
            raise SessionDamaged(head.session_id, f"version {head.version} has schema {schema}, its row {head.schema}")
        known = _cache.measured(state)
        _cache.put(head, known, key)
    return known


def _read_on(head: SessionHead, key: bytes) -> tuple[State, int] | None:
    """Return the state of the head's version and its schema, from an older one that this process has kept.

    So workers that take turns at a session read each other's changes and not all since the last snapshot. None where
    there is nothing to go on from, or what is kept is not of this history (its transaction was rolled back), or a
    version is missing, which ``replay`` names.
    """
    kept = _cache.earlier(head)
    if kept is None:
        return None
    before, known = kept
    connection = _rows.write_connection()
    identity = _rows.uuid_param(connection, head.session_id)
    rows = _rows.select(connection, _SINCE, [identity, before.head_seq, identity, before.version, head.version])
    if [row[0] for row in rows] != list(range(before.version + 1, head.version + 1)):
        return None
    canonical = rows[0][3]
    if canonical is None or event_hash(bytes(canonical)) != before.head_hash:
        return None
    state = known.state
    for number, _, patch, _ in rows:
        state = apply_patch(state, open_document(key, head.session_id, PATCH, number, patch))
    schema: int = rows[-1][1]
    return state, schema


def replay(session_id: uuid.UUID, version: int, key: bytes) -> tuple[State, int]:
    """Return the state at a version and its schema, from history alone.

    Raises SessionDamaged if a version is missing or does not open.
    """
    connection = _rows.write_connection()
    identity = _rows.uuid_param(connection, session_id)
    state: State = {}
    expected = 1
    rows = _rows.select(connection, _RANGE, [identity, version, identity, version])
    for number, _, patch, snapshot in rows:
        if snapshot is not None:
            state = open_document(key, session_id, SNAPSHOT, number, snapshot)
        elif number == expected:
            state = apply_patch(state, open_document(key, session_id, PATCH, number, patch))
        else:
            raise SessionDamaged(session_id, f"version {expected} is missing")
        expected = number + 1
    if expected != version + 1:
        raise SessionDamaged(session_id, f"version {expected} is missing")
    schema: int = rows[-1][1]
    return state, schema
