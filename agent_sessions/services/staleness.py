"""What changes in the shop while agents work: reported, noted where it matters, and validated again (X2).

A report is one row per thing that has changed, in the transaction of whoever reports it. A job then marks the parts of
the live sessions that depend on it, and checkout refuses them until they are validated again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.references import KINDS, reference
from agent_sessions.exceptions import InvalidValue, NoStore, StaleCart, VersionConflict
from agent_sessions.models import StoreChange
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, id_of, read_head, require_changeable
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.selectors.stock import held_for, held_in_all
from agent_sessions.services._commit import commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.store.adapter import StoreAdapter, StoreContext
from agent_sessions.store.cart import SessionCart, cart_lines, cart_slice, cart_vouchers, repriced
from agent_sessions.store.offer import offer
from agent_sessions.store.stock import counts_stock
from agent_sessions.types import JSONValue, Patch, State

logger = logging.getLogger("agent_sessions")

REVALIDATED: Final = "cart.revalidated"
MAX_WHAT: Final = 32
"""Characters of the word for what has changed."""
_NOBODY: Final = StoreContext()
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Revalidated:
    """What is different from what the session knew, in shop terms, and what the store has against the cart now.

    ``problems`` are maps with ``code`` and ``message`` and, where it helps, ``line``, ``voucher`` and ``available``.
    """

    changes: tuple[Difference, ...]
    problems: tuple[dict[str, JSONValue], ...]
    state: State
    version: int


def report_change(kind: str, ids: Iterable[str], what: str, *, merchant: str = "") -> int:
    """Report that something has changed in the shop; return how many things (X2). Cheap: it only inserts rows.

    ``kind`` is ``item``, ``voucher`` or ``consumer``; ``ids`` are as in the cart, for a consumer the pseudonym from
    ``consumer_pseudonym``; ``what`` is one word for people, at most 32 characters: ``price``, ``stock``, ``withdrawn``.
    Call it in the transaction that makes the change: then both are there or neither. ``merchant`` defaults to the
    setting. Raises InvalidValue, PaymentDataRefused.
    """
    if kind not in KINDS:
        raise InvalidValue("/kind", f"Send one of {', '.join(KINDS)}.")
    check_text("/what", what, MAX_WHAT)
    changed = list(dict.fromkeys(ids))
    for one in changed:
        check_text("/ids", one, 10_000)
        if not one:
            raise InvalidValue("/ids", "Name what has changed.")
    now, merchant = timezone.now(), merchant or settings.merchant
    require_no_payment_data({"ids": changed, "what": what, "merchant": merchant})
    StoreChange.objects.using(_rows.write_connection().alias).bulk_create(
        [StoreChange(merchant=merchant, ref=reference(kind, one), what=what, reported_at=now) for one in changed],
        batch_size=500,
    )
    return len(changed)


def connect_store() -> None:
    """Let the site's store report what changes, if it can: its ``connect`` is given ``report_change``.

    Called once, when Django starts; asks no database. What goes wrong is logged and told by a system check: it must not
    keep the site from starting.
    """
    if not settings.store:
        return
    try:
        store = offer().store
        connect = getattr(store, "connect", None)
        if callable(connect):
            connect(report_change)
    except NoStore:
        return  # told by E008
    except Exception as problem:  # noqa: BLE001 - the host's own code, which may fail with anything
        logger.error("The store's connect failed (%s); it reports no changes.", type(problem).__name__)
        connect_failures[settings.store] = type(problem).__name__


connect_failures: dict[str, str] = {}
"""Stores whose ``connect`` failed in this process, and with what type of error."""


def require_nothing_stale(state: State) -> None:
    """Refuse to hand over a cart that depends on something that has changed since. Raises StaleCart."""
    parts = [part for _, part in sorted(entries(state, "stale", "parts").items()) if isinstance(part, dict)]
    if parts:
        raise StaleCart(parts)


def revalidate(
    session: SessionHead | uuid.UUID,
    *,
    ctx: StoreContext = _NOBODY,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    writing: Writing[Revalidated] = as_it_is,
) -> Revalidated:
    """Ask the store about all that the session depends on; then nothing in it is stale (X2).

    Prices, vouchers and, where the store counts it, stock are what the store says now, as one version; the answer tells
    what is different. A problem of the cart holds up nothing here, but checkout. The store is asked outside of any
    transaction, again if another change comes between. ``writing`` is as in ``call_capability``.

    Raises NoStore, CartProblem if the store cannot price the cart, and what ``change_session`` raises; VersionConflict
    against an ``expected_version``, or if eight attempts in a row were overtaken.
    """
    session_id = id_of(session)
    for number in range(_ATTEMPTS):
        head = read_head(session_id)
        require_changeable(head, actor, timezone.now())
        if expected_version not in (None, head.version):
            raise conflict_with(head, expected_version)
        before = current_state(head).state
        patch = validation_patch(head, before, replace(ctx, consumer=head.consumer))
        try:
            return writing(partial(_write, head, before, patch, actor, call))
        except VersionConflict:
            if expected_version is not None or number == _ATTEMPTS - 1:
                raise
    raise AssertionError  # the last round returns or raises


def _write(head: SessionHead, before: State, patch: Patch, actor: Actor, call: Call) -> Revalidated:
    after = apply_patch(before, patch)
    changes = describe({"shopping": cart_slice(before)}, {"shopping": cart_slice(after)})
    extra: Any = cart_slice(after).get("quote", {}).get("extra", {})
    problems = tuple(extra.get("problems", ()))
    told = {"changes": len(changes), "problems": len(problems), "parts": len(entries(before, "stale", "parts"))}
    call = replace(call, params={**call.params, **told})
    made = commit(head, Draft(REVALIDATED, actor, call, patch=patch, expected_version=head.version))
    return Revalidated(changes, problems, after, made.version)


def validation_patch(head: SessionHead, state: State, ctx: StoreContext) -> Patch:
    """Return the patch that makes ``state``, of a session that stands at ``head``, what the store says now (X2).

    What is held for the session counts as there for it. Raises NoStore, CartProblem.
    """
    store = offer().store
    if store is None:
        raise NoStore("This site has no store: AGENT_SESSIONS['STORE'] is empty.")
    patch: Patch = {}
    if cart_lines(state) or cart_vouchers(state):
        patch = repriced(SessionCart(state, store, ctx, held_for(head)))
    if stock := _stock_seen(head, state, store, ctx):
        patch = {**patch, "inventory": {"stock": stock}}
    if parts := entries(state, "stale", "parts"):
        patch = {**patch, "stale": {"parts": dict.fromkeys(parts)}}
    return patch


def _stock_seen(head: SessionHead, state: State, store: StoreAdapter, ctx: StoreContext) -> Patch:
    """Return how many are free of each item of the cart and of those whose stock the session has asked for (X1)."""
    known = entries(state, "inventory", "stock")
    items = sorted({item for item, _ in cart_lines(state).values()} | known.keys())
    if not items or not counts_stock(store):
        return {}
    counted = store.stock(items, ctx=ctx)
    held, now = held_in_all(head.merchant, items), format_time(timezone.now())
    seen: Patch = {}
    for item in items:
        there_are = counted.get(item)
        if there_are is not None:
            seen[item] = {"available": max(0, there_are - held[item]), "at": now}
        elif item in known:
            seen[item] = None
    return seen
