"""The checks of ``verification`` that read what is sealed: versions, snapshots, private values, messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent_sessions.audit.events import format_time
from agent_sessions.audit.shapes import Problem
from agent_sessions.conf import settings
from agent_sessions.crypto.canonical import JSON
from agent_sessions.crypto.commitments import opens, salt_for
from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.exceptions import SealBroken, SessionDamaged
from agent_sessions.models import AuditEvent, Message, SessionVersion
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import PATCH, SNAPSHOT, DataKeys
from agent_sessions.selectors._states import (
    MESSAGE,
    PERSONAL_PATCH,
    PERSONAL_SNAPSHOT,
    PRIVATE,
    open_document,
    with_personal,
)
from agent_sessions.types import JSONValue, State


@dataclass(slots=True)
class Seen:
    """What the events say, by number, for the tables that must agree with them."""

    commitments: dict[int, dict[str, str]] = field(default_factory=dict)
    versions: dict[int, dict[str, JSON]] = field(default_factory=dict)
    messages: dict[int, JSON] = field(default_factory=dict)
    header: dict[str, JSON] = field(default_factory=dict)
    params: dict[str, JSON] = field(default_factory=dict)
    end: dict[str, JSON] | None = None
    standing: dict[str, JSON] = field(default_factory=dict)
    last: tuple[int, str] = (0, "")
    last_time: JSON = None
    version_count: int = 0
    opening: dict[str, JSONValue] = field(default_factory=dict)
    erased: dict[str, str] = field(default_factory=dict)


def version_problems(
    head: SessionHead, content: DataKeys | None, personal: DataKeys | None, seen: Seen
) -> Iterator[Problem]:
    """Check versions against the events that made them, and snapshots and caches against replay."""
    alias = _rows.write_connection().alias
    rows = SessionVersion.objects.using(alias).filter(session_id=head.session_id).order_by("number")
    state: State | None = {}
    expected, snapshot_version, patch_bytes = 1, 0, 0
    last: SessionVersion | None = None
    uid: JSON = None
    for row in rows.iterator(chunk_size=200):
        seen.version_count += 1
        last = row
        if row.number != expected:
            state = None  # nothing can be replayed over a gap
            yield Problem("version_missing", f"version {expected}", "is missing")
        expected = row.number + 1
        event = seen.versions.pop(row.number, None)
        uid = None if event is None else event["event_id"]
        yield from _event_of_version_problems(row, event)
        patch_bytes += len(row.patch or b"") + len(row.personal_patch or b"")
        yield from _left_over_problems(row, seen)
        if content is not None:
            state, found = _replay_one(head, content, personal, row, state, seen)
            yield from found
        if row.snapshot is not None:
            snapshot_version, patch_bytes = row.number, 0
    for number, event in sorted(seen.versions.items()):
        yield Problem("version_missing", f"version {number}", f"is missing; event {event['seq']} made it")
    if seen.erased:  # what was erased weighs nothing any more, and no snapshot has to be due
        snapshot_version, patch_bytes = head.snapshot_version, head.patch_bytes
    yield from _pointer_problems(head, last, uid, snapshot_version, patch_bytes)
    at_end = last is not None and last.number == head.version
    if at_end and content is not None and personal is not None and state is not None:
        yield from _cache_problems(head, personal, state)


def _left_over_problems(row: SessionVersion, seen: Seen) -> Iterator[Problem]:
    """Name what is still stored of a class that was erased: without its key it says nothing, but it should be gone."""
    stored = {"content": (row.patch, row.snapshot), "personal": (row.personal_patch, row.personal_snapshot)}
    for data_class in seen.erased:
        if any(part is not None for part in stored.get(data_class, ())):
            yield Problem("not_erased", f"version {row.number}", f"still has its {data_class} part")


def _event_of_version_problems(row: SessionVersion, event: dict[str, JSON] | None) -> Iterator[Problem]:
    where = f"version {row.number}"
    if event is None:
        yield Problem("version_without_event", where, "was made by no event")
    elif event["seq"] != row.event_seq:
        yield Problem("wrong_column", f"{where}, seq", "is not what its event says")


def _replay_one(
    head: SessionHead,
    content: DataKeys,
    personal: DataKeys | None,
    row: SessionVersion,
    state: State | None,
    seen: Seen,
) -> tuple[State | None, list[Problem]]:
    """Apply one version; return the state after it (None once it is lost) and what is wrong with the version."""
    found: list[Problem] = []
    committed = seen.commitments.get(row.event_seq, {})
    parts = [(content, PATCH, "patch", row.patch)]
    if personal is not None and (row.personal_patch is not None or "personal" in committed):
        parts.append((personal, PERSONAL_PATCH, "personal", row.personal_patch))
    for keys, place, path, sealed in parts:
        try:
            patch = open_document(keys, head.session_id, place, row.number, sealed)
        except SessionDamaged as damage:
            state = None
            found.append(Problem("patch_unreadable", f"version {row.number}", damage.problem))
            continue
        if patch or path in committed:
            found += _commitment_problems(head, keys, row.event_seq, path, patch, committed.get(path))
        state = None if state is None else apply_patch(state, patch)
    if row.snapshot is not None:
        try:
            snapshot = open_document(content, head.session_id, SNAPSHOT, row.number, row.snapshot)
            if personal is not None:
                snapshot = with_personal(
                    snapshot, personal, head.session_id, PERSONAL_SNAPSHOT, row.number, row.personal_snapshot
                )
        except SessionDamaged as damage:
            found.append(Problem("snapshot", f"snapshot {row.number}", damage.problem))
        else:
            if state is not None and diff(state, snapshot):
                found.append(Problem("snapshot", f"snapshot {row.number}", "is not the state that replay gives"))
    return state, found


def _commitment_problems(
    head: SessionHead, keys: DataKeys, seq: int, path: str, value: JSONValue, made: str | None
) -> Iterator[Problem]:
    run_id = str(head.session_id)
    if made is None:
        yield Problem("wrong_value", f"event {seq}, {path}", "has a stored value but no commitment to it")
    elif not opens(made, salt_for(keys.of_path(path), run_id, seq, path), run_id, seq, path, value):
        yield Problem("wrong_value", f"event {seq}, {path}", "is not the value that the event commits to")


def private_problems(head: SessionHead, keys: DataKeys, seen: Seen) -> Iterator[Problem]:
    """Check the private values that events keep against their commitments."""
    alias = _rows.write_connection().alias
    rows = AuditEvent.objects.using(alias).filter(session_id=head.session_id).order_by("seq")
    elsewhere = {"patch", "personal", "message"}
    for seq, sealed in rows.values_list("seq", "private").iterator(chunk_size=500):
        promised = {path for path in seen.commitments.get(seq, {}) if path not in elsewhere}
        values: dict[str, JSONValue] = {}
        if sealed is not None or promised:
            try:
                values = open_document(keys, head.session_id, PRIVATE, seq, sealed)
            except SessionDamaged as damage:
                yield Problem("private_unreadable", f"event {seq}", damage.problem)
                continue
        if seq == 1:
            seen.opening = values
        for path in sorted(promised - values.keys()):
            yield Problem("wrong_value", f"event {seq}, {path}", "is committed to, but not stored")
        for path, value in values.items():
            yield from _commitment_problems(head, keys, seq, path, value, seen.commitments.get(seq, {}).get(path))


def message_problems(head: SessionHead, keys: DataKeys, seen: Seen) -> Iterator[Problem]:
    alias = _rows.write_connection().alias
    promised = set(seen.messages)
    rows = Message.objects.using(alias).filter(session_id=head.session_id).order_by("number")
    for expected, row in enumerate(rows.iterator(chunk_size=500), start=1):
        where = f"message {row.number}"
        promised.discard(row.event_seq)
        if row.number != expected:
            yield Problem("message_missing", f"message {expected}", "is missing")
            return
        try:
            body = open_document(keys, head.session_id, MESSAGE, row.number, row.body)
        except SessionDamaged as damage:
            yield Problem("message_unreadable", where, damage.problem)
            continue
        if body.get("role") != row.role:
            yield Problem("wrong_column", f"{where}, role", "is not what the message says")
        if seen.messages.get(row.event_seq, format_time(row.created_at)) != format_time(row.created_at):
            yield Problem("wrong_column", f"{where}, timestamp", "is not what its event says")
        made = seen.commitments.get(row.event_seq, {}).get("message")
        yield from _commitment_problems(head, keys, row.event_seq, "message", body, made)
    for seq in sorted(promised):
        yield Problem("message_missing", f"the message of event {seq}", "is missing")


def _pointer_problems(
    head: SessionHead, last: SessionVersion | None, uid: JSON, snapshot_version: int, patch_bytes: int
) -> Iterator[Problem]:
    """Check what the session's row says of its history; ``uid`` is the id of the event that made the last version."""
    if last is None or last.number != head.version:
        found = 0 if last is None else last.number
        yield Problem("wrong_head", "session, version", f"is {head.version}; the history ends at {found}")
    elif uid != str(head.version_uid) or last.schema != head.schema:
        yield Problem("wrong_head", "session, version_uid and schema", "are not those of its last version")
    if (head.snapshot_version, head.patch_bytes) != (snapshot_version, patch_bytes):
        yield Problem("snapshot_pointer", "session, snapshot_version and patch_bytes", "are not those of its history")


def _cache_problems(head: SessionHead, keys: DataKeys, state: State) -> Iterator[Problem]:
    if not settings.caches_state:
        return
    kept = _cache.local.get(head.session_id)
    if kept is not None and kept[0].version_uid == head.version_uid and diff(state, kept[1].state):
        yield Problem("cached_state", "cached state in this process", "is not the state that replay gives")
    try:
        shared = _cache.get_shared(head, keys)
    except SealBroken as broken:
        yield Problem("cached_state", "cached state in the shared cache", broken.message)
    else:
        if shared is not None and diff(state, shared.state):
            yield Problem("cached_state", "cached state in the shared cache", "is not the state that replay gives")
