"""Holding pieces of an item for a session for some minutes: never more than there are, and none for longer (X1, L6).

The holds are the package's own; the store only says how many pieces there are. The store is asked first, outside of any
transaction. One short transaction then raises the count of the item, if that leaves enough, writes the hold, and
changes the session. If an order took pieces meanwhile, what the store said is too old, and it is asked again.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import HoldRefused, InvalidValue, ItemNotFound, SessionBusy
from agent_sessions.models import Hold
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, lock_head, read_head, require_changeable
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.selectors.stock import due_holds, held_by_others, open_holds
from agent_sessions.services._commit import commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._held import count_of, lower_held, mark_taken, raise_held, times_taken
from agent_sessions.services._quarantine import closing_damaged
from agent_sessions.services._texts import check_text
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.services.releasing import expire_holds, hold_entry
from agent_sessions.store.adapter import StoreAdapter, StoreContext
from agent_sessions.store.cart import MAX_LINES, MAX_QUANTITY
from agent_sessions.store.offer import offer
from agent_sessions.store.stock import counts_stock
from agent_sessions.types import JSONValue, Patch, State

PLACED: Final = "hold.placed"
CHANGED: Final = "hold.changed"
_NOBODY: Final = StoreContext()
_ATTEMPTS: Final = 8
_SWEPT: Final = 100
"""Holds past their deadline that one call releases on its way, if it needs their pieces."""


@dataclass(frozen=True, slots=True)
class Held:
    """Pieces that are kept for a session until ``until`` (UTC).

    ``free`` is how many more there were, None where the shop does not count them. ``version`` is the session's.
    """

    hold_id: uuid.UUID
    item: str
    quantity: int
    held_at: datetime
    until: datetime
    free: int | None
    version: int


class _Overtaken(Exception):
    """An order has taken pieces since the store was asked."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be held, and what was known when the store was asked."""

    item: str
    quantity: int
    lasts: timedelta
    there_are: int | None
    taken: int
    actor: Actor
    call: Call
    expected_version: int | None


def place_hold(
    session: SessionHead | uuid.UUID,
    *,
    item: str,
    quantity: int,
    seconds: int | None = None,
    ctx: StoreContext = _NOBODY,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    writing: Writing[Held] = as_it_is,
) -> Held:
    """Keep ``quantity`` pieces of an item for the session (X1). A second call for the item sets both anew.

    They are kept for ``seconds``, at most and by default the setting HOLD_TTL, and no longer than the session lives.
    Never more are held, by all sessions together, than the store has; exact under a race, as long as orders are noted
    by ``complete_handoff`` (see docs/store.md). ``writing`` is as in ``call_capability``.

    Raises HoldRefused (not enough are free, or the shop does not count its stock), ItemNotFound, InvalidValue, NoStore,
    and what ``change_session`` raises; VersionConflict only against an ``expected_version``.
    """
    lasts = _checked(item, quantity, seconds)
    store = _counting_store()
    session_id, swept = id_of(session), False
    for _ in range(_ATTEMPTS):
        head = read_head(session_id)
        require_changeable(head, actor, timezone.now())
        if expected_version not in (None, head.version):
            raise conflict_with(head, expected_version)
        taken = times_taken(head.merchant, item)
        counted = store.stock([item], ctx=replace(ctx, consumer=head.consumer))
        if item not in counted:
            raise ItemNotFound("such item")
        wish = _Wish(item, quantity, lasts, counted[item], taken, actor, call, expected_version)
        try:
            with closing_damaged(session_id):
                return writing(partial(_rows.in_transaction, f"Session {session_id}", partial(_hold, session_id, wish)))
        except _Overtaken:
            continue
        except HoldRefused:
            # Pieces whose time has passed are nobody's, whether or not a job has come by.
            if swept or not expire_holds(due_holds().filter(merchant=head.merchant, item=item), _SWEPT):
                raise
            swept = True
    raise SessionBusy("The stock of this item")


def with_holds(state: State, session_id: uuid.UUID) -> State:
    """Return the state with what is held for a session now, for the one that takes its place; see ``move_holds``."""
    holds: Patch = {str(hold.pk): hold_entry(hold) for hold in open_holds().filter(session_id=session_id)}
    return apply_patch(state, {"inventory": {"holds": holds}}) if holds else state


def move_holds(from_id: uuid.UUID, to_id: uuid.UUID) -> int:
    """Let a session's holds go on as those of the one that takes its place; return how many.

    In the transaction that stores that one and ends the first, before both, by whoever holds the session's row. Its
    state has their entries, see ``with_holds``.
    """
    return open_holds().filter(session_id=from_id).update(session_id=to_id)


def lock_held_items(session: SessionHead | uuid.UUID, items: Collection[str]) -> dict[str, int]:
    """Return how many of each item are held for other sessions, and keep it so until the open transaction ends.

    For a shop that makes an order: call it in that transaction, before taking pieces from the stock, and leave so many
    there. Raises SessionNotFound.
    """
    head = lock_head(id_of(session))
    mark_taken(head.merchant, items)
    return held_by_others(head, items)


def _hold(session_id: uuid.UUID, wish: _Wish) -> Held:
    head = lock_head(session_id)
    now = max(timezone.now(), head.updated_at)
    require_changeable(head, wish.actor, now)
    holds = open_holds().filter(session_id=session_id)
    hold = holds.filter(item=wish.item).first()
    if hold is None and holds.count() >= MAX_LINES:
        raise HoldRefused(f"A session holds at most {MAX_LINES} items. Release one first.")
    kind = PLACED if hold is None else CHANGED
    hold = hold or Hold(session_id=session_id, merchant=head.merchant, item=wish.item, quantity=0, held_at=now)
    _count(hold, wish)
    total = count_of(head.merchant, wish.item)
    free = None if wish.there_are is None else max(0, wish.there_are - total)
    hold.quantity = wish.quantity
    hold.expires_at = min(now + wish.lasts, head.expires_at)
    params: dict[str, JSONValue] = {"hold": str(hold.pk), "item": wish.item, "quantity": wish.quantity}
    call = replace(wish.call, params={**wish.call.params, **params})
    patch = _noted(current_state(head).state, hold, free, now)
    made = commit(head, Draft(kind, wish.actor, call, patch=patch, expected_version=wish.expected_version))
    hold.save(using=_alias())
    return Held(hold.pk, hold.item, hold.quantity, hold.held_at, hold.expires_at, free, made.version)


def _count(hold: Hold, wish: _Wish) -> None:
    """Count what is held more or less than before. Raises HoldRefused, _Overtaken."""
    more = wish.quantity - hold.quantity
    if more < 0:
        lower_held(hold.merchant, {hold.item: -more})
    elif more and not raise_held(hold.merchant, hold.item, more, there_are=wish.there_are, taken=wish.taken):
        if times_taken(hold.merchant, hold.item) != wish.taken:
            raise _Overtaken
        others = count_of(hold.merchant, hold.item) - hold.quantity
        free = max(0, (wish.there_are or 0) - others)
        raise HoldRefused(f"Only {free} can be held for you now; you asked for {wish.quantity}.", free)


def _noted(state: State, hold: Hold, free: int | None, now: datetime) -> Patch:
    """Return the patch that notes a hold; what is noted of earlier ones of the item makes room."""
    known = entries(state, "inventory", "holds").items()
    holds: Patch = {key: None for key, one in known if isinstance(one, dict) and one.get("item") == hold.item}
    holds[str(hold.pk)] = hold_entry(hold)
    if free is None:
        return {"inventory": {"holds": holds}}
    return {"inventory": {"holds": holds, "stock": {hold.item: {"available": free, "at": format_time(now)}}}}


def _counting_store() -> StoreAdapter:
    store = offer().store
    if store is None or not counts_stock(store):
        raise HoldRefused(
            "This shop does not count its stock, so nothing can be held. Check out when the cart is ready."
        )
    return store


def _checked(item: str, quantity: int, seconds: int | None) -> timedelta:
    check_text("/item", item, 200)
    if not item:
        raise InvalidValue("/item", "Name the item.")
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        raise InvalidValue("/quantity", f"Send how many are to be held: a whole number from 1 to {MAX_QUANTITY}.")
    most = int(settings.hold_ttl.total_seconds())
    if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= most):
        raise InvalidValue("/seconds", f"Send for how long they are to be held: 1 to {most} whole seconds.")
    return settings.hold_ttl if seconds is None else timedelta(seconds=seconds)


def _alias() -> str:
    return _rows.write_connection().alias
