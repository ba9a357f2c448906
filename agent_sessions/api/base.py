"""The view that all endpoints share: it counts, tells who calls, and answers every error with an envelope.

Everything that REST framework would take from the host's settings is set here. Answers are plain HttpResponses, made
inside the view, so no renderer and no template machinery is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NoReturn

from django.conf import settings as django_settings
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix, get_urlconf, reverse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from agent_sessions.api import callers, limits
from agent_sessions.api.cors import add_cors, preflight
from agent_sessions.api.envelopes import answer_to
from agent_sessions.api.errors import MethodNotAllowed
from agent_sessions.api.parsing import read_body, read_object
from agent_sessions.api.tokens import token_of
from agent_sessions.conf import settings
from agent_sessions.exceptions import InvalidToken, SignatureRefused
from agent_sessions.identity import AgentIdentity, Outcome
from agent_sessions.selectors import SessionHead, authenticate
from agent_sessions.services import caller_pseudonym


class ApiView(APIView):
    """One endpoint. ``http`` is Django's own request; ``methods`` are those that the endpoint answers."""

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
    http: HttpRequest
    address: str
    identity: AgentIdentity
    allowance: limits.Allowance | None = None
    _body: bytes | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request and tell who sends it. A preflight is no call (contract item 47)."""
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

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = read_body(self.http)
        return self._body

    def read_object(self) -> dict[str, Any]:
        """Return the JSON object of the body, ``{}`` for none. Raises MalformedRequest, BodyTooLarge."""
        return read_object(self.body, self.http.META.get("CONTENT_TYPE", ""))

    def session(self) -> SessionHead | None:
        """Return the live session that the request speaks for, None without a token. Raises InvalidToken."""
        token = token_of(self.http)
        if token is None:
            return None
        head = authenticate(token)
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
        return answer_to(error)

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


def outside_transactions(view: Callable[..., Any], aliases: Iterable[str] | None = None) -> Callable[..., Any]:
    """Keep a host's ATOMIC_REQUESTS from rolling back the record of a refused call."""
    for alias in connections if aliases is None else aliases:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
