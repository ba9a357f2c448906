"""The link that an agent gives to the human who pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from agent_sessions import selectors, services
from agent_sessions.api.envelopes import log_unexpected
from agent_sessions.exceptions import HandoffNotFound, NoStore
from agent_sessions.selectors.handoffs import SESSION_KEY
from agent_sessions.store.offer import offer

_View = Callable[[HttpRequest, str], HttpResponseBase]


def _keeps_the_link_secret(view: _View) -> _View:
    """Keep the link's token out of referrers and logs, whatever happens: whoever has it can see the cart."""

    @wraps(view)
    def respond(request: HttpRequest, token: str) -> HttpResponseBase:
        try:
            response = view(request, token)
        except HandoffNotFound as problem:
            response = _problem(request, problem.message, status=404)
        except Exception as error:  # noqa: BLE001 - Django would log the address with it
            log_unexpected(error)
            response = _problem(request, "This cart cannot be shown right now. Try again later.", status=503)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response

    return respond


@login_not_required
@never_cache
@_keeps_the_link_secret
def handoff(request: HttpRequest, token: str) -> HttpResponseBase:
    """Take a human to the store's checkout of what their agent put together (contract item 46).

    Opening it changes nothing of the cart and can be done any number of times, so previews of links do no harm.
    """
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])  # require_safe would log the address
    found = selectors.handoff_by_token(token)
    store = offer().store
    if store is None:
        raise NoStore("There is no store to take over the human.")
    session = getattr(request, "session", None)
    if session is not None:
        session[SESSION_KEY] = str(found.id)
    services.note_handoff_opened(found.id)
    return store.open_handoff(request, found)


def _problem(request: HttpRequest, message: str, *, status: int) -> HttpResponse:
    return render(request, "agent_sessions/handoff_problem.html", {"message": message}, status=status)
