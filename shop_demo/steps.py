"""How a payment is tried, and what the agent's session knows of it: the rules that AGENT_SESSIONS["STEPS"] names."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any, Final

from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.audit.events import format_time
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import SessionEnded, StepRefused
from agent_sessions.services import RunningStep
from agent_sessions.store import StepRule
from shop_demo.models import Payment
from shop_demo.payments import TOKENS

PAYMENT: Final = "payment"
PROVIDER: Final = "payment-provider"
TITLES: Final = {"card": "a card", "paypal": "PayPal", "other_card": "another card"}
NO_DECLINE: Final = ("cancelled", "not_carried_out", "sold_out", "cart_closed")
"""Codes of payments that came to nothing for another reason than the method: it may be taken again."""
RULES: Final = (
    StepRule(
        name=PAYMENT,
        methods=("card", "paypal", "other_card"),
        on_unknown="ask",
        max_attempts=6,
        retry_codes=NO_DECLINE,
        backoff_seconds=0,
        timeout_seconds=60,
        commits=True,
    ),
)
_WAYS: Final = {"card": ("card", "other_card"), "paypal": ("paypal",)}
"""By what a person chooses, the methods of the step that it can be."""


def start_payment(
    session_id: uuid.UUID, submission: uuid.UUID, *, token: str, amount: int, currency: str, actor: Actor
) -> RunningStep | None:
    """Write down in the agent's session that a payment begins; None if that has ended with the handoff.

    In the transaction that adds the payment. Who pays goes on with a session that is paused. Raises StepRefused if this
    way to pay is not open any more, SessionEnded if the session has ended just now.
    """
    head = selectors.read_head(session_id)
    if not head.is_live():
        return None
    if head.status is Status.PAUSED:
        services.resume_session(session_id, actor=actor)
    card = TOKENS[token]
    note = {
        "method": card.method,
        "outcome": "started",
        "amount": amount,
        "currency": currency,
        "attempted_at": format_time(timezone.now()),
        **({"brand": card.brand, "last4": card.last4} if card.brand else {}),
    }
    patch: Any = {"decisions": {"payments": {str(submission): note}}, "checkout": {"method": card.method}}
    *others, last = _WAYS[card.method]
    for way in others:
        with suppress(StepRefused):
            return services.start_step(session_id, PAYMENT, method=way, patch=patch, actor=actor)
    return services.start_step(session_id, PAYMENT, method=last, patch=patch, actor=actor)


def end_payment(payment: Payment, code: str, actor: Actor) -> None:
    """Write down in the agent's session how a payment went, if the session was live when it began.

    Without a code it succeeded.
    In the transaction that gives the payment its outcome. Raises StepRefused and SessionEnded.
    """
    if payment.attempt is None:
        return
    outcome = "succeeded" if not code else "failed" if code in NO_DECLINE else "declined"
    note = {"outcome": outcome, "ended_at": format_time(timezone.now())} | ({"code": code} if code else {})
    patch: Any = {"decisions": {"payments": {str(payment.submission): note}}}
    services.finish_step(
        payment.session_id,
        PAYMENT,
        outcome="failed" if code else "done",
        code=code,
        attempt=payment.attempt,
        patch=patch,
        actor=actor,
    )


def note_provider(payment: Payment, *, code: str = "") -> None:
    """Note in the agent's session that the provider did not answer, or, without a code, that it does."""
    if payment.attempt is None:
        return
    with suppress(SessionEnded):
        if code:
            services.note_endpoint_failure(payment.session_id, PROVIDER, code=code)
        else:
            services.note_endpoint_success(payment.session_id, PROVIDER)


def way_on(session_id: uuid.UUID) -> tuple[str, str]:
    """Return what comes next of the payment, ``run`` or ``escalate``, and with which method; empty if nothing does."""
    if not selectors.read_head(session_id).is_live():
        return "", ""
    action = selectors.next_step(session_id)
    return (action.action, action.method) if action.step == PAYMENT else ("", "")
