"""Committed and tentative changes: a cart is tentative until a step commits it, and goes back to there (V6)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from django.utils import timezone

from agent_sessions.domain.calls import COMMITTED, NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.exceptions import NothingCommitted, VersionConflict
from agent_sessions.selectors._heads import SessionHead, id_of, read_head, require_changeable
from agent_sessions.selectors.history import current_state, state_at_version
from agent_sessions.services._commit import Committed, commit, conflict_with
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import sealed_note
from agent_sessions.services._write import RowChange
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.services.staleness import validation_patch
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.cart import cart_slice
from agent_sessions.store.offer import offer
from agent_sessions.types import Patch, State

ROLLED_BACK: Final = "session.rolled_back"
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class RolledBack:
    """``version`` is the session's new one; its cart is that of version ``to``, at today's prices."""

    version: int
    to: int


def commit_session(
    session: SessionHead | uuid.UUID,
    *,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> Committed:
    """Commit the version that the session has: a rollback goes back no further. It makes no version of its own.

    Raises VersionConflict, SessionPaused, SessionHeld, and what ``record_event`` raises.
    """

    def row(head: SessionHead, now: datetime) -> RowChange:
        require_changeable(head, actor, now)
        return RowChange({"committed_version": head.version}, told={"committed_version": head.version})

    return commit(id_of(session), Draft(COMMITTED, actor, call, expected_version=expected_version), row=row)


def rollback_session(
    session: SessionHead | uuid.UUID,
    *,
    ctx: StoreContext,
    to_version: int | None = None,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
    writing: Writing[RolledBack] = as_it_is,
) -> RolledBack:
    """Bring the cart back to the last committed version, or to ``to_version``, as a new version that says so.

    The cart only: what was decided, tried and said stays. It is priced anew, because prices have moved since; what the
    store has against it is told in its quote and holds up nothing before checkout. The store is asked outside of any
    transaction, again if another change comes between and no ``expected_version`` was given. ``note`` says why, in at
    most 1000 characters, sealed. ``writing`` is as in ``call_capability``.

    Raises NothingCommitted, VersionNotFound, VersionConflict, CartProblem, and what ``change_session`` raises.
    """
    session_id, said = id_of(session), sealed_note(note)
    for attempt in range(_ATTEMPTS):
        head = read_head(session_id)
        require_changeable(head, actor, timezone.now())
        if expected_version not in (None, head.version):
            raise conflict_with(head, expected_version)
        target = head.committed_version if to_version is None else to_version
        if target == 0:
            raise NothingCommitted(session_id)
        patch = _back(head, current_state(head).state, state_at_version(head, target).state, ctx)
        told = Call(call.capability, call.method, params={**call.params, "to": target}, started_at=call.started_at)
        draft = Draft(ROLLED_BACK, actor, told, patch, expected_version=head.version, private=said)
        try:
            return writing(partial(_write, head, draft, target))
        except VersionConflict:
            if expected_version is not None or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError  # the last round returns or raises


def _write(head: SessionHead, draft: Draft, to: int) -> RolledBack:
    return RolledBack(commit(head, draft).version, to)


def _back(head: SessionHead, now: State, then: State, ctx: StoreContext) -> Patch:
    """Return the patch that makes the cart of ``now`` that of ``then``, at today's prices."""
    shopping = cart_slice(then)
    restored: State = {**now, "shopping": shopping} if shopping else {k: v for k, v in now.items() if k != "shopping"}
    if offer().store is not None:
        restored = apply_patch(restored, validation_patch(head, restored, ctx))
    return diff(now, restored)
