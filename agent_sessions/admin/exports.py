"""The page that makes a bundle of evidence of many sessions (A2): a form, and the file that comes of it."""

from __future__ import annotations

import tempfile
import uuid
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from agent_sessions import services
from agent_sessions.admin.approvals import refusal
from agent_sessions.admin.asked import staff_of
from agent_sessions.admin.crumbs import crumbs
from agent_sessions.admin.evidence import MAY_EXPORT
from agent_sessions.admin.revealing import MAY_REVEAL
from agent_sessions.conf import settings
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, PaymentDataRefused
from agent_sessions.selectors import Selection

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

LIMIT: Final = 200
"""Sessions of one bundle; more are for the command, which nobody waits for in a browser."""
_FIELDS: Final = ("consumer", "order", "agent", "parent_request", "sessions", "start", "end", "merchant", "reason")


class ExportPage:
    """Needs ``agent_sessions.export_session_evidence`` beside the permission to see sessions.

    What is personal is in the bundle only of what it reveals to who exports: that needs the permission for it, too.
    """

    def __init__(self, model_admin: SessionAdmin) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not (self._admin.has_view_permission(request) and request.user.has_perm(MAY_EXPORT)):
            raise PermissionDenied
        if request.method != "POST":
            return self._shown(request, request.GET)
        reveal = bool(request.POST.get("personal"))
        if reveal and not request.user.has_perm(MAY_REVEAL):
            raise PermissionDenied
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
        try:
            services.write_bundle(
                _selection(request.POST),
                file,
                reason=request.POST.get("reason", "").strip(),
                actor=staff_of(request),
                reveal=reveal,
                limit=LIMIT,
            )
        except AgentSessionsError as error:
            file.close()
            given = request.POST.copy()
            if isinstance(error, PaymentDataRefused):
                given["reason"] = ""  # nor does it stand on the page again
            return self._shown(request, given, problem=refusal(error), status=error.status)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        name = f"agent-sessions-evidence-{timezone.now():%Y%m%d-%H%M%S}.zip"
        return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")

    def _shown(self, request: HttpRequest, given: Any, *, problem: str = "", status: int = 200) -> TemplateResponse:
        return TemplateResponse(
            request,
            "admin/agent_sessions/session/export.html",
            {
                **self._admin.admin_site.each_context(request),
                "title": _("Export evidence"),
                "opts": self._admin.opts,
                "media": self._admin.media,
                "given": {name: given.get(name, "") for name in _FIELDS},
                "problem": problem,
                "limit": LIMIT,
                "may_reveal": request.user.has_perm(MAY_REVEAL),
                "personal": bool(given.get("personal")),
                "reveal_minutes": settings.reveal_time.seconds // 60,
                **crumbs(self._admin, (_("Export evidence"), "")),
            },
            status=status,
        )


def _selection(given: Any) -> Selection:
    """Read the form. Raises InvalidValue."""
    texts = {name: given.get(name, "").strip() for name in _FIELDS}
    return services.select_evidence(
        consumer=texts["consumer"],
        order=texts["order"],
        agent=texts["agent"],
        parent_request=texts["parent_request"],
        merchant=texts["merchant"],
        sessions=[_session_id(one) for one in texts["sessions"].split()],
        start=_day(texts["start"], "/start"),
        end=_day(texts["end"], "/end"),
    )


def _session_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidValue("/sessions", _("Write whole ids of sessions, with spaces between.")) from None


def _day(text: str, path: str) -> datetime | None:
    if not text:
        return None
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise InvalidValue(path, _("Write a day as 2026-12-31."))
    return datetime.combine(day, time.min, UTC)
