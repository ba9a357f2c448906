"""Pages that people come to by a link whose address is its secret: kept out of logs, caches, referrers and indexes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeAlias

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from agent_sessions.api.envelopes import log_unexpected
from agent_sessions.exceptions import AgentSessionsError, ContentErased

_ERASED: Final = "What was in this cart has been erased."
LinkView: TypeAlias = Callable[[HttpRequest, str], HttpResponseBase]


def secret_link(
    *, unknown: type[AgentSessionsError], template: str, failed: str, referrer: str = "no-referrer"
) -> Callable[[LinkView], LinkView]:
    """Keep the link's token out of referrers and logs, whatever happens: whoever has it can see the cart.

    A link that there is not (``unknown``), one to what was erased, and a page that fails (told in the words ``failed``)
    are shown with ``template``. ``referrer`` is what the browser may tell other pages of where it came from.
    """

    def decorate(view: LinkView) -> LinkView:
        @wraps(view)
        def respond(request: HttpRequest, token: str) -> HttpResponseBase:
            try:
                response = view(request, token)
            except unknown as problem:
                told = problem.message if isinstance(problem, AgentSessionsError) else failed
                response = _problem(request, template, told, status=404)
            except ContentErased:
                response = _problem(request, template, _ERASED, status=410)
            except Exception as error:  # noqa: BLE001 - Django would log the address with it
                log_unexpected(error)
                response = _problem(request, template, failed, status=503)
            response.headers["Referrer-Policy"] = referrer
            response.headers["X-Robots-Tag"] = "noindex, nofollow"
            response._has_been_logged = True  # type: ignore[attr-defined]
            return response

        return respond

    return decorate


def _problem(request: HttpRequest, template: str, message: str, *, status: int) -> HttpResponse:
    return render(request, template, {"message": message}, status=status)
