"""The evidence page of a session: what is asked for, who may see it, and its download (A2, A9)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from agent_sessions import services
from agent_sessions.admin import evidence_rows
from agent_sessions.admin.asked import staff_of
from agent_sessions.admin.evidence import MAY_EXPORT, MAY_VIEW, choices, query_of, shown_evidence, subject_of
from agent_sessions.exceptions import AgentSessionsError, InvalidValue
from agent_sessions.services import EvidenceFile

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading


def evidence_page(page: Reading, request: HttpRequest) -> HttpResponseBase:
    """Show evidence, or send it as JSON (``as=json``): with what is personal while all is revealed to who asks.

    That is in the site's chain each time; that a file leaves with it, in the session's history, too.
    """
    if not request.user.has_perm(MAY_VIEW):
        raise PermissionDenied
    subject, whole = subject_of(request), request.GET.get("as") == "json"
    context: dict[str, Any] = {
        "export_url": page.export_url if request.user.has_perm(MAY_EXPORT) else "",
        "query": query_of(subject),
    }
    personal = page.masks.sees_everything and not page.erased
    with ExitStack() as until_sent:
        try:
            found = until_sent.enter_context(
                services.open_evidence(
                    page.session.pk,
                    subject,
                    personal=personal,
                    reason=f"as event {page.masks.by} of the session's history says",
                    actor=staff_of(request),
                    most=None if whole else evidence_rows.MOST + 1,
                )
            )
            if whole and personal:
                services.note_download(page.session.pk, file="evidence", actor=staff_of(request))
        except InvalidValue as error:
            return page.shown("evidence", status=404, problem=error.problem, **context)
        except AgentSessionsError as error:
            page.note(error)
            return page.shown("evidence", status=409, **context)
        if whole:
            until_sent.pop_all()  # the response closes it
            return _download(found, f"evidence-{page.session.pk}.json")
        told = found.evidence
    return page.shown("evidence", evidence=shown_evidence(told), choices=choices(told), **context)


def _download(found: EvidenceFile, name: str) -> HttpResponseBase:
    """Send what was verified and recorded before the first byte; a reader who gets less sees it by the length."""
    response = StreamingHttpResponse(found, content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Content-Length"] = str(found.size)
    return response
