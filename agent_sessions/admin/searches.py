"""Searches beside the filters: those that are saved under a name, and that for a customer whom the shop knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from agent_sessions import services
from agent_sessions.admin.approvals import refusal
from agent_sessions.conf import settings
from agent_sessions.exceptions import AgentSessionsError, NoStore

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from agent_sessions.admin.sessions import SessionAdmin

SAVED: Final = {
    "approval=escalated": gettext_lazy("Waits for staff"),
    "failure=event:step.failed&opened=day": gettext_lazy("Failed steps today"),
    "failure=event:capability.refused&opened=day": gettext_lazy("Refused today"),
    "end_reason=completed&opened=day": gettext_lazy("Checked out today"),
    "status=quarantined": gettext_lazy("Quarantined"),
}
"""The package's own; the setting SAVED_SEARCHES adds more."""


def saved_searches(query: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the searches that stand above the list; ``here`` is the one that is looked at."""
    every: list[tuple[str | _StrPromise, str]] = [(title, saved) for saved, title in SAVED.items()]
    every += [(title, saved.removeprefix("?")) for title, saved in settings.saved_searches.items()]
    now = {name: value for name, value in query.items() if name != "p"}
    return [
        {"title": title, "query": "?" + urlencode(wanted), "here": now == wanted}
        for title, saved in every
        for wanted in [dict(parse_qsl(saved))]
    ]


def finds_customers() -> bool:
    """Tell whether the site's store can look customers up; one that cannot be made is told by a system check."""
    try:
        return services.finds_customers()
    except NoStore:
        return False


class CustomerSearch:
    """Lead to the sessions of a customer whom the shop finds by what staff know, such as an e-mail address.

    A POST, so that it stands in no address, history or log; only the pseudonym goes into the address.
    """

    def __init__(self, model_admin: SessionAdmin) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return _found(request, reverse(f"{self._admin.admin_site.name}:agent_sessions_session_changelist"))


@sensitive_post_parameters("customer")
def _found(request: HttpRequest, address: str) -> HttpResponse:
    merchant = request.POST.get("merchant", "") or settings.merchant
    try:
        consumer = services.find_consumer(request.POST.get("customer", ""), merchant=merchant)
    except AgentSessionsError as error:
        messages.error(request, refusal(error))
        return HttpResponseRedirect(address)
    if not consumer:
        messages.warning(request, _("The shop knows no customer by that. Write the whole address."))
        return HttpResponseRedirect(address)
    return HttpResponseRedirect(f"{address}?{urlencode({'merchant': merchant, 'consumer': consumer})}")
