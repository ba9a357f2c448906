"""Reads of a session's chain."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from typing import Any, Final, Literal

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


def openings(head: SessionHead, *, disclose: str, up_to: int) -> Iterator[Opening]:
    """Yield the private values of the events up to ``up_to`` that ``disclose`` names, in order by event and path.

    None if they were erased. A few are in memory at a time. Raises InvalidValue for a disclosure that there is not.
    """
    if disclose not in DISCLOSURES:
        raise InvalidValue("/disclose", f"Choose one of {', '.join(DISCLOSURES)}.")
    return _openings(head, disclose, up_to)


def _openings(head: SessionHead, disclose: str, up_to: int) -> Iterator[Opening]:
    if disclose == "none":
        return
    keys, run_id = head.data_keys(), str(head.session_id)
    values: Iterable[tuple[int, str, JSON]]
    if disclose == PURPOSE:
        kept = _kept(head, keys, 1) if keys.opens("personal") else {}
        values = [(1, path, value) for path, value in kept.items() if path == PURPOSE]
    else:
        values = _private_values(head, keys, up_to, personal=disclose == "all")
    for seq, path, value in values:
        yield Opening(seq, path, salt_for(keys.of_path(path), run_id, seq, path), value)


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
    return _private_values(head, head.data_keys(), head.head_seq)


def _kept(head: SessionHead, keys: DataKeys, seq: int) -> dict[str, JSON]:
    alias = _rows.write_connection().alias
    event = AuditEvent.objects.using(alias).filter(session_id=head.session_id, seq=seq, private__isnull=False)
    sealed = event.values_list("private", flat=True).first()
    values: dict[str, JSON] = {} if sealed is None else open_document(keys, head.session_id, PRIVATE, seq, sealed)
    return values


def _private_values(
    head: SessionHead, keys: DataKeys, up_to: int, *, personal: bool = True
) -> Iterator[tuple[int, str, JSON]]:
    """Yield event number, path and value of everything that the events hold commitments to, personal or not, in order.

    Versions and messages are numbered in the order of their events.
    """
    if not personal or not keys.opens("personal"):
        return _opened_patches(head, keys, up_to, "patch") if keys.opens("content") else iter(())
    sources = [_opened_patches(head, keys, up_to, "personal"), _opened_private(head, keys, up_to)]
    sources.append(_opened_messages(head, keys, up_to))
    if keys.opens("content"):
        sources.append(_opened_patches(head, keys, up_to, "patch"))
    return merge(*sources, key=lambda one: one[:2])


def _opened_patches(
    head: SessionHead, keys: DataKeys, up_to: int, path: Literal["patch", "personal"]
) -> Iterator[tuple[int, str, JSON]]:
    column, what = ("patch", PATCH) if path == "patch" else ("personal_patch", PERSONAL_PATCH)
    rows = SessionVersion.objects.using(_rows.write_connection().alias).filter(
        session_id=head.session_id, event_seq__lte=up_to, **{f"{column}__isnull": False}
    )
    for number, seq, sealed in _few(rows.order_by("number"), "number", "event_seq", column):
        if (patch := open_document(keys, head.session_id, what, number, sealed)) or path == "personal":
            yield seq, path, patch


def _opened_private(head: SessionHead, keys: DataKeys, up_to: int) -> Iterator[tuple[int, str, JSON]]:
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(
        session_id=head.session_id, seq__lte=up_to, private__isnull=False
    )
    for seq, sealed in _few(rows.order_by("seq"), "seq", "private"):
        for path, value in sorted(open_document(keys, head.session_id, PRIVATE, seq, sealed).items()):
            yield seq, path, value


def _opened_messages(head: SessionHead, keys: DataKeys, up_to: int) -> Iterator[tuple[int, str, JSON]]:
    rows = Message.objects.using(_rows.write_connection().alias).filter(
        session_id=head.session_id, event_seq__lte=up_to, body__isnull=False
    )
    for number, seq, sealed in _few(rows.order_by("number"), "number", "event_seq", "body"):
        yield seq, "message", open_document(keys, head.session_id, MESSAGE, number, sealed)


def _few(rows: QuerySet[Any], *columns: str) -> Iterator[Any]:
    return rows.values_list(*columns).iterator(chunk_size=_FEW)
