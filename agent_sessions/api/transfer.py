"""Taking a session over with a code that the consumer has allowed, over HTTP (T4)."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.callers import consumer_of
from agent_sessions.api.opening import as_field, opened_answer, opener_of
from agent_sessions.api.resource import Operation, SessionResource, text_of
from agent_sessions.api.schemas import OPENED
from agent_sessions.domain.identity import MAX_TEXT
from agent_sessions.exceptions import InvalidValue
from agent_sessions.selectors import SessionHead
from agent_sessions.store.cart import cart_answer

_LONGEST_CODE = 200


class TransferView(SessionResource):
    """``POST``: the session is the caller's from here on; the agent that had it is out."""

    operations = {
        "POST": Operation(
            "session.transfer",
            "Take a session over with a code that the consumer was given for it. Needs no token.",
            {
                **OPENED,
                "required": [*OPENED["required"], "transferred_from", "cart"],
                "properties": {
                    **OPENED["properties"],
                    "transferred_from": {"type": "string", "format": "uuid"},
                    "cart": {"type": "object"},
                    "summary": {"type": "string", "description": "What the conversation has come to."},
                },
            },
            status="201",
            body={
                "type": "object",
                "required": ["grant"],
                "properties": {
                    "grant": {"type": "string", "minLength": 1, "maxLength": _LONGEST_CODE},
                    "agent_name": {"type": "string", "maxLength": MAX_TEXT},
                    "agent_version": {"type": "string", "maxLength": MAX_TEXT},
                },
            },
            with_token=False,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        body = self.read_object()
        code = text_of(body, "grant", most=_LONGEST_CODE, required=True)
        names = {name: text_of(body, name, most=MAX_TEXT) for name in ("agent_name", "agent_version")}
        known = consumer_of(self.http)
        consumer = "" if known is None else known.consumer
        try:
            transferred = services.accept_transfer(code, consumer=consumer, **opener_of(self, **names))
        except InvalidValue as refused:
            raise as_field(refused) from None
        opened = transferred.opened
        self.opened(opened.session_id)
        head = selectors.read_head(opened.session_id)
        state = selectors.current_state(head).state
        data = opened_answer(opened, head.scope)
        data |= {"transferred_from": str(transferred.predecessor), "cart": cart_answer(state)}
        conversation = state.get("conversation")
        if isinstance(conversation, dict) and conversation.get("summary"):
            data["summary"] = conversation["summary"]
        return self.answered(data, version=opened.version, status=201)

    def key_session(self) -> SessionHead | None:
        # Whoever takes a session over speaks for none yet, whatever token comes along.
        return None
