"""Is what is stored of a session what was written? Everything is compared with everything (R4, A3)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import transaction

from agent_sessions.audit.artifact import ENVELOPE_DOMAIN
from agent_sessions.audit.chain import check_chain
from agent_sessions.audit.events import CREATED, ENDED, ERASED, event_hash, format_time, root_hash
from agent_sessions.audit.shapes import Problem
from agent_sessions.crypto.canonical import JSON, parse_strict
from agent_sessions.crypto.keys import WrappedKeyBroken
from agent_sessions.crypto.signing import verify
from agent_sessions.domain.calls import STANDING, STANDING_KINDS
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import ContentErased, InvalidValue
from agent_sessions.models import Artifact, AuditEvent, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._content_checks import Seen, message_problems, private_problems, version_problems
from agent_sessions.selectors._heads import SessionHead, get_session, lock_head, read_head
from agent_sessions.selectors._keys import DataClass, DataKeys, usable

DERIVED = frozenset({"snapshot", "cached_state", "snapshot_pointer"})
"""Codes of problems in what is derived from history, which can be made again from it."""


@dataclass(slots=True)
class SessionReport:
    """What ``verify_session`` found; empty ``problems`` means that all of it agrees.

    ``content_checked`` is False where the content could not be read, so that only the chain was checked.
    """

    session_id: uuid.UUID
    versions: int = 0
    events: int = 0
    content_checked: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def repairable(self) -> bool:
        """Whether history itself is sound and only what is derived from it is not."""
        return bool(self.problems) and all(problem.code in DERIVED for problem in self.problems)


def verify_session(session_id: uuid.UUID) -> SessionReport:
    """Check one session's whole history, one row in memory at a time but for the state and the commitments.

    The chain is re-hashed; columns are compared with the events, versions with the events that made them, patches and
    messages with the commitments in the events, every snapshot and every cached state with the state that replay
    gives, and the session's row with all of it.

    Raises SessionNotFound; KeyProblem if the master key is missing or out of reach, which says nothing of the session.
    """
    report = _verify(session_id)
    if report.ok:
        return report
    # A writer that came between two of these queries looks like damage. With the session held still it does not.
    return _rows.with_retries(f"Session {session_id}", lambda: _verify_held(session_id))


def _verify_held(session_id: uuid.UUID) -> SessionReport:
    with transaction.atomic(using=_rows.write_connection().alias):
        lock_head(session_id)
        return _verify(session_id)


def _verify(session_id: uuid.UUID) -> SessionReport:
    session = get_session(session_id)
    head = read_head(session_id)
    report = SessionReport(session_id)
    seen = Seen()
    report.problems += check_chain(_events(session_id, report, seen), run_id=str(session_id))
    content = _usable_keys(head, "content", seen, report)
    personal = _usable_keys(head, "personal", seen, report)
    report.content_checked = content is not None and personal is not None
    report.problems += version_problems(head, content, personal, seen)
    report.versions = seen.version_count
    if personal is not None:
        report.problems += private_problems(head, personal, seen)
        report.problems += message_problems(head, personal, seen)
    known = personal is not None or "personal" in seen.erased
    if known and session.consumer != seen.opening.get("consumer", ""):
        report.problems.append(Problem("wrong_column", "session, consumer", f"is not what {CREATED} commits to"))
    report.problems += _row_problems(session, seen)
    report.problems += _artifact_problems(session)
    return report


def _usable_keys(head: SessionHead, data_class: DataClass, seen: Seen, report: SessionReport) -> DataKeys | None:
    """Return the session's keys if that of a class works, after noting where it is not as the events say."""
    where, erased = f"{data_class} key", data_class in seen.erased
    try:
        found = usable(head.data_keys(), data_class)
    except WrappedKeyBroken:
        report.problems.append(Problem("key_unusable", where, "does not unwrap: it was altered or moved"))
        return None
    except ContentErased:  # it is there and worthless: its master key was destroyed on purpose
        return None
    if found is None and not erased:
        report.problems.append(Problem("key_missing", where, "is gone, and with it what the session said"))
    if found is not None and erased:
        report.problems.append(Problem("not_erased", where, "is there, though an event says that it was destroyed"))
    return found


def _events(session_id: uuid.UUID, report: SessionReport, seen: Seen) -> Iterator[tuple[int, bytes]]:
    """Yield the chain for ``check_chain``, noting on the way what the other tables must agree with."""
    alias = _rows.write_connection().alias
    rows = AuditEvent.objects.using(alias).filter(session_id=session_id).order_by("seq")
    for row in rows.iterator(chunk_size=500):
        canonical = bytes(row.canonical)
        report.events += 1
        seen.last = (row.seq, event_hash(canonical))
        try:
            event = parse_strict(canonical)
        except InvalidValue:
            event = None  # check_chain says so
        if type(event) is dict:
            report.problems += _column_problems(row, event)
            _note(row.seq, event, seen)
            seen.last_time = event.get("timestamp")
        yield row.seq, canonical


def _note(seq: int, event: dict[str, JSON], seen: Seen) -> None:
    private, version, header, params = (event.get(name) for name in ("private", "version", "header", "params"))
    if isinstance(private, dict):
        seen.commitments[seq] = {path: str(made) for path, made in private.items()}
        if "message" in private:
            seen.messages[seq] = event.get("timestamp")
    if isinstance(version, int):
        seen.versions[version] = {name: event.get(name) for name in ("seq", "event_id")}
    if isinstance(header, dict) and isinstance(params, dict):
        seen.header, seen.params = header, params
    if isinstance(params, dict):
        if event.get("kind") == ENDED:
            seen.end = params
        if event.get("kind") == ERASED and isinstance(classes := params.get("classes"), list):
            seen.erased |= {str(name): str(event.get("timestamp")) for name in classes}
        if event.get("kind") in STANDING_KINDS:
            seen.standing |= {name: params[name] for name in STANDING if name in params}


def _column_problems(row: AuditEvent, event: dict[str, JSON]) -> Iterator[Problem]:
    columns: dict[str, object] = {
        "kind": row.kind,
        "capability": row.capability,
        "policy_result": row.policy_result,
        "response_status": row.response_status,
        "version": row.version,
        "timestamp": format_time(row.created_at),
    }
    for name, value in columns.items():
        if event.get(name) != value:
            yield Problem("wrong_column", f"event {row.seq}, {name}", "is not what the event says")


def _row_problems(session: Session, seen: Seen) -> Iterator[Problem]:
    """Check the session's row against the first event, the end event and the end of the chain."""
    header: dict[str, object] = {
        "agent": {
            "name": session.agent_name,
            "version": session.agent_version,
            "operator": session.agent_operator,
        },
        "created_at": format_time(session.created_at),
        "expires_at": format_time(session.expires_at),
        "merchant": session.merchant,
        "scope": session.scope,
        "session_kind": session.kind,
        "token_hash": bytes(session.token_digest).hex(),
        "agent_key": session.agent_key,
        "parent_request": session.parent_request,
        "origin": session.origin,
        "parent": "" if session.parent is None else str(session.parent),
        "parent_version": session.parent_version or 0,
        "family": str(session.family),
    }
    opened_with = {
        "agent_key": "", "parent_request": "", "origin": "", "parent": "", "parent_version": 0,
        "family": str(session.pk), **seen.header, **seen.params,
    }  # fmt: skip
    for name, value in header.items():
        if opened_with.get(name) != value:
            yield Problem("wrong_column", f"session, {name}", f"is not what the event {CREATED} says")
    if seen.last != (session.head_seq, bytes(session.head_hash).hex()):
        yield Problem("wrong_head", "session, head_seq and head_hash", f"do not match the last event ({seen.last[0]})")
    if seen.last_time is not None and seen.last_time != format_time(session.updated_at):
        yield Problem("wrong_head", "session, updated_at", "is not the time of the last event")
    ended = None if seen.end is None else (seen.end.get("end_reason"), seen.end.get("ended_at"))
    stored = None if session.ended_at is None else (session.end_reason, format_time(session.ended_at))
    if ended != stored:
        yield Problem("wrong_status", "session, ended_at and end_reason", f"are not what its event {ENDED} says")
    elif session.quarantined_at is None and session.status != _status_told(session, seen):
        yield Problem("wrong_status", "session, status", f"is {session.status}, which its history does not say")

    for name, stamp in (("personal", session.personal_erased_at), ("content", session.content_erased_at)):
        if seen.erased.get(name, "") != ("" if stamp is None else format_time(stamp)):
            yield Problem("wrong_column", f"session, {name}_erased_at", f"is not what its event {ERASED} says")
    standing: dict[str, object] = {
        "paused_at": "" if session.paused_at is None else format_time(session.paused_at),
        "held_by": session.held_by,
        "committed_version": session.committed_version,
    }
    for name, value in standing.items():
        if seen.standing.get(name, "" if name != "committed_version" else 0) != value:
            yield Problem("wrong_column", f"session, {name}", "is not what its events say")


def _status_told(session: Session, seen: Seen) -> str:
    if session.ended_at is not None:
        return Status.ENDED.value
    return Status.PAUSED.value if seen.standing.get("paused_at") else Status.ACTIVE.value


def _artifact_problems(session: Session) -> Iterator[Problem]:
    """Check the stored signatures against the events and the site's public key."""
    alias = _rows.write_connection().alias
    artifact = Artifact.objects.using(alias).select_related("signing_key").filter(pk=session.pk).first()
    if artifact is None:
        if session.sealed_at is not None:
            yield Problem("artifact_missing", "artifact", "is missing, although the session says it was sealed")
        return
    rows = AuditEvent.objects.using(alias).filter(session_id=session.pk, seq__lte=artifact.event_count)
    events = rows.order_by("seq").values_list("canonical", flat=True)
    if root_hash(event_hash(bytes(canonical)) for canonical in events.iterator()) != artifact.root_hash:
        yield Problem("wrong_root", "artifact, root_hash", "is not that of the events it covers")
    public = bytes(artifact.signing_key.public)
    if not verify(public, artifact.root_hash.encode(), bytes(artifact.signature)):
        yield Problem("bad_signature", "artifact, signature", "does not fit the root hash and the signing key")
    if not verify(public, ENVELOPE_DOMAIN + bytes(artifact.envelope), bytes(artifact.runtime_signature)):
        yield Problem("bad_signature", "artifact, runtime_signature", "does not fit the envelope and the signing key")
