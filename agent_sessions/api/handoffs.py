"""The link that an agent gives to the human who pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agent_sessions import selectors, services
from agent_sessions.exceptions import AgentSessionsError, HandoffNotFound
from agent_sessions.selectors.handoffs import SESSION_KEY
from agent_sessions.store.offer import offer

_View = Callable[[HttpRequest, str], HttpResponseBase]


def _keeps_the_link_secret(view: _View) -> _View:
    """Keep the link's token out of referrers and logs: whoever has it can see the cart."""

    @wraps(view)
    def respond(request: HttpRequest, token: str) -> HttpResponseBase:
        response = view(request, token)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response

    return respond


@login_not_required
@_keeps_the_link_secret
@never_cache
@require_safe
def handoff(request: HttpRequest, token: str) -> HttpResponseBase:
    """Take a human to the store's checkout of what their agent put together (contract item 46).

    Opening it changes nothing of the cart and can be done any number of times, so previews of links do no harm.
    """
    try:
        found = selectors.handoff_by_token(token)
        store = offer().store
    except HandoffNotFound as problem:
        return _problem(request, problem.message, status=404)
    except AgentSessionsError:
        return _problem(request, "This cart cannot be shown right now. Try again later.", status=503)
    if store is None:
        return _problem(request, "This shop takes no orders of agents at the moment.", status=503)
    session = getattr(request, "session", None)
    if session is not None:
        session[SESSION_KEY] = str(found.id)
    services.note_handoff_opened(found.id)
    return store.open_handoff(request, found)


def _problem(request: HttpRequest, message: str, *, status: int) -> HttpResponse:
    return render(request, "agent_sessions/handoff_problem.html", {"message": message}, status=status)
