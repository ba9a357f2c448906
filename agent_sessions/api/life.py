"""The life of a session over HTTP: paused and resumed, with a person and back, renewed (L2, L3, L4)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.history import difference_answer
from agent_sessions.api.opening import opened_answer
from agent_sessions.api.resource import Operation, SessionResource, as_parameter, text_of
from agent_sessions.api.schemas import DIFFERENCE, OPENED, SESSION
from agent_sessions.api.views import session_answer
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.selectors import SessionHead
from agent_sessions.services._texts import MAX_NOTE
from agent_sessions.store import StoreContext
from agent_sessions.store.cart import cart_answer

_POST: Final = Call(method="POST")
_PERSONS: Final = ("consumer", "staff")


def _body(*required: str, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "object", "properties": fields}
    return {**body, "required": list(required)} if required else body


_NOTE: Final = {"type": "string", "maxLength": MAX_NOTE, "description": "Why, in the agent's words. It is sealed."}


class _Standing(SessionResource):
    """What changes where the session stands, and answers with that."""

    def standing(self, head: SessionHead) -> HttpResponse:
        now = selectors.read_head(head.session_id)
        return self.answered(session_answer(selectors.overview(now)), version=now.version)


class PauseView(_Standing):
    """``POST``: nothing changes the session until it is resumed."""

    operations = {
        "POST": Operation(
            "session.pause",
            "Pause the session. It can be read, talked in and ended; its deadline goes on.",
            SESSION,
            body=_body(reason=_NOTE),
            changes=True,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        reason = text_of(self.read_object(), "reason")
        services.pause_session(head, reason=reason, expected_version=self.expected_version(head), call=_POST)
        return self.standing(head)


class ResumeView(_Standing):
    """``POST``: the session goes on where it was."""

    operations = {
        "POST": Operation(
            "session.resume",
            "Let a paused session go on where it was. What a person has paused, a person resumes.",
            SESSION,
            changes=True,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        services.resume_session(head, expected_version=self.expected_version(head), call=_POST)
        return self.standing(head)


class HandOverView(_Standing):
    """``POST``: a person has the session from here on."""

    operations = {
        "POST": Operation(
            "session.handover",
            "Hand the session over to a person. Until they give it back the agent reads and waits.",
            SESSION,
            body=_body("to", to={"enum": list(_PERSONS)}, note=_NOTE),
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        body = self.read_object()
        to = body.get("to")
        if to not in _PERSONS:
            raise InvalidParameter("to", f"Send {' or '.join(_PERSONS)}.")
        services.hand_over(head, to=Actor(to), note=text_of(body, "note"), call=_POST)
        return self.standing(head)


class TakeBackView(_Standing):
    """``POST``: the agent goes on, because nobody has come."""

    operations = {
        "POST": Operation(
            "session.takeback",
            "Take the session back that the agent has handed over, as long as no person has done anything in it.",
            SESSION,
            body=_body(note=_NOTE),
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        services.take_back(head, note=text_of(self.read_object(), "note"), call=_POST)
        return self.standing(head)


class RenewView(SessionResource):
    """``POST``: another session goes on in the place of this one."""

    operations = {
        "POST": Operation(
            "session.renew",
            "Go on with a new session, token and deadline, before this session's deadline. Prices and stock are "
            "validated anew; holds and approvals do not go along. This session has ended with the answer.",
            {
                **OPENED,
                "required": [*OPENED["required"], "renewed_from", "changes", "problems", "cart"],
                "properties": {
                    **OPENED["properties"],
                    "renewed_from": {"type": "string", "format": "uuid"},
                    "changes": {"type": "array", "items": DIFFERENCE, "description": "What is different now."},
                    "problems": {
                        "type": "array",
                        "items": {"type": "object", "required": ["code", "message"]},
                        "description": "What the store has against the cart now, such as stock that is gone.",
                    },
                    "cart": {"type": "object"},
                },
            },
            status="201",
            body=_body(kind={"type": "string", "maxLength": 32, "description": "By default the session's own."}),
            changes=True,
        )
    }
    slow = True  # the store says what everything costs now

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        kind = text_of(self.read_object(), "kind", most=32)
        answered = partial(self._renewed, head)
        try:
            renewed = services.renew_session(
                head,
                ctx=StoreContext(request=self.http),
                kind=kind,
                expected_version=self.expected_version(head),
                call=_POST,
                writing=partial(self.at_once, answered=answered),
            )
        except InvalidValue as refused:
            raise as_parameter(refused) from None
        return answered(renewed)

    def _renewed(self, head: SessionHead, renewed: services.Renewed) -> HttpResponse:
        self.opened(renewed.opened.session_id)
        data = opened_answer(renewed.opened, head.scope) | {
            "renewed_from": str(head.session_id),
            "changes": [difference_answer(one) for one in renewed.changes],
            "problems": list(renewed.problems),
            "cart": cart_answer(renewed.state),
        }
        return self.answered(data, version=renewed.opened.version, status=201)
