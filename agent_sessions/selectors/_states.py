"""States from history: the last snapshot at or before a version, and the patches after it."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from agent_sessions.crypto.sealing import place, seal, unseal
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import SealBroken, SessionDamaged
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import PATCH, SNAPSHOT, DataKeys
from agent_sessions.types import State

_decode = msgspec.json.Decoder(dict).decode
_encode = msgspec.json.Encoder().encode

PERSONAL_PATCH = "version.personal_patch"
PERSONAL_SNAPSHOT = "version.personal_snapshot"
PRIVATE = "event.private"
MESSAGE = "message.body"

# A snapshot row needs no patch: the rows after the start of the range have no snapshot.
_RANGE = """
    SELECT number, schema, CASE WHEN snapshot IS NULL THEN patch END, snapshot,
        CASE WHEN snapshot IS NULL THEN personal_patch ELSE personal_snapshot END
    FROM agent_sessions_sessionversion
    WHERE session_id = %s AND number <= %s AND number >= COALESCE(
        (SELECT max(number) FROM agent_sessions_sessionversion
         WHERE session_id = %s AND number <= %s AND snapshot IS NOT NULL), 1)
    ORDER BY number"""


def seal_document(
    keys: DataKeys, session_id: uuid.UUID, what: str, number: int, document: object, *, level: int = 1
) -> bytes:
    """Seal a JSON document at its place in the session; ``level`` is how hard to try to make it small, 1 to 9.

    Raises ContentErased if the key for the place was destroyed, KeyProblem.
    """
    return seal(keys.of_place(what), place(session_id, what, number), _encode(document), level=level)


def open_document(
    keys: DataKeys, session_id: uuid.UUID, what: str, number: int, sealed: bytes | memoryview | None
) -> Any:
    """Open what ``seal_document`` sealed.

    Raises SessionDamaged if it is missing or does not open, ContentErased if its key was destroyed, KeyProblem.
    """
    key = keys.of_place(what)
    if sealed is None:
        raise SessionDamaged(session_id, f"{what} {number} is empty")
    try:
        return _decode(unseal(key, place(session_id, what, number), bytes(sealed)))
    except (SealBroken, msgspec.DecodeError):
        raise SessionDamaged(session_id, f"{what} {number} does not open: it was altered or moved") from None


def current(head: SessionHead, keys: DataKeys) -> _cache.KnownState:
    """Return the state of the head's version, from the cache if it is there; never to be changed in place."""
    if head.version == 0:  # it is just being opened
        return _cache.measured({})
    _ = keys.content  # what this process remembers is no more readable than what is stored
    known = _cache.get(head, keys)
    if known is None:
        state, schema = _read_on(head, keys) or replay(head.session_id, head.version, keys)
        if schema != head.schema:
            raise SessionDamaged(head.session_id, f"version {head.version} has schema {schema}, its row {head.schema}")
        known = _cache.measured(state)
        _cache.put(head, known, keys)
    return known


def _read_on(head: SessionHead, keys: DataKeys) -> tuple[State, int] | None:
    """Return the state of the head's version and its schema, from an older one that this process has kept.

    So workers that take turns at a session read each other's changes and not all since the last snapshot. None where
    there is nothing to go on from.
    """
    kept = _cache.earlier(head)
    if kept is None or head.since is None:
        return None
    before, known = kept
    state = known.state
    versions = zip(head.since.patches, head.since.personal, strict=True)
    for number, (patch, personal) in enumerate(versions, before.version + 1):
        state = apply_patch(state, open_document(keys, head.session_id, PATCH, number, patch))
        state = with_personal(state, keys, head.session_id, PERSONAL_PATCH, number, personal)
    return state, head.schema


def replay(session_id: uuid.UUID, version: int, keys: DataKeys) -> tuple[State, int]:
    """Return the state at a version and its schema, from history alone; without what is personal once that was erased.

    Raises SessionDamaged if a version is missing or does not open, ContentErased, KeyProblem.
    """
    connection = _rows.write_connection()
    identity = _rows.uuid_param(connection, session_id)
    state: State = {}
    expected = 1
    rows = _rows.select(connection, _RANGE, [identity, version, identity, version])
    for number, _, patch, snapshot, personal in rows:
        if snapshot is not None:
            state = open_document(keys, session_id, SNAPSHOT, number, snapshot)
        elif number == expected:
            state = apply_patch(state, open_document(keys, session_id, PATCH, number, patch))
        else:
            raise SessionDamaged(session_id, f"version {expected} is missing")
        what = PERSONAL_PATCH if snapshot is None else PERSONAL_SNAPSHOT
        state = with_personal(state, keys, session_id, what, number, personal)
        expected = number + 1
    if expected != version + 1:
        raise SessionDamaged(session_id, f"version {expected} is missing")
    schema: int = rows[-1][1]
    return state, schema


def with_personal(
    state: State, keys: DataKeys, session_id: uuid.UUID, what: str, number: int, sealed: bytes | memoryview | None
) -> State:
    """Add what a version said of a person, unless it said nothing or that was erased."""
    if sealed is None or not keys.has_personal:
        return state
    return apply_patch(state, open_document(keys, session_id, what, number, sealed))
