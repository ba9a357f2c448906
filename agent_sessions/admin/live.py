"""A running session's pages follow along: what a page asks for every few seconds, and whether it is to ask at all.

The page asks what is new, which is one query; what it shows of that it takes from the page itself, asked for again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agent_sessions.admin.asked import read_number
from agent_sessions.domain.lifecycle import LIVE, Status
from agent_sessions.selectors import admin_lists
from agent_sessions.selectors.admin_lists import Pulse

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading


@dataclass(frozen=True, slots=True)
class Following:
    """What a page that follows along has to know: where to ask, where to take what is new from, and what it shows.

    ``way``: a ``story`` grows at its end, of a ``view`` the parts are exchanged, and a ``version`` stays as it is.
    """

    url: str
    page_url: str
    way: Literal["story", "view", "version"]
    seq: int
    version: int
    etag: str


def following(page: Reading, *, way: Literal["story", "view", "version"], page_url: str) -> Following | None:
    """Return how this page follows along; None if the session does not go on. ``page_url`` is the page's, of now."""
    head = page.head
    if head.status not in LIVE:
        return None
    etag = _etag(Pulse(head.head_seq, head.version, head.status.value))
    return Following(page.url("live"), page_url, way, head.head_seq, head.version, etag)


def answer(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Say what is new since event ``?seq=`` and version ``?version=``; 304 if nothing is since the request's ETag."""
    pulse = admin_lists.pulse(session_id)
    if pulse is None:
        raise Http404(f"There is no session {session_id}.")
    etag = _etag(pulse)
    # What compresses answers makes an ETag a weak one.
    if etag in {one.removeprefix("W/") for one in parse_etags(request.headers.get("If-None-Match", ""))}:
        response: HttpResponse = HttpResponseNotModified()
    else:
        response = JsonResponse(
            _news(pulse, *(read_number(request.GET.get(name, "")) or 0 for name in ("seq", "version")))
        )
    response.headers["ETag"] = etag
    return response


def _news(pulse: Pulse, seq: int, version: int) -> dict[str, Any]:
    """``said`` and ``version_said`` are empty where there is nothing new, ``over`` while the session goes on."""
    more = max(pulse.head_seq - seq, 0)
    told = ngettext("%(count)s new event", "%(count)s new events", more) % {"count": more}
    return {
        "seq": pulse.head_seq,
        "version": pulse.version,
        "said": told if more else "",
        "version_said": _("There is version %(number)s now") % {"number": pulse.version}
        if pulse.version > version
        else "",
        "over": _over(pulse.status),
    }


def _over(status: str) -> str:
    if status in LIVE:
        return ""
    if status == Status.QUARANTINED:
        return _("The session was found damaged and is closed; nothing more comes.")
    return _("The session has ended; nothing more comes.")


def _etag(pulse: Pulse) -> str:
    return f'"{pulse.head_seq}-{pulse.version}-{pulse.status}"'
