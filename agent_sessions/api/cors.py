"""Cross-origin headers, so that agents can run in a browser (contract item 47 and section 2, row 32)."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from agent_sessions.conf import settings

METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    "Content-Type, X-Agent-Session, Authorization, X-Session-Token, X-Agent-Consumer, If-Match, Idempotency-Key, "
    "Last-Event-ID, Signature, Signature-Input, Signature-Agent, Content-Digest"
)
ANSWER_HEADERS: Final = (
    "ETag, Link, Retry-After, Allow, Idempotent-Replayed, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)
_PREFLIGHT_SECONDS: Final = "7200"


def add_cors(response: HttpResponseBase) -> None:
    """Let scripts of CORS_ORIGIN read the answer. Credentials of a browser (cookies) are never asked for."""
    origin = settings.cors_origin
    if not origin:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS
    if origin != "*":
        patch_vary_headers(response, ["Origin"])


def preflight() -> HttpResponse:
    """Answer OPTIONS: no session, no body, not counted as a call."""
    response = HttpResponse(status=204)
    del response["Content-Type"]
    response["Allow"] = METHODS
    if settings.cors_origin:
        response["Access-Control-Allow-Methods"] = METHODS
        response["Access-Control-Allow-Headers"] = REQUEST_HEADERS
        response["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
    return response
