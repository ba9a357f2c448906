"""The header Idempotency-Key: a write that is sent again gets the answer that it got the first time (V7).

As draft-ietf-httpapi-idempotency-key-header has it, and keys without quotes besides, because most clients send them so.
"""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponse

from agent_sessions.api.errors import MalformedRequest
from agent_sessions.api.parsing import read_object
from agent_sessions.exceptions import SignatureRefused
from agent_sessions.identity import AgentIdentity, Problem

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
MAX_KEY: Final = 255
MIN_KEY_WITHOUT_SESSION: Final = 16
"""Characters. Callers behind one address are told from each other by their keys alone, so they must not be guessed."""
_PASSING: Final = (Problem.REPLAYED, Problem.EXPIRED, Problem.DIRECTORY_UNAVAILABLE)
"""What can be wrong with a signature of a request whose like was accepted."""

# In quotes a structured field's string (RFC 8941); without them no comma, which two headers would be joined by.
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
_BARE: Final = re.compile(r"[!#-+\--\[\]-~]+")
_ESCAPED: Final = re.compile(r"\\(.)")

_Answer = tuple[int, dict[str, str], bytes]
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Answer).decode


def key_of(request: HttpRequest) -> str | None:
    """Return the key that came with a write, None if there is none. Raises MalformedRequest."""
    value = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if value is None or request.method not in WRITES:
        return None
    text = str(value).strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        text = _ESCAPED.sub(r"\1", quoted.group(1))
    elif _BARE.fullmatch(text) is None:
        text = ""
    if not 0 < len(text) <= MAX_KEY:
        raise MalformedRequest(f"Send one {HEADER} of 1 to {MAX_KEY} visible ASCII characters, such as a UUID.")
    return text


def require_told_apart(key: str, sender: AgentIdentity) -> None:
    """Refuse what cannot be told from the requests of others who have no session, or not again from this one.

    Raises MalformedRequest for a key that somebody else may send too, SignatureRefused where the first request may have
    been known by its signature and this one is not: a copy of it is signed with a nonce that was seen before.
    """
    if sender.problem in _PASSING:
        raise SignatureRefused(sender.explanation)
    if len(key) < MIN_KEY_WITHOUT_SESSION:
        raise MalformedRequest(
            f"Without a session token, send an {HEADER} of {MIN_KEY_WITHOUT_SESSION} characters or more that nobody "
            "can guess, such as a random UUID."
        )


def spelling_of(request: HttpRequest, body: bytes) -> bytes:
    """Spell out what a request asks for: its path, its query and its body, however the JSON of that is laid out.

    Headers are left out. Above all If-Match: whoever got no answer and has read the session since knows a newer
    version, and is to be told that the change is already made.
    """
    content: object
    try:
        content = read_object(body, request.META.get("CONTENT_TYPE", ""))
    except MalformedRequest:  # which is for the endpoint to say, if it reads the body at all
        content = body.decode("latin-1")
    asked = [request.path, sorted(request.GET.lists()), content]
    return json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()


def recorded(response: HttpResponse) -> bytes | None:
    """Write down an answer to be given again; None for a refusal, after which the request is decided anew."""
    if not 200 <= response.status_code < 300:
        return None
    return _encode((response.status_code, dict(response.headers), response.content))


def replayed(answer: bytes) -> HttpResponse:
    """Return the answer that was written down, marked as given before."""
    status, headers, content = _decode(answer)
    return HttpResponse(content, status=status, headers={**headers, REPLAYED: "true"})
