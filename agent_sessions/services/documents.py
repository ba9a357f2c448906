"""Handing what a session has come to to a specialist agent, as a document, and taking one over (C3)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import msgspec
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.documents import (
    DOCUMENT_TYPE,
    Source,
    StateDocument,
    Totals,
    portable,
    read_document,
)
from agent_sessions.domain.identity import AGENT, Actor, Agent, Scope
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.money import format_money
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.sizes import slice_sizes
from agent_sessions.domain.state import SCHEMA_VERSION
from agent_sessions.exceptions import CartProblem, DocumentRefused, ItemNotFound
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._opening import OpenedSession
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.services.marking import mark_if_overtaken
from agent_sessions.services.sessions import open_session
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.capabilities import Capability, CapabilityCall, Outcome, SessionFacts
from agent_sessions.store.cart import SessionCart, cart_lines, cart_vouchers, repriced
from agent_sessions.store.offer import offer
from agent_sessions.store.policies import decide_after
from agent_sessions.types import Patch, State

EXPORTED: Final = "session.exported"


@dataclass(frozen=True, slots=True)
class Imported:
    """The session that goes on from a document. ``changes`` is what is different from what the document said."""

    opened: OpenedSession
    state: State
    changes: tuple[Difference, ...]


def export_state(session: SessionHead | uuid.UUID, *, actor: Actor = AGENT, call: Call = NO_CALL) -> dict[str, Any]:
    """Return the session's state as a document for another agent; that it was given away is an event.

    Its shape is published: see ``document_json_schema``. Raises what ``record_event`` raises.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    view = current_state(head)
    shopping = view.state.get("shopping")
    quote = shopping.get("quote") if isinstance(shopping, dict) else None
    document = StateDocument(
        type=DOCUMENT_TYPE,
        schema=SCHEMA_VERSION,
        exported_at=timezone.now(),
        source=Source(
            session_id=str(head.session_id),
            site=settings.site,
            merchant=head.merchant,
            version=view.version,
            consumer=head.consumer,
            parent_request=head.parent_request,
        ),
        state=portable(view.state),
        totals=Totals(quote["total"], quote["currency"]) if isinstance(quote, dict) else None,  # type: ignore[arg-type]
    )
    told: dict[str, Any] = msgspec.to_builtins(document)
    told["exported_at"] = format_time(document.exported_at)
    commit(head, Draft(EXPORTED, actor, replace(call, params={**call.params, "version": view.version})))
    return {name: value for name, value in told.items() if value is not None}


def import_state(
    document: object,
    *,
    ctx: StoreContext,
    agent: Agent,
    consumer: str = "",
    merchant: str = "",
    scope: Scope | None = None,
    kind: str = "standard",
    caller: str = "",
    bound_to: str = "",
    max_sessions: int = 0,
    call: Call = NO_CALL,
    writing: Writing[Imported] = as_it_is,
) -> Imported:
    """Open a session that goes on from a state document, if it holds against stock, prices, customer and rules.

    ``consumer`` is the pseudonym of whom the receiving agent acts for; ``merchant``, as it, is not taken from the
    document. ``writing`` is as in ``call_capability``, everything else as in ``open_session``.

    Raises DocumentRefused, with a message that can be passed on to the customer and nothing left behind, and what
    ``open_session`` raises.
    """
    read = read_document(document)
    if read.source.consumer and read.source.consumer != consumer:
        raise DocumentRefused("other_customer", "This cart belongs to somebody else's account.", "/source/consumer")
    wanted = portable(read.state)
    _require_small(wanted)
    asked_at = timezone.now()
    state = _validated(wanted, replace(ctx, consumer=consumer))
    _require_totals(read, state)
    merchant = merchant or settings.merchant
    _require_allowed(state, agent, consumer, merchant, scope or Scope(), ctx)

    def write() -> Imported:
        opened = open_session(
            agent=agent,
            consumer=consumer,
            merchant=merchant,
            scope=scope,
            kind=kind,
            state=state,
            parent_request=read.source.parent_request,
            caller=caller,
            bound_to=bound_to,
            max_sessions=max_sessions,
            call=call,
        )
        mark_if_overtaken(read_head(opened.session_id), {}, state, cast("Patch", state), since=asked_at)
        return Imported(opened, state, describe(wanted, state))

    return writing(write)


def _require_small(state: State) -> None:
    for name, size in slice_sizes(state).items():
        if size > settings.max_slice_bytes:
            problem = f"It holds {size} bytes; {settings.max_slice_bytes} is the most."
            raise DocumentRefused("too_large", problem, f"/state/{name}")


def _validated(wanted: State, ctx: StoreContext) -> State:
    """Return the state with the cart as the store sells it now. Raises DocumentRefused if it does not sell it so."""
    lines = cart_lines(wanted)
    shopping = {**_map(wanted.get("shopping"))}
    vouchers = cart_vouchers(wanted)
    # The lines go in anew, so that nothing of them but item and quantity is believed.
    bare = {**wanted, "shopping": {key: value for key, value in shopping.items() if key not in ("lines", "vouchers")}}
    if not lines and not vouchers:
        return wanted
    store = offer().store
    if store is None:
        raise DocumentRefused("no_store", "This site sells nothing, so no cart can be taken over.", "/state/shopping")
    try:
        return apply_patch(bare, repriced(SessionCart(bare, store, ctx), lines=lines, vouchers=vouchers, about=None))
    except CartProblem as problem:
        raise DocumentRefused("cart_problem", problem.message, "/state/shopping", problem.problems) from None
    except ItemNotFound:
        raise DocumentRefused("cart_problem", "Something in the cart is not sold here.", "/state/shopping") from None


def _require_totals(read: StateDocument, state: State) -> None:
    quote = _map(_map(state.get("shopping")).get("quote"))
    if read.totals is None or not quote:
        return
    if (quote["total"], quote["currency"]) == (read.totals.total, read.totals.currency):
        return
    was, now = format_money(read.totals.total, read.totals.currency), format_money(quote["total"], quote["currency"])
    problem = f"The cart costs {now} here now, not {was}. Ask the customer whether they still want it."
    raise DocumentRefused("wrong_totals", problem, "/totals")


def _require_allowed(state: State, agent: Agent, consumer: str, merchant: str, scope: Scope, ctx: StoreContext) -> None:
    """Ask the rules about the cart as if the receiving agent had filled it. Raises DocumentRefused."""
    offered = offer()
    now = timezone.now()
    facts = SessionFacts(new_id(), 0, agent, consumer, merchant, scope, now)
    call = CapabilityCall(_IMPORT, {}, offered.store, ctx, facts, {}, now)
    objection = decide_after(offered.policies, call, state)
    if objection is not None and not objection.allowed:
        raise DocumentRefused("not_allowed", objection.message, "/state/shopping")


def _nothing(call: CapabilityCall) -> Outcome:
    return Outcome(call.state)


_IMPORT: Final = Capability(
    "session.import", "POST", "/import", _nothing, "session.imported", "Take over a cart.", requires_session=True
)
"""What policies are asked about when a cart is taken over; it is not offered as a capability."""


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
