"""A session goes on as another one: renewed before its deadline, with prices and stock validated anew (L2)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from django.utils import timezone

from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.lifecycle import EndReason, Origin
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.succession import carried_on, running_step
from agent_sessions.exceptions import StepRefused, VersionConflict
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, get_session, id_of, lock_head, read_head, require_changeable
from agent_sessions.selectors.history import current_state
from agent_sessions.services._commit import conflict_with
from agent_sessions.services._opening import OpenedSession, Opening, prepare_from
from agent_sessions.services.artifacts import try_to_seal
from agent_sessions.services.committing import commit_session
from agent_sessions.services.holds import move_holds, with_holds
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.services.sessions import end_for_successor
from agent_sessions.services.staleness import validation_patch
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.cart import cart_problems
from agent_sessions.store.offer import offer
from agent_sessions.types import JSONValue, State

T = TypeVar("T")
Checking = Callable[[SessionHead, datetime], None]
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Renewed:
    """The session that goes on, what it holds, and what is different there from the session that it takes the place of.

    ``changes`` tells prices that have moved and what does not go along; ``problems`` what the store has against the
    cart now, such as stock that is gone, as in ``CartProblem``.
    """

    opened: OpenedSession
    state: State
    changes: tuple[Difference, ...]
    problems: tuple[Mapping[str, JSONValue], ...]


def renew_session(
    session: SessionHead | uuid.UUID,
    *,
    ctx: StoreContext,
    kind: str = "",
    expected_version: int | None = None,
    call: Call = NO_CALL,
    writing: Writing[Renewed] = as_it_is,
) -> Renewed:
    """Let a live session go on as another one: a new token, a new deadline, prices and stock validated anew (L2).

    ``kind`` is a key of the setting TTL, by default the session's own; the scope's expiry bounds the new deadline too.
    Agent, consumer, merchant, scope, parent request and what is held for the session stay; approvals and a link that a
    human has do not go along, and nothing is stale. The session itself ends in the transaction that stores its
    successor. Nobody is refused for having too many sessions. The store is asked before that transaction, again if a
    change comes between, but not with an ``expected_version``. ``writing`` is as in ``call_capability``.

    Raises SessionExpired at the deadline and after it; SessionPaused, SessionHeld; StepRefused while a step runs;
    VersionConflict against an ``expected_version``, or if eight attempts in a row were overtaken; InvalidValue for a
    kind that there is not; CartProblem if the store cannot price the cart; and what ``open_session`` raises.
    """
    session_id = id_of(session)

    def attempt() -> Renewed:
        head = read_head(session_id)
        _require_with_agent(head, timezone.now())
        if expected_version not in (None, head.version):
            raise conflict_with(head, expected_version)
        before = current_state(head).state
        require_no_step_running(before)
        after = _validated(head, with_holds(carried_on(before), session_id), replace(ctx, consumer=head.consumer))
        opening = prepare_from(
            head,
            Origin.RENEWAL,
            after,
            version=head.version,
            kind=kind,
            caller=get_session(session_id).caller,
            bound_to=head.bound_to,
            call=call,
        )
        renewed = Renewed(opening.opened, after, describe(before, after), cart_problems(after))

        def write() -> Renewed:
            put_in_place(head, opening, reason=EndReason.RENEWED, actor=AGENT, check=_require_with_agent)
            return renewed

        return writing(write)

    renewed = attempt() if expected_version is not None else until_not_overtaken(attempt)
    try_to_seal(session_id)
    return renewed


def put_in_place(
    head: SessionHead,
    opening: Opening,
    *,
    reason: EndReason,
    actor: Actor,
    check: Checking,
    also: Callable[[], None] = lambda: None,
) -> None:
    """End a session as it stood at ``head`` and store its successor, and do ``also``, in one transaction or not at all.

    What is held for it is held for the successor from there on (see ``with_holds``). If the cart as it is was
    committed, it is so in the successor (V6).

    Raises VersionConflict if the session has moved, and what ``check`` and ``also`` raise.
    """

    successor = opening.opened.session_id

    def act() -> None:
        lock_head(head.session_id)  # first, because SQLite takes no lock after a read
        move_holds(head.session_id, successor)
        end_for_successor(head, successor, reason=reason, actor=actor, check=check)
        also()
        opening.store()
        if head.committed_version == head.version:
            commit_session(successor, actor=actor)

    _rows.in_transaction(f"Session {head.session_id}", act)


def until_not_overtaken(attempt: Callable[[], T]) -> T:
    """Run ``attempt`` until no other change comes between, eight times at the most. Raises VersionConflict."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except VersionConflict:
            continue
    return attempt()


def require_no_step_running(state: State) -> None:
    """Raise StepRefused if a step was started and has no outcome: it would be lost with the session it runs in."""
    if step := running_step(state):
        raise StepRefused(step, "It is being run. Wait for its outcome, or say what became of it, and try again.")


def _require_with_agent(head: SessionHead, now: datetime) -> None:
    require_changeable(head, AGENT, now)


def _validated(head: SessionHead, state: State, ctx: StoreContext) -> State:
    return state if offer().store is None else apply_patch(state, validation_patch(head, state, ctx))
