"""Reads of a session's chain."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from agent_sessions.audit.artifact import PURPOSE, Opening
from agent_sessions.crypto.canonical import JSON, parse_strict
from agent_sessions.crypto.commitments import salt_for
from agent_sessions.exceptions import ContentErased, InvalidValue
from agent_sessions.models import AuditEvent, Message, SessionVersion
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors._states import MESSAGE, PATCH, PRIVATE, open_document

DISCLOSURES = (PURPOSE, "all", "none")


def events(session_id: uuid.UUID, *, after: int = 0, limit: int = 100) -> list[JSON]:
    """Return the session's events with a number above ``after``, in order, as the documents that are hashed.

    Raises InvalidValue for a limit below 0.
    """
    alias = _rows.write_connection().alias
    rows = AuditEvent.objects.using(alias).filter(session_id=session_id, seq__gt=after).order_by("seq")
    return [
        parse_strict(bytes(canonical))
        for canonical in rows.values_list("canonical", flat=True)[: _rows.checked_limit(limit)]
    ]


def openings(head: SessionHead, *, disclose: str, up_to: int) -> list[Opening]:
    """Return the private values of the events up to ``up_to`` that ``disclose`` names; none if they were erased.

    Raises InvalidValue for a disclosure that there is not.
    """
    if disclose not in DISCLOSURES:
        raise InvalidValue("/disclose", f"Choose one of {', '.join(DISCLOSURES)}.")
    if disclose == "none":
        return []
    try:
        key = head.data_key()
    except ContentErased:
        return []
    run_id = str(head.session_id)
    if disclose == PURPOSE:
        values = [(1, PURPOSE, value) for path, value in _kept(head, key, 1).items() if path == PURPOSE]
    else:
        values = list(_private_values(head, key, up_to))
    return [Opening(seq, path, salt_for(key, run_id, seq, path), value) for seq, path, value in values]


def private_values(session: SessionHead | uuid.UUID, seq: int) -> dict[str, JSON]:
    """Return what event ``seq`` holds only commitments to and keeps sealed: ``note``, ``params.<name>``, ``purpose``.

    The patch of a version is read with ``state_at_version``, a message with ``messages``. Empty if the event keeps
    nothing. Raises SessionNotFound, SessionQuarantined, SessionDamaged, ContentErased, KeyProblem.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    require_open(head)
    return _kept(head, head.data_key(), seq)


def _kept(head: SessionHead, key: bytes, seq: int) -> dict[str, JSON]:
    alias = _rows.write_connection().alias
    event = AuditEvent.objects.using(alias).filter(session_id=head.session_id, seq=seq, private__isnull=False)
    sealed = event.values_list("private", flat=True).first()
    values: dict[str, JSON] = {} if sealed is None else open_document(key, head.session_id, PRIVATE, seq, sealed)
    return values


def _private_values(head: SessionHead, key: bytes, up_to: int) -> Iterator[tuple[int, str, JSON]]:
    """Yield event number, path and value of everything that the events hold commitments to."""
    alias = _rows.write_connection().alias
    in_session = {"session_id": head.session_id}
    kept = AuditEvent.objects.using(alias).filter(**in_session, seq__lte=up_to, private__isnull=False)
    for seq, private in kept.values_list("seq", "private"):
        for path, value in open_document(key, head.session_id, PRIVATE, seq, private).items():
            yield seq, path, value
    versions = SessionVersion.objects.using(alias).filter(**in_session, event_seq__lte=up_to, patch__isnull=False)
    for number, seq, sealed in versions.values_list("number", "event_seq", "patch"):
        if patch := open_document(key, head.session_id, PATCH, number, sealed):
            yield seq, "patch", patch
    messages = Message.objects.using(alias).filter(**in_session, event_seq__lte=up_to, body__isnull=False)
    for number, seq, sealed in messages.values_list("number", "event_seq", "body"):
        yield seq, "message", open_document(key, head.session_id, MESSAGE, number, sealed)
