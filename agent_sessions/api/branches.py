"""Branches of a session over HTTP: make one, list and compare them (L3)."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.history import difference_answer
from agent_sessions.api.opening import opened_answer
from agent_sessions.api.resource import Operation, SessionResource
from agent_sessions.api.schemas import DIFFERENCE, OPENED
from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import Call
from agent_sessions.domain.lifecycle import EndReason, Origin, Status
from agent_sessions.domain.money import format_amount
from agent_sessions.exceptions import InvalidParameter, NotRelated, SessionNotFound
from agent_sessions.selectors import FamilyMember

_ID: Final = {"type": "string", "format": "uuid"}
_TIME: Final = {"type": "string", "format": "date-time"}
_NUMBER: Final = {"type": "integer", "minimum": 1}
_MEMBER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["session_id", "this", "status", "version", "created_at", "expires_at"],
    "properties": {
        "session_id": _ID,
        "this": {"type": "boolean", "description": "Whether it is the session that asks."},
        "origin": {"enum": [one.value for one in Origin], "description": "How it came from its parent."},
        "parent": _ID,
        "parent_version": _NUMBER,
        "status": {"enum": [one.value for one in Status]},
        "end_reason": {"enum": [one.value for one in EndReason]},
        "version": _NUMBER,
        "agent_name": {"type": "string"},
        "created_at": _TIME,
        "expires_at": _TIME,
        "total": {"type": "string", "description": "What its cart costs."},
        "total_minor": {"type": "integer", "minimum": 0},
        "currency": {"type": "string"},
    },
}


class ForksView(SessionResource):
    """``POST`` opens a branch; ``GET`` lists the branches of the session, and what it came from."""

    operations = {
        "GET": Operation(
            "session.forks",
            "This session, its branches and what it came from, oldest first. Tokens are not told.",
            {"type": "array", "items": _MEMBER},
        ),
        "POST": Operation(
            "session.fork",
            "Open a branch: a session of its own that begins as this one is, or was at a version. Of all branches one "
            "can check out.",
            {
                **OPENED,
                "required": [*OPENED["required"], "forked_from", "from_version"],
                "properties": {**OPENED["properties"], "forked_from": _ID, "from_version": _NUMBER},
            },
            status="201",
            body={"type": "object", "properties": {"from_version": _NUMBER}},
        ),
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        told = [_member_answer(one, head.session_id) for one in selectors.relatives(head)]
        return self.answered(told, version=head.version)

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        version = self.read_object().get("from_version")
        if version is not None and (type(version) is not int or not 1 <= version < 2**31):
            raise InvalidParameter("from_version", "Send the number of a version of this session.")
        call = Call(method="POST", response_status=201)
        opened = services.fork_session(head, from_version=version, max_sessions=settings.max_sessions, call=call)
        self.opened(opened.session_id)
        data = opened_answer(opened, head.scope)
        data |= {"forked_from": str(head.session_id), "from_version": version or head.version}
        return self.answered(data, version=opened.version, status=201)


class ForkDifferencesView(SessionResource):
    """``GET`` what is different in a branch, or in what the session came from."""

    operations = {
        "GET": Operation(
            "session.fork_differences",
            "What is different in another session of the family, in the words of a shop.",
            {
                "type": "object",
                "required": ["session_id", "other", "differences"],
                "properties": {
                    "session_id": _ID,
                    "other": _ID,
                    "differences": {"type": "array", "items": DIFFERENCE},
                },
            },
            refusals=("410",),
        )
    }

    def get(self, request: Request, other: uuid.UUID) -> HttpResponse:
        head = self.required_session()
        try:
            told = selectors.compare_sessions(head, other, as_agent=True)
        except SessionNotFound:
            raise NotRelated from None
        data = {
            "session_id": str(head.session_id),
            "other": str(other),
            "differences": [difference_answer(one) for one in told],
        }
        return self.answered(data, version=head.version)


def _member_answer(one: FamilyMember, asking: uuid.UUID) -> dict[str, Any]:
    """Return a member of the family; what it has not is left out."""
    answer: dict[str, Any] = {
        "session_id": str(one.session_id),
        "this": one.session_id == asking,
        "status": one.status.value,
        "version": one.version,
        "agent_name": one.agent_name,
        "created_at": format_time(one.created_at),
        "expires_at": format_time(one.expires_at),
    }
    if one.parent is not None:
        answer |= {"origin": one.origin, "parent": str(one.parent), "parent_version": one.parent_version}
    if one.end_reason:
        answer["end_reason"] = one.end_reason
    if one.total is not None:
        amount, currency = one.total
        answer |= {"total": format_amount(amount, currency), "total_minor": amount, "currency": currency}
    return answer
