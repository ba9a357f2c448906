"""Sessions, capabilities and audit artifacts over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.base import ApiView
from agent_sessions.api.callers import consumer_of
from agent_sessions.api.checkpoints import next_answer
from agent_sessions.api.envelopes import answer_to, etag, success, wrapped
from agent_sessions.api.errors import ArtifactNotFound, EndpointNotFound, MethodNotAllowed
from agent_sessions.api.opening import as_field, opened_answer, opener_of
from agent_sessions.api.payment_data import Declared
from agent_sessions.api.preconditions import expected_version
from agent_sessions.api.tokens import token_of
from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    InvalidParameter,
    InvalidToken,
    InvalidValue,
    SessionNotFound,
    VersionConflict,
)
from agent_sessions.selectors import SessionHead
from agent_sessions.services._texts import MAX_NOTE
from agent_sessions.store import Capability, StoreContext
from agent_sessions.store.cart import cart_answer
from agent_sessions.store.offer import Match, offer

_FIELDS = ("agent_name", "agent_version", "purpose", "parent_request", "kind")


class SessionView(ApiView):
    """``POST`` opens a session, ``GET`` says where it stands, ``DELETE`` ends it (contract items 1 to 29)."""

    methods = ("GET", "POST", "DELETE")

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        response = success(session_answer(selectors.overview(head)))
        response["ETag"] = etag(head.version)
        return response

    def post(self, request: Request) -> HttpResponse:
        body = self.read_object()
        try:
            opened, scope, others = self._open(body)
        except InvalidValue as refused:
            raise as_field(refused) from None
        self.opened(opened.session_id)
        data = opened_answer(opened, scope)
        if others:
            data["in_progress"] = others
        response = success(data, status=201)
        response["ETag"] = etag(opened.version)
        return response

    def delete(self, request: Request) -> HttpResponse:
        token = token_of(self.http)
        head = self.required_session()
        with_match = self.http.META.get("HTTP_IF_MATCH")
        call = Call(method="DELETE", response_status=200)
        try:
            ended = services.end_session(
                head,
                reason=EndReason.DELETED,
                expected_version=expected_version(with_match, head.version),
                call=call,
            )
        except VersionConflict as conflict:
            return conflicted(conflict, with_match)
        data: dict[str, Any] = {"session_token": token, "ended_at": format_time(ended.created_at), "ended": True}
        if settings.audit:
            data["audit_artifact_url"] = reverse("agent_sessions:artifact", args=[token])
        response = success(data)
        response["ETag"] = etag(ended.version)
        return response

    def key_session(self) -> SessionHead | None:
        # Whoever opens a session speaks for none yet, whatever token of an earlier one comes along.
        return None if self.http.method == "POST" else super().key_session()

    def _open(self, body: Mapping[str, Any]) -> tuple[services.OpenedSession, Scope, int]:
        texts = {name: _text(body, name) for name in _FIELDS}
        if len(texts["purpose"]) > MAX_NOTE:
            raise InvalidParameter("purpose", f"Send text of at most {MAX_NOTE} characters.")
        scope = Scope() if body.get("scope") is None else Scope.from_json(body["scope"])
        known = consumer_of(self.http)
        opened = services.open_session(
            consumer="" if known is None else known.consumer,
            merchant="" if known is None else known.merchant,
            purpose=texts["purpose"],
            parent_request=texts["parent_request"],
            kind=texts["kind"] or "standard",
            scope=scope,
            **opener_of(self, agent_name=texts["agent_name"], agent_version=texts["agent_version"]),
        )
        if known is None:
            return opened, scope, 0
        others = selectors.count_in_progress(known.merchant, known.consumer, besides=opened.session_id)
        return opened, scope, others


class CapabilityView(ApiView):
    """Every registered capability, by its path and method (contract items 30 to 48)."""

    slow = True  # a handler may ask anybody anything

    def call(self, request: Request, rest: str = "") -> HttpResponse:
        match, method, capability = self._called(rest)
        session = self.required_session() if capability.requires_session else self.session()
        given, text = self._given(capability, match, method)
        if_match = None if session is None else self.http.META.get("HTTP_IF_MATCH")
        try:
            answer = services.call_capability(
                capability,
                given,
                ctx=StoreContext(request=self.http),
                session=session,
                text=text,
                method=method,
                expected_version=None if session is None else expected_version(if_match, session.version),
                writing=partial(self.at_once, answered=_answered),
            )
        except VersionConflict as conflict:
            return conflicted(conflict, if_match)
        return _answered(answer)

    get = post = put = patch = delete = call

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed(self._match(kwargs.get("rest", "")).by_method)

    def declared(self) -> Declared:
        try:
            match, _, capability = self._called(self.kwargs.get("rest", ""))
        except (EndpointNotFound, MethodNotAllowed):
            return super().declared()
        return Declared(match.params, capability.identifiers)

    def operation(self) -> str:
        _, method, capability = self._called(self.kwargs.get("rest", ""))
        return f"{method} capability {capability.name}"

    def _called(self, rest: str) -> tuple[Match, str, Capability]:
        match = self._match(rest)
        method = "GET" if self.http.method == "HEAD" else self.http.method or ""
        capability = match.by_method.get(method)
        if capability is None:
            raise MethodNotAllowed(match.by_method)
        return match, method, capability

    def _match(self, rest: str) -> Match:
        match = offer().match("/" + rest) if rest else None
        if match is None:
            raise EndpointNotFound
        return match

    def _given(self, capability: Capability, match: Match, method: str) -> tuple[dict[str, Any], frozenset[str]]:
        """Return what the caller sent, and what of it came as text.

        The query counts for GET, and for DELETE where the body is silent (section 2, row 14). Elsewhere only what the
        path leaves out is looked for in it (row 6).
        """
        query = _query(self.http.GET, capability)
        if method not in ("GET", "DELETE"):
            wanted = {
                name
                for part in capability.path_params
                if part not in match.params
                for name in (part, *capability.params[part].aliases)
            }
            query = {name: value for name, value in query.items() if name in wanted}
        sent = {} if method == "GET" else self.read_object()
        return {**query, **sent, **match.params}, frozenset(query.keys() - sent.keys()) | match.params.keys()


class ArtifactView(ApiView):
    """``GET`` an ended session's signed artifact (contract items 78 to 84)."""

    methods = ("GET",)

    def get(self, request: Request, rest: str = "") -> HttpResponse:
        # The path's literal placeholder comes from clients that append the token to it (section 2, row 5).
        name = rest.removeprefix(":session_id").lstrip("/")
        if not settings.audit or not name:
            raise ArtifactNotFound
        return wrapped(services.get_artifact(self._session_id(name)))

    def _session_id(self, name: str) -> uuid.UUID:
        """Return the session that ``name`` gives a right to: by its token, or by its id where one may see it."""
        try:
            public = uuid.UUID(name)
        except ValueError:
            try:
                return selectors.session_of_token(name).session_id
            except InvalidToken:
                raise ArtifactNotFound from None
        if not self._may_see(public):
            raise ArtifactNotFound
        return public

    def _may_see(self, public: uuid.UUID) -> bool:
        try:
            token = token_of(self.http)
            if token is not None and selectors.session_of_token(token).session_id == public:
                return True
        except InvalidToken:
            pass
        user = getattr(self.http, "user", None)
        return user is not None and user.is_staff and user.has_perm("agent_sessions.view_session")

    def _handle(self, error: Exception, context: dict[str, Any]) -> HttpResponse:
        return super()._handle(ArtifactNotFound() if isinstance(error, SessionNotFound) else error, context)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        # The path holds a token; Django would log it with every answer above 400.
        response._has_been_logged = True
        response["Referrer-Policy"] = "no-referrer"
        return super().finalize_response(request, response, *args, **kwargs)


def session_answer(seen: selectors.SessionOverview) -> dict[str, Any]:
    """Return where a session stands, as its agent sees it; what says nothing is left out."""
    head = seen.head
    answer: dict[str, Any] = {
        "session_id": str(head.session_id),
        "status": head.status.value,
        "kind": head.kind,
        "merchant": head.merchant,
        "version": head.version,
        "committed_version": head.committed_version,
        "created_at": format_time(head.created_at),
        "expires_at": format_time(head.expires_at),
        "seconds_left": seen.seconds_left,
        "held_by": head.held_by.partition(":")[0] or "agent",
        "family": str(head.family),
        "scope": head.scope.as_json(),
        "cart": cart_answer(seen.state),
        "may": seen.may,
    }
    if head.paused_at is not None:
        answer["paused_at"] = format_time(head.paused_at)
    told = {"warning": seen.warning, "parent_request": head.parent_request, "approval": seen.approval}
    told |= {"stale": seen.stale, "holds": seen.holds, "steps": seen.steps, "interventions": seen.interventions}
    if seen.next_step.action != "none":
        told["next_step"] = next_answer(seen.next_step)
    return answer | {name: value for name, value in told.items() if value}


def _answered(answer: services.Answer) -> HttpResponse:
    response = success(answer.data, status=answer.status)
    if answer.version is not None:
        response["ETag"] = etag(answer.version)
    return response


def conflicted(conflict: VersionConflict, if_match: str | None) -> HttpResponse:
    """Answer a stale write: 412 to whoever sent If-Match, else 409, both with the current version (V3)."""
    response = answer_to(conflict)
    if if_match is not None:
        response.status_code = 412
    return response


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidParameter(name, "Send text.")
    return value


def _query(query: QueryDict, capability: Capability) -> dict[str, Any]:
    """Return the query's parameters; the last value of each, or all of them where a list is asked for."""
    if not query:
        return {}
    lists = {name for name, param in capability.params.items() if param.type == "array"}
    return {
        name: query.getlist(name) if name in lists and len(query.getlist(name)) > 1 else query[name] for name in query
    }
