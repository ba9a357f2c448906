"""Approvals over HTTP: an agent asks that a human be asked, and reads what came of it (L5)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.resource import Operation, Schema, SessionResource, as_parameter, text_of
from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.exceptions import ApprovalNotFound, InvalidValue
from agent_sessions.selectors import ApprovalView
from agent_sessions.services import Requested
from agent_sessions.services._texts import MAX_NOTE
from agent_sessions.store import StoreContext
from agent_sessions.store.cart import money

MESSAGE: Final = (
    "Give this link to the person who decides; it is theirs, do not open it. Until they have answered, the cart is not "
    "checked out. If you change the cart, ask again."
)
_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_ALWAYS: Final[Schema] = {
    "id": {"type": "string", "format": "uuid"},
    "status": {"enum": [status.value for status in ApprovalStatus]},
    "capability": _TEXT,
    "version": {"type": "integer", "minimum": 1, "description": "The version whose cart is asked about."},
    "amount": {"type": "string", "description": "A decimal number."},
    "amount_minor": {"type": "integer", "description": "The same in minor units of the currency."},
    "currency": _TEXT,
    "requested_at": _TIME,
    "expires_at": {**_TIME, "description": "Until then it can be answered and, once granted, used."},
    "seconds_left": {"type": "integer", "minimum": 0},
}
APPROVAL: Final[Schema] = {
    "type": "object",
    "required": list(_ALWAYS),
    "properties": {
        **_ALWAYS,
        "rule": {"type": "string", "description": "The policy that asked."},
        "reason": {"type": "string", "description": "Why the agent paused."},
        "opened_at": {**_TIME, "description": "When the human first saw it."},
        "decided_at": _TIME,
        "decided_by": {"enum": ["consumer", "staff", "system"]},
        "answer": {"type": "string", "description": "What the human wrote."},
        "used_at": _TIME,
    },
}
ASKED: Final[Schema] = {
    "type": "object",
    "required": [*_ALWAYS, "approval_url", "message"],
    "properties": {
        **_ALWAYS,
        "rule": _TEXT,
        "approval_url": {"type": "string", "format": "uri", "description": "For the human; shown this once."},
        "message": _TEXT,
    },
}


class ApprovalsView(SessionResource):
    """``GET`` what was asked and what came of it; ``POST`` asks."""

    slow = True  # the store is asked for prices
    operations = {
        "GET": Operation(
            "session.approvals",
            "The approvals that were asked for, newest first, twenty at most.",
            {"type": "array", "items": APPROVAL},
        ),
        "POST": Operation(
            "session.approval",
            "Ask a human whether the cart may be checked out as it is. One that is open or granted becomes void.",
            ASKED,
            status="201",
            body={
                "type": "object",
                "required": ["reason"],
                "properties": {
                    "reason": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": MAX_NOTE,
                        "description": "Why you ask, in words for the human.",
                    },
                    "capability": {
                        "type": "string",
                        "maxLength": 64,
                        "default": "checkout",
                        "description": "What is to be called: one that hands the cart over.",
                    },
                },
            },
            changes=True,
        ),
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        listed = selectors.approvals_of(head)
        return self.answered([approval_answer(one) for one in listed], version=head.version)

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        body = self.read_object()
        reason = text_of(body, "reason", most=MAX_NOTE, required=True)
        try:
            asked = services.request_approval(
                head,
                reason=reason,
                capability=text_of(body, "capability", most=64) or "checkout",
                expected_version=self.expected_version(head),
                ctx=StoreContext(request=self.http),
                writing=partial(self.at_once, answered=self._asked),
            )
        except InvalidValue as refused:
            raise as_parameter(refused) from None
        return self._asked(asked)

    def _asked(self, asked: Requested) -> HttpResponse:
        if not settings.site:
            asked = replace(asked, url=self.http.build_absolute_uri(asked.url))
        return self.answered(asked_answer(asked), version=asked.version, status=201)


class OneApprovalView(SessionResource):
    """``GET`` how one of the session's approvals stands."""

    operations = {
        "GET": Operation("session.approval.view", "How an approval stands, and what the human said.", APPROVAL)
    }

    def get(self, request: Request, approval_id: uuid.UUID) -> HttpResponse:
        head = self.required_session()
        found = selectors.get_approval(approval_id)
        if found.session_id != head.session_id:
            raise ApprovalNotFound
        return self.answered(approval_answer(found), version=head.version)


def approval_answer(one: ApprovalView) -> dict[str, Any]:
    """Return an approval as its agent sees it; who of the staff decided is not the agent's to know."""
    times = {"opened_at": one.opened_at, "decided_at": one.decided_at, "used_at": one.used_at}
    answer: dict[str, Any] = {
        "id": str(one.id),
        "status": one.status.value,
        "capability": one.capability,
        "version": one.version,
        **money("amount", one.amount, one.currency),
        "currency": one.currency,
        "requested_at": format_time(one.requested_at),
        "expires_at": format_time(one.expires_at),
        "seconds_left": ceil(one.time_left.total_seconds()),
    }
    words = {
        "rule": one.rule,
        "reason": one.reason,
        "answer": one.answer,
        "decided_by": one.decided_by.partition(":")[0],
    }
    answer |= {name: text for name, text in words.items() if text}
    return answer | {name: format_time(time) for name, time in times.items() if time is not None}


def asked_answer(asked: Requested) -> dict[str, Any]:
    window = (asked.expires_at - asked.requested_at).total_seconds()
    answer: dict[str, Any] = {
        "id": str(asked.approval_id),
        "status": ApprovalStatus.PENDING.value,
        "capability": asked.capability,
        "version": asked.version,
        **money("amount", asked.amount, asked.currency),
        "currency": asked.currency,
        "requested_at": format_time(asked.requested_at),
        "expires_at": format_time(asked.expires_at),
        "seconds_left": ceil(window),
        "approval_url": asked.url,
        "message": MESSAGE,
    }
    return answer | ({"rule": asked.rule} if asked.rule else {})
