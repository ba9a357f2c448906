"""A consumer's agents find each other: what is in progress, and what the consumer says of it on each device (C1, C2).

Who an agent acts for is said by the shop's assertion in the header ``X-Agent-Consumer``, or by the session that its
token stands for; never by a name or an id in a body.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.callers import CONSUMER_HEADER, consumer_of
from agent_sessions.api.resource import Operation, SessionResource, text_of
from agent_sessions.api.schemas import CONFIRMATION, IN_PROGRESS
from agent_sessions.audit.events import format_time
from agent_sessions.exceptions import InvalidAssertion, InvalidParameter
from agent_sessions.store.cart import cart_answer


class _OfConsumer(SessionResource):
    """An address that is about a consumer, known by an assertion or by the session that calls."""

    def consumer(self) -> services.KnownConsumer:
        """Return the consumer. Raises InvalidAssertion, InvalidToken."""
        head = self.session()
        known = consumer_of(self.http)
        if known is None and head is not None and head.consumer:
            known = services.KnownConsumer(head.consumer, head.merchant)
        if known is None or (head is not None and head.consumer and head.consumer != known.consumer):
            raise InvalidAssertion
        return known


class InProgressView(_OfConsumer):
    """``GET`` what the consumer has going on with this shop, over all agents."""

    operations = {
        "GET": Operation(
            "consumer.in_progress",
            f"What the consumer has going on here, over all agents. Send the shop's assertion as {CONSUMER_HEADER}, or "
            "the token of a session that was opened with it.",
            {"type": "array", "items": IN_PROGRESS},
            with_token=False,
        )
    }

    def get(self, request: Request) -> HttpResponse:
        known = self.consumer()
        return self.answered([in_progress_answer(one) for one in selectors.in_progress(known.merchant, known.consumer)])


class OneInProgressView(_OfConsumer):
    """``DELETE`` the checkout that one of the consumer's sessions has in progress; the session goes on."""

    operations = {
        "DELETE": Operation(
            "consumer.give_up_checkout",
            "Give up a checkout of the consumer: its link can no longer be paid, and another may begin.",
            {"type": "object", "required": ["given_up"], "properties": {"given_up": {"const": True}}},
            with_token=False,
        )
    }

    def delete(self, request: Request, session_id: uuid.UUID) -> HttpResponse:
        known = self.consumer()
        services.give_up_checkout(session_id, merchant=known.merchant, consumer=known.consumer)
        return self.answered({"given_up": True})


class ConfirmationsView(SessionResource):
    """``GET`` the checkouts on other devices that the consumer is asked about on this one."""

    operations = {
        "GET": Operation(
            "session.confirmations",
            "Checkouts on the consumer's other devices that wait for their word on this one.",
            {"type": "array", "items": CONFIRMATION},
        )
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        asked = selectors.confirmations_asked(head)
        return self.answered([confirmation_answer(one) for one in asked], version=head.version)


class ConfirmationView(SessionResource):
    """``POST`` what the consumer said about a checkout on another device."""

    operations = {
        "POST": Operation(
            "session.confirm",
            "Pass on what the consumer said: confirm lets the other checkout go ahead, decline gives it up.",
            {"type": "object", "required": ["answer"], "properties": {"answer": {"enum": ["confirm", "decline"]}}},
            body={
                "type": "object",
                "required": ["answer"],
                "properties": {"answer": {"enum": ["confirm", "decline"]}},
            },
        )
    }

    def post(self, request: Request, session_id: uuid.UUID) -> HttpResponse:
        head = self.required_session()
        answer = text_of(self.read_object(), "answer", most=20, required=True)
        if answer not in ("confirm", "decline"):
            raise InvalidParameter("answer", "Send confirm or decline.")
        services.answer_confirmation(head, session_id, confirmed=answer == "confirm")
        return self.answered({"answer": answer}, version=head.version)


def in_progress_answer(one: selectors.InProgress) -> dict[str, Any]:
    """Return what another agent of the same consumer may know of a session."""
    head = one.head
    answer: dict[str, Any] = {
        "session_id": str(head.session_id),
        "agent_name": head.agent_name,
        "status": head.status.value,
        "held_by": head.held_by.partition(":")[0] or "agent",
        "created_at": format_time(head.created_at),
        "expires_at": format_time(head.expires_at),
        "checkout": one.checkout_until is not None,
    }
    if one.state is not None:
        cart = cart_answer(one.state)
        answer["cart"] = {name: cart[name] for name in ("cart_size", "currency", "total", "total_minor")}
        answer["cart"]["titles"] = [line["title"] for line in cart["items"]]
    if one.checkout_until is not None:
        answer["checkout_until"] = format_time(one.checkout_until)
    return answer


def confirmation_answer(one: selectors.AskedConfirmation) -> dict[str, Any]:
    return {
        "session_id": str(one.session_id),
        "agent_name": one.agent_name,
        "asked_at": format_time(one.asked_at),
        "answer": {"confirmed": "confirm", "declined": "decline"}.get(one.answer, "open"),
    }
