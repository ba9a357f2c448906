"""Optional: envelopes for what never reaches the package's views, and the way to agents.json on every page.

Put ``agent_sessions.middleware.AgentEnvelopeMiddleware`` first in MIDDLEWARE.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch
from django.utils.deprecation import MiddlewareMixin

from agent_sessions.api.base import manifest_link
from agent_sessions.api.cors import add_cors
from agent_sessions.api.envelopes import told
from agent_sessions.api.manifest import api_path


class AgentEnvelopeMiddleware(MiddlewareMixin):
    """Answers errors below the API's base in JSON, whoever made them: Django or another middleware (item 36).

    Adds the header ``Link: </.well-known/agents.json>; rel="agents"`` to HTML pages (section 2, row 33).
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = response.headers.get("Content-Type", "")
        try:
            if response.status_code >= 400 and not kind.startswith("application/json"):
                base = api_path()
                if request.path == base or request.path.startswith(f"{base}/"):
                    return _envelope(response)
            if kind.startswith("text/html") and response.status_code < 400:
                response.headers.setdefault("Link", manifest_link())
        except NoReverseMatch:  # a host of several sites, and this one has no agents
            pass
        return response


def _envelope(response: HttpResponseBase) -> HttpResponseBase:
    answer = told(response.status_code)
    answer.status_code = response.status_code
    for name in ("Retry-After", "Allow", "WWW-Authenticate"):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    add_cors(answer)
    return answer
