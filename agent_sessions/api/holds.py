"""Holds over HTTP: pieces that the shop keeps for a session for some minutes (X1)."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.resource import Operation, SessionResource, text_of
from agent_sessions.api.schemas import HOLD, ITEM_STOCK
from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import Call
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.store import StoreContext
from agent_sessions.store.cart import MAX_QUANTITY

MAX_ITEM: Final = 200


class HoldsView(SessionResource):
    """``GET`` what is held and how many more there were; ``POST`` holds pieces, or changes how many and how long."""

    slow = True  # the store is asked how many there are
    operations = {
        "GET": Operation(
            "session.holds",
            "What is held for the session, and how many more of it the shop had when it was last asked.",
            {"type": "array", "items": ITEM_STOCK},
        ),
        "POST": Operation(
            "session.hold",
            "Hold pieces of an item. A second call for the same item sets their number and time anew.",
            HOLD,
            status="201",
            body={
                "type": "object",
                "required": ["item_id", "quantity"],
                "properties": {
                    "item_id": {"type": "string", "minLength": 1, "maxLength": MAX_ITEM},
                    "quantity": {"type": "integer", "minimum": 1, "maximum": MAX_QUANTITY},
                    "seconds": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "For how long; at most, and without it, as long as the shop holds things.",
                    },
                },
            },
            changes=True,
        ),
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        return self.answered([stock_answer(one) for one in selectors.stock_of(head)], version=head.version)

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        body = self.read_object()
        try:
            held = services.place_hold(
                head,
                item=text_of(body, "item_id", most=MAX_ITEM, required=True),
                quantity=self._number(body, "quantity"),
                seconds=None if body.get("seconds") is None else self._number(body, "seconds"),
                ctx=StoreContext(request=self.http),
                expected_version=self.expected_version(head),
                call=Call(method="POST", response_status=201),
                writing=partial(self.at_once, answered=self._held),
            )
        except InvalidValue as refused:
            name = refused.path.lstrip("/")
            raise InvalidParameter("item_id" if name == "item" else name, refused.problem) from None
        return self._held(held)

    def _held(self, held: services.Held) -> HttpResponse:
        answer: dict[str, Any] = {
            "hold_id": str(held.hold_id),
            "item_id": held.item,
            "quantity": held.quantity,
            "held_at": format_time(held.held_at),
            "until": format_time(held.until),
        }
        if held.free is not None:
            answer["free"] = held.free
        return self.answered(answer, version=held.version, status=201)

    def _number(self, body: dict[str, Any], name: str) -> int:
        value = body.get(name)
        if type(value) is not int:
            raise InvalidParameter(name, "Send a whole number.")
        return value


class HoldView(SessionResource):
    """``DELETE`` lets go what is held."""

    operations = {
        "DELETE": Operation(
            "session.release",
            "Release a hold. Whatever is held is also released by itself when its time or the session is over.",
            {"type": "object", "required": ["released"], "properties": {"released": {"const": True}}},
            changes=True,
        )
    }

    def delete(self, request: Request, hold_id: uuid.UUID) -> HttpResponse:
        head = self.required_session()
        released = services.release_holds(
            head, hold_id=hold_id, expected_version=self.expected_version(head), call=Call(method="DELETE")
        )
        return self.answered({"released": True}, version=released.version)


def stock_answer(one: selectors.ItemStock) -> dict[str, Any]:
    """Return what a session knows of an item's stock; what nobody knows is left out."""
    answer: dict[str, Any] = {"item_id": one.item, "held": one.held, "text": one.text}
    if one.hold_id is not None:
        answer["hold_id"] = str(one.hold_id)
    if one.free is not None:
        answer["free"] = one.free
    for name in ("held_at", "until", "seen_at"):
        time = getattr(one, name)
        if time is not None:
            answer[name] = format_time(time)
    return answer
