"""Reads of a session's chain."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from django.db.models import QuerySet

from agent_sessions.audit.artifact import PURPOSE, Opening
from agent_sessions.crypto.canonical import JSON, parse_strict
from agent_sessions.crypto.commitments import salt_for
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import AuditEvent, Message, SessionVersion
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors._keys import PATCH, DataKeys
from agent_sessions.selectors._states import MESSAGE, PERSONAL_PATCH, PRIVATE, open_document

_FEW: Final = 25
DISCLOSURES = (PURPOSE, "content", "all", "none")
"""What an artifact can open: the agent's purpose; prices and decisions, but nothing personal; everything; nothing."""


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
    keys, run_id = head.data_keys(), str(head.session_id)
    if disclose == PURPOSE:
        kept = _kept(head, keys, 1) if keys.opens("personal") else {}
        values = [(1, PURPOSE, value) for path, value in kept.items() if path == PURPOSE]
    else:
        values = list(_private_values(head, keys, up_to, personal=disclose == "all"))
    return [Opening(seq, path, salt_for(keys.of_path(path), run_id, seq, path), value) for seq, path, value in values]


def private_values(session: SessionHead | uuid.UUID, seq: int) -> dict[str, JSON]:
    """Return what event ``seq`` holds only commitments to and keeps sealed: ``note``, ``params.<name>``, ``purpose``.

    The patch of a version is read with ``state_at_version``, a message with ``messages``. Empty if the event keeps
    nothing, and once the personal class was erased (see ``erased``). Raises SessionNotFound, SessionQuarantined,
    SessionDamaged, KeyProblem.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    require_open(head)
    keys = head.data_keys()
    return _kept(head, keys, seq) if keys.has_personal else {}


def sealed_parts(head: SessionHead, seqs: Collection[int]) -> dict[int, dict[str, JSON]]:
    """Return what several events keep sealed, as ``private_values`` does of one; events that keep nothing are left out.

    Raises SessionDamaged, ContentErased, KeyProblem.
    """
    alias, keys = _rows.write_connection().alias, head.data_keys()
    rows = AuditEvent.objects.using(alias).filter(session_id=head.session_id, seq__in=seqs, private__isnull=False)
    return {
        seq: open_document(keys, head.session_id, PRIVATE, seq, sealed)
        for seq, sealed in rows.values_list("seq", "private")
    }


def sealed_values(head: SessionHead) -> Iterator[tuple[int, str, JSON]]:
    """Yield event number, path and value of all that is sealed of a session and was not erased: patches, turns, words.

    A few of them are in memory at a time. Raises SessionDamaged, KeyProblem.
    """
    return _private_values(head, head.data_keys(), head.head_seq, few=_FEW)


def _kept(head: SessionHead, keys: DataKeys, seq: int) -> dict[str, JSON]:
    alias = _rows.write_connection().alias
    event = AuditEvent.objects.using(alias).filter(session_id=head.session_id, seq=seq, private__isnull=False)
    sealed = event.values_list("private", flat=True).first()
    values: dict[str, JSON] = {} if sealed is None else open_document(keys, head.session_id, PRIVATE, seq, sealed)
    return values


def _private_values(
    head: SessionHead, keys: DataKeys, up_to: int, *, personal: bool = True, few: int = 0
) -> Iterator[tuple[int, str, JSON]]:
    """Yield event number, path and value of everything that the events hold commitments to, personal or not.

    All rows of a table are read at once, or ``few`` of them at a time: that takes longer.
    """

    def rows(found: QuerySet[Any], *columns: str) -> Iterable[Any]:
        values = found.values_list(*columns)
        return values.iterator(chunk_size=few) if few else values

    alias = _rows.write_connection().alias
    in_session = {"session_id": head.session_id}
    versions = SessionVersion.objects.using(alias).filter(**in_session, event_seq__lte=up_to)
    if keys.opens("content"):
        for number, seq, sealed in rows(versions.filter(patch__isnull=False), "number", "event_seq", "patch"):
            if patch := open_document(keys, head.session_id, PATCH, number, sealed):
                yield seq, "patch", patch
    if not personal or not keys.opens("personal"):
        return
    said = versions.filter(personal_patch__isnull=False)
    for number, seq, sealed in rows(said, "number", "event_seq", "personal_patch"):
        yield seq, "personal", open_document(keys, head.session_id, PERSONAL_PATCH, number, sealed)
    events = AuditEvent.objects.using(alias).filter(**in_session, seq__lte=up_to, private__isnull=False)
    for seq, private in rows(events, "seq", "private"):
        for path, value in open_document(keys, head.session_id, PRIVATE, seq, private).items():
            yield seq, path, value
    messages = Message.objects.using(alias).filter(**in_session, event_seq__lte=up_to, body__isnull=False)
    for number, seq, sealed in rows(messages, "number", "event_seq", "body"):
        yield seq, "message", open_document(keys, head.session_id, MESSAGE, number, sealed)
