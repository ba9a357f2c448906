"""Letting go of what is held: when it is not needed any more, when its time has passed, and when its session ends (L6).

Whatever way a hold ends, its row, the count of its item and, while the session takes it, the session's history say so
in one transaction.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor
from agent_sessions.domain.lifecycle import LIVE, EndReason, Status
from agent_sessions.exceptions import (
    AgentSessionsError,
    ContentErased,
    HoldNotFound,
    InvalidValue,
    LimitExceeded,
    SessionDamaged,
    SessionEnded,
)
from agent_sessions.models import CheckoutHandoff, Hold
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, lock_head, read_head, require_live
from agent_sessions.selectors.stock import due_holds, open_holds
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._held import lower_held
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._quarantine import closing_damaged
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.types import JSONValue, Patch

logger = logging.getLogger("agent_sessions")

Because = Hold.Because
_NOTHING: Final[Mapping[str, JSONValue]] = {}
_KINDS: Final = {
    Because.RELEASED: "hold.released",
    Because.ENDED: "hold.released",
    Because.EXPIRED: "hold.expired",
    Because.ORDERED: "hold.ordered",
}


@dataclass(frozen=True, slots=True)
class Released:
    """How many holds were let go, and the session's version after it."""

    holds: int
    version: int


def release_holds(
    session: SessionHead | uuid.UUID,
    *,
    item: str = "",
    hold_id: uuid.UUID | None = None,
    because: str = Because.RELEASED,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
) -> Released:
    """Let go what is held for the session: of one item, by one hold, or all of it.

    ``because`` is one of ``Hold.Because``, ``note`` says why in at most 1000 characters, sealed. Where nothing is held
    nothing is written. Raises HoldNotFound for a ``hold_id`` that is not one of the session's open holds, and what
    ``change_session`` raises.
    """
    session_id, said = id_of(session), sealed_note(note)
    require_no_payment_data(said)

    def act() -> Released:
        head = lock_head(session_id)
        rows = open_holds().filter(session_id=session_id)
        if item:
            rows = rows.filter(item=item)
        if hold_id is not None:
            rows = rows.filter(pk=hold_id)
        found = list(rows.order_by("item"))
        if not found:
            require_live(head, timezone.now())
            if hold_id is not None:
                raise HoldNotFound
            return Released(0, head.version)
        version = _let_go(head, found, Because(because), actor, call, expected_version, said)
        return Released(len(found), version)

    with closing_damaged(session_id):
        return _rows.in_transaction(f"Session {session_id}", act)


def release_expired_holds(*, limit: int = 500) -> int:
    """Release up to ``limit`` holds whose deadline has passed; return how many.

    Safe to run twice at once and to stop anywhere: each is a transaction of its own. One that fails is logged and holds
    up no other. Raises InvalidValue for a limit below 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many holds one run deals with: a whole number, 1 or more.")
    return expire_holds(due_holds(), limit)


def holds_anything(session_id: uuid.UUID) -> bool:
    """Tell whether something is held for the session, also past its deadline."""
    return open_holds().filter(session_id=session_id).exists()


def release_holds_at_end(session_id: uuid.UUID, reason: EndReason) -> int:
    """Release what a session holds that is about to end; return its version then (L6).

    In the transaction of the end, before it, by whoever holds the session's row. What a human has been given a link to
    pay for stays held until it is ordered or the hold's own deadline comes: the order of that link releases it.
    """
    head = read_head(session_id)
    found = list(open_holds().filter(session_id=session_id).order_by("item"))
    because = Because.ENDED
    if reason is EndReason.COMPLETED and found:
        links = CheckoutHandoff.objects.using(_alias()).filter(session_id=session_id)
        if links.filter(ordered_at__isnull=False).exists():
            because = Because.ORDERED
        elif links.filter(closed_at__isnull=True).exists():
            return head.version
    if not found:
        return head.version
    return _let_go(head, found, because, SYSTEM)


def release_after_end(session_id: uuid.UUID, because: str) -> int:
    """Release what was kept for the checkout of an ended session; return how many holds that were.

    In the transaction that completes or gives up the checkout. A live session keeps what it holds. The history of an
    ended one is closed, so nothing is written there.
    """
    if lock_head(session_id).status is not Status.ENDED:
        return 0
    found = list(open_holds().filter(session_id=session_id).order_by("item"))
    _release_rows(found, Because(because), timezone.now())
    return len(found)


def hold_entry(hold: Hold, released_at: datetime | None = None) -> Patch:
    """Return a hold as the state notes it."""
    entry: Patch = {
        "item": hold.item,
        "quantity": hold.quantity,
        "held_at": format_time(hold.held_at),
        "until": format_time(hold.expires_at),
    }
    return entry if released_at is None else {**entry, "released_at": format_time(released_at)}


def _let_go(
    head: SessionHead,
    found: list[Hold],
    because: Because,
    actor: Actor,
    call: Call = NO_CALL,
    expected_version: int | None = None,
    said: Mapping[str, JSONValue] = _NOTHING,
) -> int:
    """Release holds and say so in the session's history; return its version. The caller holds the session's row."""
    now = max(timezone.now(), head.updated_at)
    call = replace(call, params={**call.params, "holds": [str(hold.pk) for hold in found]})
    patch: Patch = {"inventory": {"holds": {str(hold.pk): hold_entry(hold, now) for hold in found}}}
    draft = Draft(_KINDS[because], actor, call, patch, expected_version=expected_version, private=said, repeats=True)
    allowed = None if actor.kind == "agent" else _even_if_over
    try:
        made = commit(head, draft, row=allowed)
    except LimitExceeded:  # a session that is full to the brim lets go what it holds all the same
        made = commit(head, replace(draft, patch=None), row=allowed)
    _release_rows(found, because, now)
    return made.version


def _release_rows(found: Iterable[Hold], because: Because, now: datetime) -> None:
    for hold in found:
        open_holds().filter(pk=hold.pk).update(released_at=now, released_because=because.value)
        lower_held(hold.merchant, {hold.item: hold.quantity}, taken=because is Because.ORDERED)


def expire_holds(due: QuerySet[Hold], limit: int) -> int:
    """Release up to ``limit`` of these, which are past their deadline; return how many."""
    expired = 0
    for hold_id, session_id in list(due.order_by("expires_at", "pk").values_list("pk", "session_id")[:limit]):
        try:
            expired += _rows.in_transaction(f"Session {session_id}", partial(_expire, session_id, hold_id))
        except AgentSessionsError:
            logger.exception("Hold %s could not be released; the next run tries again.", hold_id)
    return expired


def _expire(session_id: uuid.UUID, hold_id: uuid.UUID) -> bool:
    head = lock_head(session_id)
    found = list(due_holds().filter(pk=hold_id))
    try:
        if found:
            _let_go(head, found, Because.EXPIRED, SYSTEM)
    except (SessionEnded, SessionDamaged, ContentErased):
        # Nothing was written. The goods do not wait for a history that takes nothing any more.
        _release_rows(found, Because.EXPIRED, timezone.now())
    return bool(found)


def _even_if_over(head: SessionHead, now: datetime) -> RowChange:
    """Let the release in while the session is paused, overdue or revoked: it says what is so anyway."""
    if head.status not in LIVE:
        require_live(head, now)
    return RowChange({}, when_overdue=None)


def _alias() -> str:
    return _rows.write_connection().alias
