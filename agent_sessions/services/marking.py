"""Marking what is stale: the job that carries what the shop reported into the sessions that depend on it (X2).

Changes are worked through in the order of their numbers, each for its live sessions in the order of theirs, some at a
time. Whoever works on a change has claimed it for a minute, by a compare-and-set that works on every database; after a
crash the next run goes on where that one stopped. Marking a part that is marked writes nothing, so a batch that is done
twice does no harm.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.references import CONSUMER, newly_named, reference, references
from agent_sessions.exceptions import (
    AgentSessionsError,
    ContentErased,
    InvalidValue,
    LimitExceeded,
    SessionDamaged,
    SessionEnded,
    SessionNotFound,
    SessionPaused,
    VersionConflict,
)
from agent_sessions.models import SessionReference, StoreChange
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_live
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.selectors.staleness import dependants, old_changes, open_changes
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.types import Patch, State

logger = logging.getLogger("agent_sessions")

MARKED: Final = "session.marked_stale"
LEASE: Final = timedelta(seconds=60)
"""How long a run has a change to itself after its last sign of life."""
LAG: Final = timedelta(seconds=30)
"""How long a shop's transaction may take to commit what it reports; what is older the store had told already."""
_BATCH: Final = 50
_ATTEMPTS: Final = 8
_WORDS: Final = 5
"""Words of what has changed that one part gathers at most."""
_GONE = (SessionNotFound, SessionEnded)
_CLOSED = (SessionDamaged, ContentErased, LimitExceeded)
"""What keeps a session from being marked for good: it is damaged, and sells nothing, or it is full to the brim."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What one run of ``mark_stale`` did: numbers of changes that are done with, and of sessions."""

    changes: int
    sessions: int
    failed: int
    remaining: bool


@dataclass(slots=True)
class _Run:
    """What a run may still do: sessions to look at, changes to carry."""

    sessions: int
    changes: int
    marked: int = 0
    failed: int = 0

    @property
    def is_over(self) -> bool:
        return self.sessions <= 0 or self.changes <= 0


def mark_stale(*, limit: int = 500) -> Marked:
    """Mark the parts that reported changes are about in the sessions that depend on them.

    Up to ``limit`` changes are carried into up to ``limit`` sessions; ten times as many that no session depends on are
    done with at once. Paused sessions are marked too: they go on with what is so. Safe to run twice at once and to stop
    anywhere. A session that fails is logged, holds up no other, and is tried again a minute later. Changes that were
    done with a day ago are deleted, ten times ``limit`` at most. Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many sessions one run deals with: a whole number, 1 or more.")
    run = _Run(sessions=limit, changes=limit)
    done, stopped = _dismiss(10 * limit)
    while not run.is_over and (change := _claim()) is not None:
        run.changes -= 1
        done += _work(change, run)
    old = old_changes()
    if some := list(old.values_list("pk", flat=True)[: 10 * limit]):
        old.filter(pk__gte=min(some), pk__lte=max(some)).delete()
    return Marked(done, run.marked, run.failed, remaining=(stopped or run.is_over) and open_changes().exists())


def mark_if_overtaken(head: SessionHead, before: State, after: State, patch: Patch, *, since: datetime) -> None:
    """Mark what a change of a session has just come to depend on, if it was reported as changed meanwhile.

    ``patch`` has made ``before`` into ``after``; ``since`` is when the store was asked, or before that: the job may
    have passed the session before it depended on the thing. What it was done with before ``since`` the store has taken
    into account. Call it after the change: it looks when that is committed.
    """
    added = newly_named(before, after, patch) if "shopping" in patch else ()
    if added:
        look = partial(_mark_overtaken, head.session_id, head.merchant, added, since)
        transaction.on_commit(look, using=_alias(), robust=True)


def _mark_overtaken(session_id: uuid.UUID, merchant: str, refs: Collection[str], since: datetime) -> None:
    # Each new line of a cart asks this, and nearly always there is nothing.
    connection = _rows.write_connection()
    named = ", ".join(["%s"] * len(refs))
    sql = f"""SELECT 1 FROM agent_sessions_storechange
        WHERE ref IN ({named}) AND merchant = %s AND reported_at >= %s LIMIT 1"""  # noqa: S608 - placeholders
    if not _rows.select(connection, sql, [*refs, merchant, _rows.time_param(connection, since - LAG)]):
        return
    found = StoreChange.objects.using(_alias()).filter(merchant=merchant, ref__in=refs, reported_at__gte=since - LAG)
    changes = list(found.filter(Q(done_at__isnull=True) | Q(done_at__gte=since)).order_by("id"))
    if changes:
        with suppress(*_GONE):
            _mark(session_id, changes)


def _unclaimed() -> QuerySet[StoreChange]:
    now = timezone.now()
    # A claim from the future is one of before a clock was set back.
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now) | Q(claimed_until__gt=now + LEASE)
    return open_changes().filter(free).order_by("id")


def _dismiss(limit: int) -> tuple[int, bool]:
    """Be done with what no session depends on, among the first changes; return how many, and whether there are more."""
    first = list(_unclaimed().values_list("pk", flat=True)[:limit])
    if not first:
        return 0, False
    dependants = SessionReference.objects.filter(ref=OuterRef("ref"))
    nobodys = _unclaimed().filter(pk__gte=first[0], pk__lte=first[-1]).exclude(ref__startswith=f"{CONSUMER}:")
    return nobodys.exclude(Exists(dependants)).order_by().update(done_at=timezone.now()), len(first) == limit


def _claim() -> StoreChange | None:
    """Take the first open change that nobody works on."""
    while True:
        change = _unclaimed().first()
        if change is None or _move(change, claimed_until=timezone.now() + LEASE):
            return change


def _move(change: StoreChange, **columns: object) -> bool:
    """Change the row of a change if it still is as it was read."""
    as_read = open_changes().filter(
        pk=change.pk, claimed_until=change.claimed_until, after_session=change.after_session
    )
    if not as_read.update(**columns):
        return False
    for name, value in columns.items():
        setattr(change, name, value)
    return True


def _work(change: StoreChange, run: _Run) -> bool:
    """Go on with a change; return whether it is done with."""
    failed = 0
    while run.sessions > 0:
        some = dependants(change, min(_BATCH, run.sessions))
        if not some:
            if failed:
                _try_again(change)
            return _move(change, done_at=timezone.now(), claimed_until=None)
        failed += _mark_batch(some, change, run)
        if not _move(change, after_session=some[-1], claimed_until=timezone.now() + LEASE):
            return False  # it took so long that another run has taken over
    if failed:
        _try_again(change)
    _move(change, claimed_until=None)
    return False


def _mark_batch(some: list[uuid.UUID], change: StoreChange, run: _Run) -> int:
    """Mark some sessions, with all that is reported of them at once; return how many could not be marked now."""
    refs = SessionReference.objects.using(_alias()).filter(session_id__in=some).values("ref")
    others = open_changes().filter(merchant=change.merchant, ref__in=refs).exclude(pk=change.pk)
    changes, failed = sorted([change, *others], key=lambda one: one.pk), 0
    for session_id in some:
        try:
            run.marked += _mark(session_id, changes)
        except _GONE:
            continue
        except _CLOSED:
            logger.warning("Session %s could not be marked as stale.", session_id, exc_info=True)
        except AgentSessionsError:
            logger.exception("Session %s could not be marked as stale; it is tried again.", session_id)
            failed += 1
    run.sessions -= len(some)
    run.failed += failed
    return failed


def _try_again(change: StoreChange) -> None:
    """Have a change worked through once more, in a minute: what is marked already is not marked again."""
    StoreChange.objects.using(_alias()).create(
        merchant=change.merchant,
        ref=change.ref,
        what=change.what,
        reported_at=change.reported_at,
        claimed_until=timezone.now() + LEASE,
    )


def _mark(session_id: uuid.UUID, changes: Iterable[StoreChange]) -> bool:
    """Mark what of a session depends on the changes; return whether anything was new."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return _mark_once(session_id, changes)
        except (VersionConflict, SessionPaused):
            continue
    return _mark_once(session_id, changes)


def _mark_once(session_id: uuid.UUID, changes: Iterable[StoreChange]) -> bool:
    head = read_head(session_id)
    require_live(head, timezone.now())
    state = current_state(head).state
    parts = _new_parts(state, references(state) | {reference(CONSUMER, head.consumer)}, changes)
    if not parts:
        return False
    patch: Patch = {"stale": {"parts": parts}}
    call = Call(params={"parts": len(parts)})
    # A change of the row costs the single statement of other writes, so only where nothing else would be let in.
    row = _although_paused if head.status is Status.PAUSED else None
    commit(head, Draft(MARKED, SYSTEM, call, patch=patch, expected_version=head.version, repeats=True), row=row)
    return True


def _new_parts(state: State, refs: Collection[str], changes: Iterable[StoreChange]) -> Patch:
    """Return the parts that are not yet marked so. A part gathers what has changed of it, since the first time."""
    known = entries(state, "stale", "parts")
    parts: Patch = {}
    for change in changes:
        if change.ref not in refs:
            continue
        kind, _, name = change.ref.partition(":")
        before = parts.get(change.ref) or known.get(change.ref)
        since, words = format_time(change.reported_at), []
        if isinstance(before, dict):
            since = str(before.get("since", since))
            words = [word for word in str(before.get("what", "")).split(", ") if word]
            if change.what in words or not change.what or len(words) >= _WORDS:
                continue
        what = ", ".join([*words, change.what] if change.what else words)
        parts[change.ref] = {"kind": kind, "ref": name, "since": since, **({"what": what} if what else {})}
    return parts


def _although_paused(head: SessionHead, now: datetime) -> RowChange:
    require_live(head, now)
    return RowChange({})


def _alias() -> str:
    return _rows.write_connection().alias
