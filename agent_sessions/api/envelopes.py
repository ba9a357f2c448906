"""The one shape of every answer: ``{"ok": true, "data": …}`` or ``{"ok": false, "error": …}`` (contract item 34).

Answers are encoded inside the view, so that what cannot be encoded is an error like any other.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponse
from django.utils.functional import Promise
from rest_framework.exceptions import APIException

from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidToken,
    KeyProblem,
    NoStore,
    SchemaUnknown,
    SealBroken,
    SessionDamaged,
    SessionEnded,
    VersionConflict,
)

JSON_TYPE: Final = "application/json; charset=utf-8"
logger = logging.getLogger("agent_sessions")

_INTERNAL: Final = (SessionDamaged, KeyProblem, NoStore, SchemaUnknown, SealBroken)
"""Errors whose words are for the people who run the site."""
_TOLD: Final = {
    400: ("malformed_request", "The request cannot be read."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    409: ("conflict", "The shop has closed this session until somebody has looked at it. Open a new one."),
    413: ("body_too_large", "The request is too large."),
    415: ("unsupported_media_type", "Send application/json."),
    429: ("rate_limited", "Too many requests. Try again later."),
    500: ("server_error", "The site failed to answer this request. Try again later."),
    503: ("unavailable", "The site cannot answer right now. Try again later."),
}


def _other(value: object) -> object:
    if isinstance(value, Promise):
        return str(value)
    raise TypeError(f"An answer cannot hold a value of type {type(value).__name__}.")


_encode = msgspec.json.Encoder(enc_hook=_other, decimal_format="string").encode
_encode_details = msgspec.json.Encoder(enc_hook=str).encode


def success(data: Any, *, status: int = 200) -> HttpResponse:
    """Wrap what was asked for. ``data`` is anything JSON can hold; times, UUIDs and decimals become text."""
    return wrapped(_encode(data), status=status)


def wrapped(data: bytes, *, status: int = 200) -> HttpResponse:
    """Wrap what is JSON already, byte for byte; in this order the whole is canonical if the document is."""
    return HttpResponse(b'{"data":' + data + b',"ok":true}', content_type=JSON_TYPE, status=status)


def failure(status: int, message: str, code: str, details: Mapping[str, object] | None = None) -> HttpResponse:
    """Say what was wrong. ``code`` is for programs and never changes."""
    body = {"ok": False, "error": message, "code": code, "details": dict(details or {})}
    return HttpResponse(_encode_details(body), content_type=JSON_TYPE, status=status)


def told(status: int) -> HttpResponse:
    """Answer with the words for a status, where nothing better is known."""
    code, message = _TOLD.get(status) or _TOLD[400 if status < 500 else 500]
    return failure(status, message, code)


def answer_to(error: Exception) -> HttpResponse:
    """Turn whatever a request ran into into an answer. What is nobody's business is logged, without values."""
    if isinstance(error, AgentSessionsError):
        return _answer_to_ours(error)
    if isinstance(error, RequestDataTooBig):
        return told(413)
    if isinstance(error, SuspiciousOperation | UnicodeError):
        return told(400)
    if isinstance(error, PermissionDenied):
        return told(403)
    if isinstance(error, Http404):
        return told(404)
    if isinstance(error, APIException) and 400 <= error.status_code < 500:
        return told(error.status_code)
    log_unexpected(error)
    return told(500)


def log_unexpected(error: BaseException) -> None:
    """Log where an error came from and its type, never its text, which may repeat what a caller sent."""
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < 5:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    after = f" after {', '.join(causes)}" if causes else ""
    logger.error(
        "%s%s while answering a request.\n%s",
        type(error).__name__,
        after,
        "".join(traceback.format_tb(error.__traceback__)),
    )


def _answer_to_ours(error: AgentSessionsError) -> HttpResponse:
    if isinstance(error, SessionEnded):
        # The call and the end of its session met. The token is dead from here on (contract item 21).
        error = InvalidToken()
    if isinstance(error, _INTERNAL) or type(error).status == 500:
        logger.error("%s: %s", type(error).__name__, error.message)
        response = told(error.status)
        return failure(error.status, _TOLD[response.status_code][1], error.code)
    response = failure(error.status, error.message, error.code, error.details)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        response["Retry-After"] = str(max(1, retry_after))
    allowed = getattr(error, "allowed", None)
    if allowed is not None:
        response["Allow"] = ", ".join((*allowed, *(("HEAD",) if "GET" in allowed else ()), "OPTIONS"))
    if isinstance(error, InvalidToken):
        response["WWW-Authenticate"] = 'Bearer realm="agents"'
    if isinstance(error, VersionConflict):
        response["ETag"] = etag(error.current)
    return response


def etag(version: int) -> str:
    """Return the strong entity tag of a session's version (RFC 9110)."""
    return f'"v{version}"'
