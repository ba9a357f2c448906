"""The conversation over HTTP: add a turn, read a window of it, search it (S6)."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.history import LIST_QUERY
from agent_sessions.api.resource import Operation, SessionResource, as_parameter, text_of
from agent_sessions.api.schemas import TURN
from agent_sessions.audit.events import format_time
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.selectors import SessionHead, Turn

MAX_WORDS: Final = 200
"""Characters of a search."""


class MessagesView(SessionResource):
    """``GET`` turns, of this session or of one that it came from; ``POST`` adds one."""

    operations = {
        "GET": Operation(
            "session.messages",
            "Turns of the conversation: those after a number, or with q the latest in which all the words occur.",
            {
                "type": "object",
                "required": ["turns", "ancestors"],
                "properties": {
                    "turns": {"type": "array", "items": TURN},
                    "ancestors": {
                        "type": "array",
                        "items": {"type": "string", "format": "uuid"},
                        "description": "Sessions that this one came from, the nearest first; read them with of.",
                    },
                },
            },
            query={
                **LIST_QUERY,
                "q": {"type": "string", "maxLength": MAX_WORDS, "description": "Words to look for."},
                "of": {"type": "string", "format": "uuid", "description": "An ancestor whose turns are wanted."},
            },
        ),
        "POST": Operation(
            "session.message",
            "Add a turn to the conversation. It is sealed; nobody is refused because others add too.",
            {
                "type": "object",
                "required": ["number", "created_at"],
                "properties": {
                    "number": {"type": "integer", "minimum": 1},
                    "created_at": {"type": "string", "format": "date-time"},
                },
            },
            status="201",
            body={
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"type": "string", "pattern": "^[a-z][a-z_]{0,15}$", "description": "user, agent, tool"},
                    "content": {"description": "Text, or any JSON value without nulls and fractions."},
                },
            },
        ),
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        limit = self.number("limit", 50, least=1, most=500)
        before = selectors.ancestors(head)
        words = self.http.GET.get("q")
        if words is not None:
            turns = self._found(head, words, limit)
        else:
            of = self._of(head, before)
            until = next((one.until for one in before if one.session_id == of), None)
            listed = selectors.messages(of, after=self.number("after", 0), limit=limit)
            turns = [turn_answer(of, turn) for turn in listed if until is None or turn.created_at <= until]
        return self.answered(
            {"turns": turns, "ancestors": [str(one.session_id) for one in before]}, version=head.version
        )

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        body = self.read_object()
        if "content" not in body:
            raise InvalidParameter("content", "Send what was said.")
        role = text_of(body, "role", most=16, required=True)
        try:
            added = services.add_message(head, role=role, content=body["content"])
        except InvalidValue as refused:
            raise as_parameter(refused) from None
        told = {"number": added.number, "created_at": format_time(added.created_at)}
        return self.answered(told, version=head.version, status=201)

    def _found(self, head: SessionHead, words: str, limit: int) -> list[dict[str, Any]]:
        if len(words) > MAX_WORDS:
            raise InvalidParameter("q", f"Send at most {MAX_WORDS} characters.")
        try:
            found = selectors.search_messages(head, words, limit=limit)
        except InvalidValue as refused:
            raise as_parameter(refused) from None
        return [turn_answer(one.session_id, one.turn) for one in found]

    def _of(self, head: SessionHead, before: list[selectors.Ancestor]) -> uuid.UUID:
        text = self.http.GET.get("of")
        if text is None:
            return head.session_id
        known = {str(one.session_id): one.session_id for one in before} | {str(head.session_id): head.session_id}
        if text not in known:
            raise InvalidParameter("of", "Send the id of one of the ancestors.")
        return known[text]


def turn_answer(session_id: uuid.UUID, turn: Turn) -> dict[str, Any]:
    """Tell a turn; of one that was erased ``content`` is null and ``erased`` true."""
    told = {
        "session_id": str(session_id),
        "number": turn.number,
        "role": turn.role,
        "content": turn.content,
        "created_at": format_time(turn.created_at),
    }
    return {**told, "erased": True} if turn.erased else told
