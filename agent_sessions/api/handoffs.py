"""The link that an agent gives to the human who pays."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache

from agent_sessions import selectors, services
from agent_sessions.api.links import secret_link
from agent_sessions.exceptions import HandoffNotFound, NoStore
from agent_sessions.store.offer import offer


@login_not_required
@never_cache
@secret_link(
    unknown=HandoffNotFound,
    template="agent_sessions/handoff_problem.html",
    failed="This cart cannot be shown right now. Try again later.",
)
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
    selectors.remember_handoff(request, found.id)
    services.note_handoff_opened(found.id)
    return store.open_handoff(request, found)
