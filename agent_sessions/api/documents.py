"""State documents over HTTP: give one away, take one over, and the schema of both (C3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from agent_sessions import services
from agent_sessions.api.callers import consumer_of
from agent_sessions.api.envelopes import JSON_TYPE
from agent_sessions.api.history import difference_answer
from agent_sessions.api.manifest import published
from agent_sessions.api.opening import as_field, opened_answer, opener_of
from agent_sessions.api.resource import Operation, SessionResource, text_of
from agent_sessions.api.schemas import DIFFERENCE, OPENED
from agent_sessions.domain.documents import document_json_schema
from agent_sessions.domain.identity import MAX_TEXT, Scope
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.selectors import SessionHead
from agent_sessions.store import StoreContext
from agent_sessions.store.cart import cart_answer

_DOCUMENT: dict[str, Any] = {"type": "object", "description": "See /.well-known/agents/session-state.schema.json."}


@csrf_exempt
@login_not_required
def state_schema(request: HttpRequest) -> HttpResponseBase:
    """Serve the JSON Schema of a state document."""
    return published(request, msgspec.json.format(msgspec.json.encode(document_json_schema()), indent=2), JSON_TYPE)


class ExportView(SessionResource):
    """``POST``, because that the state was given away is recorded."""

    operations = {
        "POST": Operation(
            "session.export",
            "The session's state as a document that another agent can take over.",
            _DOCUMENT,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        return self.answered(services.export_state(head), version=head.version)


class ImportView(SessionResource):
    """``POST`` a state document: a new session that goes on from it, if the shop can sell what it says."""

    slow = True  # the store is asked for prices and stock
    operations = {
        "POST": Operation(
            "session.import",
            "Open a session that goes on from a state document, after prices, stock, customer and rules were checked.",
            {
                **OPENED,
                "required": [*OPENED["required"], "cart", "changes"],
                "properties": {
                    **OPENED["properties"],
                    "cart": {"type": "object"},
                    "changes": {"type": "array", "items": DIFFERENCE},
                },
            },
            status="201",
            body={
                "type": "object",
                "required": ["document"],
                "properties": {
                    "document": _DOCUMENT,
                    "agent_name": {"type": "string", "maxLength": MAX_TEXT},
                    "agent_version": {"type": "string", "maxLength": MAX_TEXT},
                    "scope": {"type": "object"},
                },
            },
            refusals=("422",),
            with_token=False,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        body = self.read_object()
        if "document" not in body:
            raise InvalidParameter("document", "Send the document.")
        names = {name: text_of(body, name, most=MAX_TEXT) for name in ("agent_name", "agent_version")}
        known = consumer_of(self.http)
        try:
            scope = Scope() if body.get("scope") is None else Scope.from_json(body["scope"])
            answered = partial(self._imported, scope)
            imported = services.import_state(
                body["document"],
                ctx=StoreContext(request=self.http),
                consumer="" if known is None else known.consumer,
                merchant="" if known is None else known.merchant,
                scope=scope,
                writing=partial(self.at_once, answered=answered),
                **opener_of(self, **names),
            )
        except InvalidValue as refused:
            raise as_field(refused) from None
        return answered(imported)

    def _imported(self, scope: Scope, imported: services.Imported) -> HttpResponse:
        opened = imported.opened
        self.opened(opened.session_id)
        data = opened_answer(opened, scope)
        data |= {"cart": cart_answer(imported.state), "changes": [difference_answer(one) for one in imported.changes]}
        return self.answered(data, version=opened.version, status=201)

    def key_session(self) -> SessionHead | None:
        # Whoever takes a document over speaks for no session yet, whatever token comes along.
        return None
