"""What is held for whom, and what is free besides (X1)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.domain.leaves import fields
from agent_sessions.domain.slices.outside import Held as HeldEntry
from agent_sessions.domain.slices.outside import StockSeen
from agent_sessions.domain.tellers.making import moment
from agent_sessions.domain.text import clipped
from agent_sessions.models import Hold
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.history import current_state
from agent_sessions.store.stock import Held, nothing_held

_HELD = (
    "SELECT item, SUM(quantity) FROM agent_sessions_hold "
    "WHERE merchant = %s AND item IN ({items}) AND released_at IS NULL AND expires_at > %s"
)


@dataclass(frozen=True, slots=True)
class ItemStock:
    """What a session knows of an item's stock. Times are UTC.

    ``held`` pieces are kept for it since ``held_at`` and until ``until`` by the hold ``hold_id``; 0 and None if it has
    none. ``free`` more there were at ``seen_at``; None if that is not counted or nobody has asked. ``text`` says both.
    """

    item: str
    held: int
    hold_id: uuid.UUID | None
    held_at: datetime | None
    until: datetime | None
    free: int | None
    seen_at: datetime | None
    text: str


def stock_of(session: SessionHead | uuid.UUID) -> tuple[ItemStock, ...]:
    """Return what is held for a session and what was free besides when the store was last asked, by item (X1).

    Raises what ``current_state`` raises.
    """
    inventory: Any = current_state(session).state.get("inventory", {})
    now = timezone.now()
    holds = {}
    for key, entry in fields(inventory.get("holds")).items():
        hold = msgspec.convert(entry, HeldEntry)
        if hold.released_at is msgspec.UNSET and (hold.until is msgspec.UNSET or hold.until > now):
            holds[hold.item] = (uuid.UUID(key), hold)
    seen = {item: msgspec.convert(entry, StockSeen) for item, entry in fields(inventory.get("stock")).items()}
    return tuple(_told(item, holds.get(item), seen.get(item)) for item in sorted(holds.keys() | seen.keys()))


def held_by_others(session: SessionHead | uuid.UUID | None, items: Collection[str]) -> dict[str, int]:
    """Return how many of each item are held now for other sessions of the same merchant; 0 for the rest.

    With None for a session it is what is held for any, with the merchant of the settings. Raises SessionNotFound.
    """
    if session is None:
        return held_in_all(settings.merchant, items)
    head = session if isinstance(session, SessionHead) else read_head(session)
    return held_in_all(head.merchant, items, but_for=head.session_id)


def held_in_all(merchant: str, items: Collection[str], *, but_for: uuid.UUID | None = None) -> dict[str, int]:
    """Return how many of each item are held now, by all sessions of a merchant but one; 0 for the rest."""
    if not items:
        return {}
    # Every change of a cart asks this, and the ORM takes longer to build the query than the database to answer it.
    connection = _rows.write_connection()
    sql = _HELD.format(items=", ".join(["%s"] * len(items)))
    params = [merchant, *items, _rows.time_param(connection, timezone.now())]
    if but_for is not None:
        sql += " AND session_id <> %s"
        params.append(_rows.uuid_param(connection, but_for))
    sums = dict(_rows.select(connection, sql + " GROUP BY item", params))
    return {item: sums.get(item, 0) for item in items}


def held_for(session: SessionHead | None) -> Held:
    """Return what tells a store's answers how many pieces are held for others than this session.

    Where nothing was held for others when the session was read, nothing is asked.
    """
    return nothing_held if session is not None and not session.others_hold else partial(_some_held, session)


def open_holds() -> QuerySet[Hold]:
    """Holds that were not released, those past their deadline too."""
    return Hold.objects.using(_rows.write_connection().alias).filter(released_at__isnull=True)


def held_by(session_id: uuid.UUID) -> list[tuple[str, int]]:
    """Return items and how many of each are held for a session, also past their deadline."""
    return list(open_holds().filter(session_id=session_id).order_by("item").values_list("item", "quantity"))


def due_holds() -> QuerySet[Hold]:
    """Holds past their deadline that still count as held."""
    return open_holds().filter(expires_at__lte=timezone.now())


def count_due_holds() -> int:
    """Count the holds that wait for ``release_expired_holds``."""
    return due_holds().count()


def _some_held(session: SessionHead | None, items: Collection[str]) -> Mapping[str, int]:
    return {item: held for item, held in held_by_others(session, items).items() if held}


def _told(item: str, held: tuple[uuid.UUID, HeldEntry] | None, seen: StockSeen | None) -> ItemStock:
    hold_id, hold = held or (None, None)
    words = []
    if hold is not None:
        words.append(f"{hold.quantity} held at {moment(hold.held_at)}")
    if seen is not None:
        day = None if hold is None else hold.held_at
        words.append(f"{seen.available} {'still ' if hold is not None else ''}free at {moment(seen.at, day_of=day)}")
    return ItemStock(
        item=item,
        held=0 if hold is None else hold.quantity,
        hold_id=hold_id,
        held_at=None if hold is None else hold.held_at,
        until=None if hold is None or hold.until is msgspec.UNSET else hold.until,
        free=None if seen is None else seen.available,
        seen_at=None if seen is None else seen.at,
        text=f"{clipped(item)}: {', '.join(words)}",
    )
