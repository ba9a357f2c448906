"""The view that all endpoints share: it counts, tells who calls, and answers every error with an envelope.

Everything that REST framework would take from the host's settings is set here. Answers are plain HttpResponses, made
inside the view, so no renderer and no template machinery is run.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NoReturn, TypeVar

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix, get_urlconf, reverse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from agent_sessions.api import callers, idempotency, limits
from agent_sessions.api.cors import add_cors, preflight
from agent_sessions.api.envelopes import answer_to
from agent_sessions.api.errors import MethodNotAllowed
from agent_sessions.api.parsing import read_body, read_object
from agent_sessions.api.payment_data import Declared, in_address, refuse_payment_data
from agent_sessions.api.tokens import token_of
from agent_sessions.conf import settings
from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidAssertion,
    InvalidToken,
    PaymentDataRefused,
    SessionEnded,
    SignatureRefused,
)
from agent_sessions.identity import AgentIdentity, Outcome
from agent_sessions.selectors import SessionHead, authenticate, authenticate_repeat
from agent_sessions.services import Claim, caller_pseudonym, claim_key
from agent_sessions.services.refused_inputs import note_refused_input

T = TypeVar("T")


class ApiView(APIView):
    """One endpoint. ``http`` is Django's own request; ``methods`` are those that the endpoint answers.

    A write with an Idempotency-Key is carried out once, whatever the endpoint (V7). By default all of it is one
    transaction with keeping its answer. An endpoint that does something slow, or outside of the database, on the way
    sets ``slow`` and gives what it writes to ``at_once``; and one that opens a session tells it as ``opened``.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = ()
    content_negotiation_class = BaseContentNegotiation
    versioning_class = None
    metadata_class = None
    schema = None

    methods: tuple[str, ...] = ()
    slow = False
    http: HttpRequest
    address: str
    identity: AgentIdentity
    allowance: limits.Allowance | None = None
    _claim: Claim | None = None
    _body: bytes | None = None
    _object: dict[str, Any] | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer as APIView does, but a write that is sent again as it was answered before."""
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        response: HttpResponseBase
        try:
            self.initial(self.request, *args, **kwargs)
            method = (request.method or "").lower()
            answer = getattr(self, method, None) if method in self.http_method_names else None
            if answer is None:
                self.http_method_not_allowed(self.request, *args, **kwargs)
            key = idempotency.key_of(request)
            answer = partial(answer, self.request, *args, **kwargs)
            response = answer() if key is None else self._answer_once(key, answer)
        except Exception as error:  # noqa: BLE001 - every error is answered with an envelope
            response = self.handle_exception(error)
        return self.finalize_response(self.request, response, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request, tell who sends it, and refuse payment data. A preflight is no call (contract item 47)."""
        self.http = http = request._request
        if http.method == "OPTIONS":
            return
        self.address = callers.client_address(http)
        self.identity = callers.UNSIGNED
        if callers.is_signed(http):
            limits.refuse_exhausted(self.address)
            self.identity = callers.identify(http, self.body)
        self.allowance = limits.count_request(self.identity.key or self.address)
        if self.allowance is not None:
            self.allowance.require()
        if settings.requires_signatures and self.identity.outcome is not Outcome.VERIFIED:
            raise SignatureRefused(
                self.identity.explanation
                or "This site answers signed requests only (RFC 9421, tag web-bot-auth). Sign the request."
            )
        self._refuse_payment_data()

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = read_body(self.http)
        return self._body

    def read_object(self) -> dict[str, Any]:
        """Return the JSON object of the body, ``{}`` for none. Raises MalformedRequest, BodyTooLarge."""
        if self._object is None:
            self._object = read_object(self.body, self.http.META.get("CONTENT_TYPE", ""))
        return self._object

    def declared(self) -> Declared:
        """Say what the endpoint knows of the request, for the search for payment data."""
        return Declared()

    def session(self) -> SessionHead | None:
        """Return the live session that the request speaks for, None without a token. Raises InvalidToken."""
        token = token_of(self.http)
        return None if token is None else self._bound(authenticate(token))

    def _bound(self, head: SessionHead) -> SessionHead:
        """Return the session if its token may be used from here and by this agent. Raises InvalidToken."""
        if settings.bind_to == "address" and head.bound_to and head.bound_to != caller_pseudonym(self.address):
            raise InvalidToken
        if settings.bind_to == "key" and head.agent_key and head.agent_key != self.identity.key:
            raise InvalidToken
        return head

    def required_session(self) -> SessionHead:
        """Return the live session that the request speaks for. Raises InvalidToken."""
        head = self.session()
        if head is None:
            raise InvalidToken
        return head

    def operation(self) -> str:
        """Name what the request does; keys of different operations have nothing to do with each other."""
        match = self.http.resolver_match
        return f"{self.http.method} {match.view_name if match else ''}"

    def key_session(self) -> SessionHead | None:
        """Return the session that the request's Idempotency-Key belongs to, None for one of the caller.

        It may have ended since, even by the request that is sent again. Raises InvalidToken.
        """
        token = token_of(self.http)
        return None if token is None else self._bound(authenticate_repeat(token))

    def at_once(self, act: Callable[[], T], answered: Callable[[T], HttpResponse]) -> T:
        """Run ``act``, the part of a slow write that has the effect; under a key together with keeping its answer."""
        if self._claim is None:
            return act()
        return self._claim.complete(act, lambda done: idempotency.recorded(answered(done)))

    def opened(self, session_id: uuid.UUID) -> None:
        """Have the answer, which holds the new session's token, kept under that session's key."""
        if self._claim is not None:
            self._claim.session_id = session_id

    def _refuse_payment_data(self) -> None:
        """Raises PaymentDataRefused, which is noted in the session's history, where the request speaks for one (S8)."""
        try:
            refuse_payment_data(self)
        except PaymentDataRefused as refused:
            with suppress(InvalidToken, SessionEnded):  # whoever is too late, or nobody, is not in the history
                session = self.session()
                if session is not None and settings.audit:
                    note_refused_input(session, refused, method=self.http.method or "")
            raise

    def _answer_once(self, key: str, answer: Callable[[], HttpResponse]) -> HttpResponse:
        session = self.key_session()
        if session is None:
            idempotency.require_told_apart(key, self.identity)
        claimed = claim_key(
            session,
            caller="" if session is not None else self._caller(),
            operation=self.operation(),
            key=key,
            request=idempotency.spelling_of(self.http, self.body),
        )
        if isinstance(claimed, bytes):
            return idempotency.replayed(claimed)
        self._claim = claimed
        try:
            if not self.slow:
                return claimed.complete(partial(self._decided, answer), idempotency.recorded)
            response = answer()
            return response if claimed.kept else claimed.complete(lambda: response, idempotency.recorded)
        except Exception:
            claimed.release()
            raise

    def _caller(self) -> str:
        """Name who sends the request, and for whom: the answer for one consumer is not another's."""
        consumer = None
        with suppress(InvalidAssertion):  # which is for the endpoint to say, if it asks for the consumer at all
            consumer = callers.consumer_of(self.http)
        caller = caller_pseudonym(self.identity.key or self.address)
        return caller if consumer is None else f"{caller} {consumer.merchant} {consumer.consumer}"

    def _decided(self, answer: Callable[[], HttpResponse]) -> HttpResponse:
        """Answer a refusal inside the transaction: what was written of it stays, as it does without a key."""
        try:
            return answer()
        except AgentSessionsError as refusal:
            return self.handle_exception(refusal)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return preflight()

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed(self.methods)

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        return self._handle

    def _handle(self, error: Exception, context: dict[str, Any]) -> HttpResponse:
        response = answer_to(error)
        if isinstance(error, PaymentDataRefused) or in_address(self):
            response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log the address
        return response

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        headers = response.headers
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Link"] = manifest_link()
        if self.allowance is not None:
            headers["X-RateLimit-Limit"] = str(self.allowance.limit)
            headers["X-RateLimit-Remaining"] = str(self.allowance.remaining)
            headers["X-RateLimit-Reset"] = str(self.allowance.reset)
        add_cors(response)
        return response


def manifest_link() -> str:
    """Return the value of the header Link that leads to agents.json (section 2, row 33)."""
    return _manifest_link(get_urlconf() or django_settings.ROOT_URLCONF, get_script_prefix())


# Looking an address up takes longer than all other headers together; these two are what it hangs on.
@lru_cache(maxsize=8)
def _manifest_link(urlconf: str, prefix: str) -> str:  # noqa: ARG001
    return f'<{reverse("agent_sessions:agents.json")}>; rel="agents"'
