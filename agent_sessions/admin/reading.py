"""One reader at one session: what every page of it needs to know of both, and the frame that it is shown in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from agent_sessions import selectors
from agent_sessions.admin import history, wording
from agent_sessions.admin.approvals import MAY_DECIDE
from agent_sessions.admin.asked import read_number
from agent_sessions.admin.content import Told
from agent_sessions.admin.crumbs import crumbs
from agent_sessions.admin.notices import Notice, erased_notice, notice_of
from agent_sessions.admin.revealing import EVERYTHING, masks_of
from agent_sessions.admin.routes import PAGES
from agent_sessions.conf import settings
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import (
    AgentSessionsError,
    ContentErased,
    SessionNotFound,
    SessionQuarantined,
)
from agent_sessions.models import Session
from agent_sessions.selectors import ApprovalView, SessionHead, admin_lists
from agent_sessions.selectors._keys import DataClass

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

T = TypeVar("T")


class Reading:
    """One reader at one session: what they may see, and what kept it from being shown."""

    def __init__(self, model_admin: SessionAdmin, request: HttpRequest, session_id: uuid.UUID) -> None:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        self._admin, self._request = model_admin, request
        self.notices: list[Notice] = []
        self.may_decide = request.user.has_perm(MAY_DECIDE)
        session = admin_lists.listed_sessions().filter(pk=session_id).first()
        if session is None:
            raise Http404(f"There is no session {session_id}.")
        self.session: Session = session
        try:
            self.head: SessionHead = selectors.read_head(session_id)
        except SessionNotFound as error:
            raise Http404(error.message) from None
        self.erased = selectors.erased(self.head)
        self.masks = masks_of(request, self.head, self.erased)
        self.notices += [erased_notice(note, f"{self.url('change')}#ags-remains") for note in self.erased.values()]
        if self.head.status is Status.QUARANTINED:
            self.note(SessionQuarantined(session_id, "it was found damaged and is closed until someone has looked"))

    def read_again(self) -> None:
        """Read where the session stands now, because somebody else has moved it."""
        self.session = admin_lists.listed_sessions().get(pk=self.session.pk)
        self.head = selectors.read_head(self.session.pk)

    def read(self, reads: Callable[[], T]) -> T | None:
        """Return what ``reads`` returns; if it cannot be read, None, and the page says why."""
        try:
            return reads()
        except AgentSessionsError as error:
            self.note(error)
            return None

    def note(self, error: Exception) -> None:
        if isinstance(error, ContentErased) and self.erased:
            return  # the page says already what was erased, when and by which rule
        notice = notice_of(error)
        if all(notice.title != other.title for other in self.notices):
            self.notices.append(notice)

    def erased_words(self, data_class: DataClass) -> str:
        """Say what stands where something of this class was; empty if it was not erased."""
        note = self.erased.get(data_class)
        return "" if note is None else note.text

    def words_of(self, approval: ApprovalView) -> Set[str]:
        """Return the groups of an approval's words that are shown: all to who may answer it, while it waits."""
        return EVERYTHING if self.may_decide and approval.waits else self.masks.shown

    def window(self, latest: int, size: int) -> tuple[int, int]:
        """Return the first and last number on the page: those before ``?before=``, or the latest."""
        before = read_number(self._request.GET.get("before", "")) or latest + 1
        last = min(max(before - 1, 1), latest)
        return max(last - size + 1, 1), last

    def changes(self, first: int, last: int) -> dict[int, list[Told]]:
        """Return by version what changed from version ``first`` to ``last``; empty if that cannot be read."""
        if self.head.status is Status.QUARANTINED:
            return {}
        steps = self.read(lambda: admin_lists.steps(self.head, after=first - 1, limit=last - first + 1))
        return history.changes_by_version(steps or [], self.masks.shown)

    def lines(self, *, before: int, limit: int, with_changes: bool = True) -> list[history.Line]:
        """Return up to ``limit`` events with a number below ``before``, latest first."""
        after = max(before - 1 - limit, 0)
        found = self.read(lambda: selectors.events(self.session.pk, after=after, limit=before - 1 - after)) or []
        made = [
            version for event in found if isinstance(event, dict) and isinstance(version := event.get("version"), int)
        ]
        changes: dict[int, list[Told]] = {}
        if made and with_changes:
            changes = self.changes(min(made), max(made))
        return history.lines(found, changes)[::-1]

    @property
    def export_url(self) -> str:
        """The page that makes a bundle, filled in with this session."""
        return reverse(f"{self._admin.admin_site.name}:agent_sessions_session_export") + f"?sessions={self.session.pk}"

    def shown(self, template: str, *, status: int = 200, crumb: str = "", **context: Any) -> HttpResponse:
        session, opts = self.session, self._admin.opts
        tabs = [
            {"name": _(page.tab), "url": self.url(page.name), "here": page.view == template}
            for page in PAGES
            if page.tab and (not page.needs or self._request.user.has_perm(page.needs))
        ]
        here = crumb or next((tab["name"] for tab in tabs if tab["here"] and template != "overview"), "")
        name = wording.agent_words(session.agent_name, session.agent_version)
        way = [(wording.short_id(session.pk), self.url("change") if here else "")]
        way += [(_("Versions"), self.url("versions"))] if template == "at" else []
        way += [(str(here), "")] if here else []
        return TemplateResponse(
            self._request,
            f"admin/agent_sessions/session/{template}.html",
            {
                **self._admin.admin_site.each_context(self._request),
                "title": name,
                "subtitle": here or None,
                "opts": opts,
                "media": self._admin.media,
                "session": session,
                "session_id": str(session.pk),
                "short_id": wording.short_id(session.pk),
                "status_mark": wording.status_mark(session.status, session.expires_at, session.end_reason),
                "notices": self.notices,
                "tabs": tabs,
                "masks": self.masks,
                "sent": self._request.method == "POST",
                "reveal_url": self.url("reveal"),
                "reveal_minutes": settings.reveal_time.seconds // 60,
                "here_url": self._request.get_full_path(),
                "may_decide": self.may_decide,
                "content_erased": self.erased_words("content"),
                "personal_erased": self.erased_words("personal"),
                "overview_url": self.url("change"),
                "at_url": self.url("at"),
                "timeline_url": self.url("timeline"),
                "approvals_url": self.url("approvals"),
                "artifact_url": self.url("artifact") if session.ended_at is not None else "",
                **crumbs(self._admin, *way),
                **context,
            },
            status=status,
        )

    def url(self, name: str, *args: object) -> str:
        """Return the address of a page of this session, by its name in PAGES."""
        place = f"{self._admin.admin_site.name}:agent_sessions_session_{name}"
        return reverse(place, args=[self.session.pk, *args])
