"""Where a session's token stands in a request: three headers, for three dialects of clients (section 2, row 7)."""

from __future__ import annotations

from django.http import HttpRequest

from agent_sessions.exceptions import InvalidToken


def token_of(request: HttpRequest) -> str | None:
    """Return the token that came with the request, or None.

    ``X-Agent-Session``, then ``Authorization: Bearer``, then ``X-Session-Token``. Raises InvalidToken if two of them
    hold different tokens: whoever sends that does not know whose session it is.
    """
    meta = request.META
    scheme, _, credential = meta.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    found = [
        token
        for token in (
            meta.get("HTTP_X_AGENT_SESSION", "").strip(),
            credential.strip() if scheme.lower() == "bearer" else "",
            meta.get("HTTP_X_SESSION_TOKEN", "").strip(),
        )
        if token
    ]
    if not found:
        return None
    if any(token != found[0] for token in found):
        raise InvalidToken
    return str(found[0])
