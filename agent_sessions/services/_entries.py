"""Making the rows of one write: the version with its sealed patch, and the event that commits to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from msgspec.structs import replace

from agent_sessions.audit.events import build_event, event_hash
from agent_sessions.conf import settings
from agent_sessions.crypto.commitments import commitment, salt_for
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.privacy import split
from agent_sessions.domain.references import moved_references
from agent_sessions.domain.sizes import check_sizes
from agent_sessions.domain.snapshots import snapshot_due
from agent_sessions.domain.state import check_shape
from agent_sessions.selectors._cache import KnownState
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import PATCH, SNAPSHOT, DataKeys
from agent_sessions.selectors._states import (
    PERSONAL_PATCH,
    PERSONAL_SNAPSHOT,
    PRIVATE,
    current,
    seal_document,
)
from agent_sessions.services._write import EventRow, RowChange, VersionRow
from agent_sessions.types import JSONValue, Patch, State


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written. ``patch`` None means an event that changes no state.

    ``private`` are values behind commitments that the event itself keeps, sealed; ``committed`` are values behind
    commitments that are kept elsewhere (a message's body). ``repeats`` says that nothing of it is new: the session
    holds it already, so it is not searched for payment data, and what lets a session end is never refused for that.
    """

    kind: str
    actor: Actor
    call: Call = NO_CALL
    patch: Patch | None = None
    expected_version: int | None = None
    private: Mapping[str, JSONValue] = field(default_factory=dict)
    committed: Mapping[str, JSONValue] = field(default_factory=dict)
    repeats: bool = False


def version_row(
    head: SessionHead, keys: DataKeys, patch: Patch, uid: uuid.UUID, schema: int, before: KnownState | None = None
) -> tuple[VersionRow, KnownState | None]:
    """Apply the patch, check what it makes, and seal it; with a snapshot if one is due.

    ``before`` is the state that it changes, if that has been read.
    """
    number, snapshot, snapshot_version = head.version + 1, None, head.snapshot_version
    if not patch:
        sealed = seal_document(keys, head.session_id, PATCH, number, patch)
        patch_bytes = head.patch_bytes + len(sealed)
        return VersionRow(number, uid, schema, sealed, None, snapshot_version, patch_bytes), None
    before = before or current(head, keys)
    state, sizes = changed(before, patch)
    moves = moved_references(before.references, before.state, state, patch)
    after = before.followed_by(state, sizes, moves.references)
    content, personal = split(patch)
    sealed = seal_document(keys, head.session_id, PATCH, number, content)
    said = seal_document(keys, head.session_id, PERSONAL_PATCH, number, personal) if personal else None
    kept = None
    patch_bytes = head.patch_bytes + len(sealed) + len(said or b"")
    if snapshot_due(
        patches=number - snapshot_version,
        patch_bytes=patch_bytes,
        state_bytes=after.size,
        every=settings.snapshot_every,
    ):
        # It is made rarely and kept for good: a quarter smaller is worth four times the time.
        whole, about_person = split(cast("Patch", after.state))
        snapshot = seal_document(keys, head.session_id, SNAPSHOT, number, whole, level=6)
        if about_person:
            kept = seal_document(keys, head.session_id, PERSONAL_SNAPSHOT, number, about_person, level=6)
        snapshot_version, patch_bytes = number, 0
    row = VersionRow(
        number, uid, schema, sealed, snapshot, snapshot_version, patch_bytes, moves.added, moves.removed, said, kept
    )
    return row, after


def changed(before: KnownState, patch: Patch) -> tuple[State, dict[str, int]]:
    """Return the state that a patch makes, if a session may hold it, and its slices' sizes.

    Raises InvalidValue, LimitExceeded.
    """
    state = apply_patch(before.state, patch)
    check_shape(patch, state)
    sizes = check_sizes(
        before.sizes, patch, state, max_slice=settings.max_slice_bytes, max_state=settings.max_state_bytes
    )
    return state, sizes


def event_row(
    head: SessionHead,
    keys: DataKeys,
    draft: Draft,
    *,
    now: datetime,
    event_id: uuid.UUID,
    number: int | None,
    public: Mapping[str, JSONValue],
    header: Mapping[str, object] | None = None,
) -> EventRow:
    """Make the event that follows the head: commitments instead of private values, chained, and hashed."""
    run_id, seq, call = str(head.session_id), head.head_seq + 1, draft.call
    private = {**draft.private, **{f"params.{name}": value for name, value in call.private.items()}}
    values: dict[str, object] = {**private, **draft.committed}
    if draft.patch:
        content, personal = split(draft.patch)
        if content:
            values["patch"] = content
        if personal:
            values["personal"] = personal
    canonical = build_event(
        run_id=run_id,
        seq=seq,
        event_id=str(event_id),
        timestamp=now,
        kind=draft.kind,
        actor=str(draft.actor),
        prev_hash=head.head_hash,
        capability=call.capability,
        method=call.method,
        params={**call.shown_params, **public},
        policy_result=call.policy_result,
        policy_rule=call.policy_rule,
        response_status=call.response_status,
        version=number,
        base_version=None if number is None else number - 1,
        duration_ms=None if call.started_at is None else int((now - call.started_at).total_seconds() * 1000),
        private={
            path: commitment(salt_for(keys.of_path(path), run_id, seq, path), run_id, seq, path, value)
            for path, value in values.items()
        },
        header=header,
    )
    return EventRow(
        session_id=head.session_id,
        head_seq=head.head_seq,
        head_hash=bytes.fromhex(head.head_hash),
        now=now,
        kind=draft.kind,
        canonical=canonical,
        hash=bytes.fromhex(event_hash(canonical)),
        capability=call.capability,
        policy_result=call.policy_result,
        response_status=call.response_status,
        private=seal_document(keys, head.session_id, PRIVATE, seq, private) if private else None,
    )


def moved(head: SessionHead, event: EventRow, version: VersionRow, row: RowChange | None = None) -> SessionHead:
    """Where the session stands after the write."""
    besides: dict[str, Any] = {} if row is None else dict(row.columns)
    return replace(
        head,
        **besides,
        updated_at=event.now,
        version=version.number,
        version_uid=version.uid,
        schema=version.schema,
        snapshot_version=version.snapshot_version,
        patch_bytes=version.patch_bytes,
        head_seq=event.head_seq + 1,
        head_hash=event.hash.hex(),
        since=None,
    )
