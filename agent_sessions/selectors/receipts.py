"""Reads of erasures that consumers have asked for, and of their receipts (A7)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.audit.receipts import digest
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.exceptions import ErasureUnknown, InvalidValue, SessionNotFound
from agent_sessions.models import Erasure, Session, SiteEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors.erasures import erased
from agent_sessions.types import JSONValue


@dataclass(frozen=True, slots=True)
class Receipt:
    """A consumer's erasure as it stands; times are UTC.

    ``finished_at`` is None while it runs. ``left`` counts classes of sessions that had to be kept, ``document`` is what
    can be handed out (see ``audit.receipts``): it names sessions by id and holds nothing personal.
    """

    erasure_id: uuid.UUID
    merchant: str
    requested_by: str
    requested_at: datetime
    due_at: datetime
    finished_at: datetime | None
    left: int
    document: Mapping[str, JSONValue]

    @property
    def is_overdue(self) -> bool:
        """Whether the request should have been answered by now (GDPR Art. 12(3))."""
        return self.finished_at is None and self.due_at <= timezone.now()


def get_receipt(erasure_id: uuid.UUID) -> Receipt:
    """Return an erasure and its receipt. Raises ErasureUnknown."""
    row = erasures().filter(pk=erasure_id).first()
    if row is None:
        raise ErasureUnknown(erasure_id)
    return receipt_of(row)


def check_receipt(document: Mapping[str, Any]) -> list[str]:
    """Compare a receipt that somebody shows with the histories of the site and of its sessions (A7).

    Return what does not fit, in sentences; an empty list says that this site gave it, as it is.
    """
    try:
        erasure_id, told, sessions = str(document["erasure"]), digest(document), dict(document["sessions"])
        outcomes = [(uuid.UUID(one), kept) for one, kept in sessions.items()]
        erased_at = [(one, name, said["erased_at"]) for one, kept in outcomes for name, said in kept.items()
                     if "erased_at" in said]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, InvalidValue):
        return ["It is no receipt of an erasure."]
    problems = []
    events = [event for event in _site_events() if event["params"].get("erasure") == erasure_id]
    if not any(event["params"].get("digest") == told for event in events):
        problems.append("The site's history tells of no such receipt: it was altered, is of another site, or not done.")
    facts = {name: document.get(name) for name in ("merchant", "due_at", "requested_by")}
    if not any({**event["params"], "requested_by": event["actor"]}.items() >= facts.items() for event in events):
        problems.append("It was asked for by somebody else, of another merchant, or at another time.")
    for session_id, name, moment in erased_at:
        with suppress(SessionNotFound):  # the shop has deleted the whole of it
            note = erased(session_id).get(name)
            if note is None or note.at is None or format_time(note.at) != moment:
                problems.append(f"The history of session {session_id} does not tell that its {name} was erased then.")
    return problems


def _site_events() -> Iterator[dict[str, Any]]:
    rows = SiteEvent.objects.using(_rows.write_connection().alias).filter(kind__startswith="erasure.").order_by("seq")
    for canonical in rows.values_list("canonical", flat=True).iterator():
        event: Any = parse_strict(bytes(canonical))
        yield event


def overdue_erasures(now: datetime | None = None) -> list[Receipt]:
    """Return the requests that should have been answered by ``now`` and were not, the longest due first."""
    return [receipt_of(row) for row in open_erasures().filter(due_at__lte=now or timezone.now()).order_by("due_at")]


def open_erasures() -> QuerySet[Erasure]:
    """Requests whose work was not finished: it is running, or was interrupted."""
    return erasures().filter(finished_at__isnull=True)


def kept_erasures() -> QuerySet[Erasure]:
    """Requests of which something had to be kept for the time being."""
    return erasures().filter(finished_at__isnull=False, receipt__left__gt=0)


def sessions_of_consumer(merchant: str, consumer: str, *, but: Collection[uuid.UUID], limit: int) -> list[uuid.UUID]:
    """Return up to ``limit`` sessions that name a consumer, the oldest first, and with them those that came of the same
    first session and name nobody: they were opened before it was known for whom. None of ``but``.
    """
    if not consumer:
        return []
    sessions = Session.objects.using(_rows.write_connection().alias).exclude(pk__in=but)
    own = sessions.filter(merchant=merchant, consumer=consumer).order_by("pk").values_list("pk", "family")[:limit]
    found = dict(own)
    families = set(found.values())
    related = sessions.filter(Q(pk__in=families) | Q(family__in=families, parent__isnull=False), consumer="")
    nameless = related.filter(content_erased_at__isnull=True).order_by("pk").values_list("pk", flat=True)
    return [*found, *nameless] if found else []


def erasures() -> QuerySet[Erasure]:
    return Erasure.objects.using(_rows.write_connection().alias)


def receipt_of(row: Erasure) -> Receipt:
    """Describe a row; the document says when it was finished, too."""
    receipt: dict[str, Any] = row.receipt
    document = {**receipt, "finished_at": None if row.finished_at is None else format_time(row.finished_at)}
    return Receipt(
        row.pk,
        row.merchant,
        row.requested_by,
        row.requested_at,
        row.due_at,
        row.finished_at,
        int(receipt.get("left", 0)),
        document,
    )
