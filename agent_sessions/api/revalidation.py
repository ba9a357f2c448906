"""Revalidation over HTTP: what the session depends on, as the store says it now (X2)."""

from __future__ import annotations

from functools import partial

from django.http import HttpResponse
from rest_framework.request import Request

from agent_sessions import services
from agent_sessions.api.history import difference_answer
from agent_sessions.api.resource import Operation, SessionResource
from agent_sessions.api.schemas import DIFFERENCE
from agent_sessions.domain.calls import Call
from agent_sessions.store import StoreContext
from agent_sessions.store.answers import CART
from agent_sessions.store.cart import cart_answer


class RevalidateView(SessionResource):
    """``POST``: ask the store about everything that the session depends on."""

    slow = True
    operations = {
        "POST": Operation(
            "session.revalidate",
            "Ask the store for prices and stock again. The answer tells what has changed; then nothing is stale.",
            {
                "type": "object",
                "required": ["changes", "problems", "cart"],
                "properties": {
                    "changes": {"type": "array", "items": DIFFERENCE},
                    "problems": {
                        "type": "array",
                        "items": CART["properties"]["problems"]["items"],
                        "description": "What keeps the cart from being bought; see checkout.",
                    },
                    "cart": CART,
                },
            },
            changes=True,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        done = services.revalidate(
            head,
            ctx=StoreContext(request=self.http),
            expected_version=self.expected_version(head),
            call=Call(method="POST"),
            writing=partial(self.at_once, answered=self._revalidated),
        )
        return self._revalidated(done)

    def _revalidated(self, done: services.Revalidated) -> HttpResponse:
        answer = {
            "changes": [difference_answer(one) for one in done.changes],
            "problems": list(done.problems),
            "cart": cart_answer(done.state),
        }
        return self.answered(answer, version=done.version)
