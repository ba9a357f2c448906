"""What a customer is shown of their agents: each session in progress, and what waits for a word of theirs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_sessions import selectors
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.money import format_money
from agent_sessions.domain.shown_cart import ShownCart, in_words, shown_cart
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import ApprovalView, InProgress, SessionHead
from agent_sessions.services import KnownConsumer

UNNAMED = "An agent without a name"


@dataclass(frozen=True, slots=True)
class ShownAgent:
    """One session in progress. ``cart`` is None if it is empty or cannot be read; ``checkout_until`` is UTC.

    ``live`` is False for a session that has ended with its checkout, which is still to be paid.
    """

    session_id: uuid.UUID
    name: str
    standing: str
    live: bool
    since: datetime
    expires_at: datetime
    cart: ShownCart | None
    checkout_until: datetime | None


@dataclass(frozen=True, slots=True)
class Question:
    """A checkout of one agent that the customer is asked about because of their ``others``, by name (C2)."""

    checkout: uuid.UUID
    name: str
    others: tuple[str, ...]
    cart: ShownCart | None


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """A cart that an agent wants a yes for, until ``expires_at`` (UTC)."""

    id: uuid.UUID
    name: str
    amount: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """All of one customer's agents."""

    agents: list[ShownAgent]
    questions: list[Question]
    approvals: list[WaitingApproval]


def overview_of(known: KnownConsumer) -> Overview:
    """Return what a customer has going on here: what waits to be paid first, then the latest."""
    found = selectors.in_progress(known.merchant, known.consumer)
    agents = sorted((_shown(one) for one in found), key=lambda agent: agent.checkout_until is None)
    live = [one.head for one in found if one.head.is_live()]
    asked = [one for head in live for one in selectors.approvals_of(head)]
    waiting = [one for one in asked if one.status is ApprovalStatus.PENDING]  # what is left to the staff is theirs
    return Overview(agents, _questions(live, agents), [_waiting(one) for one in waiting])


def devices_asked(known: KnownConsumer, checkout: uuid.UUID) -> list[SessionHead]:
    """Return the customer's sessions on which a word about that checkout is still missing."""
    live = [one.head for one in selectors.in_progress(known.merchant, known.consumer) if one.head.is_live()]
    return [head for head in live if checkout in _open_questions(head)]


def name_of(agent_name: str) -> str:
    """Return what an agent calls itself, safe to be shown."""
    return clipped(agent_name) or UNNAMED


def _questions(live: Sequence[SessionHead], agents: Sequence[ShownAgent]) -> list[Question]:
    asked: dict[uuid.UUID, list[str]] = {}
    for head in live:
        for checkout in _open_questions(head):
            asked.setdefault(checkout, []).append(name_of(head.agent_name))
    shown = {agent.session_id: agent for agent in agents}
    return [
        Question(checkout, shown[checkout].name, tuple(dict.fromkeys(others)), shown[checkout].cart)
        for checkout, others in asked.items()
        if checkout in shown
    ]


def _open_questions(head: SessionHead) -> list[uuid.UUID]:
    return [one.session_id for one in selectors.confirmations_asked(head) if not one.answer]


def _shown(one: InProgress) -> ShownAgent:
    cart = None if one.state is None else in_words(shown_cart(one.state))
    return ShownAgent(
        session_id=one.head.session_id,
        name=name_of(one.head.agent_name),
        standing=_standing(one),
        live=one.head.is_live(),
        since=one.head.created_at,
        expires_at=one.head.expires_at,
        cart=cart if cart is not None and cart.lines else None,
        checkout_until=one.checkout_until,
    )


def _standing(one: InProgress) -> str:
    if not one.head.is_live():
        return "Done shopping"
    if one.head.held_by:
        return "With the shop’s staff" if one.head.held_by.startswith("staff") else "With you"
    if one.head.paused_at is not None:
        return "Paused"
    return "Checking out" if one.checkout_until is not None else "Shopping"


def _waiting(one: ApprovalView) -> WaitingApproval:
    return WaitingApproval(one.id, name_of(one.agent_name), format_money(one.amount, one.currency), one.expires_at)
