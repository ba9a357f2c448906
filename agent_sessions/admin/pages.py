"""The pages of one session. Each reads through selectors and shows; a page more is an entry in PAGES and a method."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from agent_sessions import selectors, services
from agent_sessions.admin import history, live, wording
from agent_sessions.admin.acting import act_page, moved_since, offered
from agent_sessions.admin.approvals import MAY_DECIDE, approval_of, carry_out, cart_of_row, refusal, row_of
from agent_sessions.admin.asked import read_number, staff_of
from agent_sessions.admin.content import Told, shown_of
from agent_sessions.admin.crumbs import crumbs
from agent_sessions.admin.evidence import MAY_VIEW
from agent_sessions.admin.evidence_page import evidence_page
from agent_sessions.admin.facts import Fact, facts_of, links_of
from agent_sessions.admin.notices import Notice, erased_notice, notice_of
from agent_sessions.admin.proof import proof_page
from agent_sessions.admin.relations import family_of
from agent_sessions.admin.remains import remains_of
from agent_sessions.admin.revealing import EVERYTHING, masks_of, reveal_page
from agent_sessions.admin.timeline import timeline_page
from agent_sessions.admin.travel import find_version, travel_page
from agent_sessions.conf import settings
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import (
    AgentSessionsError,
    ContentErased,
    PaymentDataRefused,
    SessionNotFound,
    SessionQuarantined,
)
from agent_sessions.models import Session
from agent_sessions.selectors import ApprovalView, SessionHead, admin_lists
from agent_sessions.selectors._keys import DataClass

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

T = TypeVar("T")
_LATEST = 10
_EVENTS = 50
_VERSIONS = 20
_TURNS = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a session: its address below the session's, its name for ``reverse``, and its tab, if it has one.

    ``answers``: it takes a form too, and checks the permission for that itself. ``needs`` is a permission without which
    its tab is not shown.
    """

    route: str
    view: str
    name: str
    tab: str = ""
    answers: bool = False
    needs: str = ""


PAGES = (
    Page("", "overview", "change", gettext_noop("Overview")),
    Page("timeline/", "timeline", "timeline", gettext_noop("Timeline")),
    Page("at/", "at", "at"),
    Page("at/<int:number>/", "version_at", "version_at"),
    Page("versions/", "versions", "versions", gettext_noop("Versions")),
    Page("events/", "events", "events", gettext_noop("Events")),
    Page("conversation/", "conversation", "conversation", gettext_noop("Conversation")),
    Page("approvals/", "approvals", "approvals", gettext_noop("Approvals")),
    Page("approvals/<uuid:approval_id>/", "approval", "approval", answers=True),
    Page("act/<slug:name>/", "act", "act", answers=True),
    Page("evidence/", "evidence", "evidence", gettext_noop("Evidence"), needs=MAY_VIEW),
    Page("proof/", "proof", "proof", gettext_noop("Proof")),
    Page("live/", "live", "live"),
    Page("artifact", "artifact", "artifact"),
    Page("reveal/", "reveal", "reveal", answers=True),
)


class SessionPages:
    """Views of one session; every one needs the permission ``agent_sessions.view_session``."""

    def __init__(self, model_admin: SessionAdmin) -> None:
        self._admin = model_admin

    def overview(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = _Reading(self._admin, request, session_id)
        head = page.head
        state = page.read(lambda: selectors.current_state(head).state)
        purpose = None
        if page.masks.sees("words") and state is not None:
            purpose = page.read(lambda: str(selectors.private_values(head, 1).get("purpose", "")))
        facts: list[Fact] = facts_of(page.session, head)
        return page.shown(
            "overview",
            acting=offered(page, request),
            facts=facts,
            purpose=clipped(purpose, 1000) if purpose else "",
            links=links_of(admin_lists.handed_over(session_id)),
            lines=page.lines(before=head.head_seq + 1, limit=_LATEST),
            family=family_of(head),
            live=live.following(page, way="view", page_url=page.url("change")),
            remains=remains_of(page.session, head, page.erased),
            **shown_of(state, page.masks.shown),
        )

    def versions(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = _Reading(self._admin, request, session_id)
        first, last = page.window(page.head.version, _VERSIONS)
        found = page.read(lambda: selectors.versions(session_id, after=first - 1, limit=last - first + 1)) or []
        changes = page.changes(first, last)
        rows = [
            {
                "number": info.number,
                "time": wording.moment(info.created_at),
                "what": wording.kind_words(info.kind),
                "kind": clipped(info.kind),
                "who": wording.actor_words(info.actor),
                "event": info.event_seq,
                "changes": changes.get(info.number),
            }
            for info in reversed(found)
        ]
        return page.shown(
            "versions", rows=rows, known=bool(changes), **_neighbours(first, last, page.head.version, _VERSIONS)
        )

    def timeline(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        return timeline_page(_Reading(self._admin, request, session_id), request)

    def at(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        return find_version(_Reading(self._admin, request, session_id), request)

    def version_at(self, request: HttpRequest, session_id: uuid.UUID, number: int) -> HttpResponse:
        return travel_page(_Reading(self._admin, request, session_id), request, number)

    def events(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = _Reading(self._admin, request, session_id)
        first, last = page.window(page.head.head_seq, _EVENTS)
        lines = page.lines(before=last + 1, limit=last - first + 1, with_changes=False)
        return page.shown("events", lines=lines, **_neighbours(first, last, page.head.head_seq, _EVENTS))

    def conversation(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = _Reading(self._admin, request, session_id)
        after = max(read_number(request.GET.get("after", "")) or 0, 0)
        found = None
        if page.masks.sees("words"):
            found = page.read(lambda: selectors.messages(page.head, after=after, limit=_TURNS + 1))
        turns = [
            {
                "number": turn.number,
                "who": wording.speaker_words(turn.role),
                "role": clipped(turn.role),
                "text": "" if turn.erased else history.spoken(turn.content),
                "erased": page.erased_words("personal") if turn.erased else "",
                "time": wording.moment(turn.created_at),
            }
            for turn in (found or [])[:_TURNS]
        ]
        more = turns[-1]["number"] if found is not None and len(found) > _TURNS else None
        return page.shown("conversation", turns=turns, more=more, after=after, known=found is not None)

    def approvals(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = _Reading(self._admin, request, session_id)
        found = page.read(lambda: selectors.approvals_of(page.head)) or []
        return page.shown("approvals", rows=[row_of(one, page.words_of(one)) for one in found])

    def approval(self, request: HttpRequest, session_id: uuid.UUID, approval_id: uuid.UUID) -> HttpResponse:
        """Show what is asked; take the answer of who may decide (L5)."""
        page = _Reading(self._admin, request, session_id)
        if request.method == "POST" and not page.may_decide:
            raise PermissionDenied
        problem, status, words = "", 200, ""
        try:
            approval = approval_of(page.head, approval_id)
        except AgentSessionsError as error:
            page.note(error)
            return page.shown("approvals", rows=[])
        if request.method == "POST":
            try:
                messages.success(request, carry_out(request, approval))
                return HttpResponseRedirect(request.path)
            except AgentSessionsError as error:
                problem, status = refusal(error), error.status
                words = "" if isinstance(error, PaymentDataRefused) else request.POST.get("reason", "")
                approval = approval_of(page.head, approval_id)
        return page.shown(
            "approval",
            status=status,
            crumb=_("Approval"),
            row=row_of(approval, page.words_of(approval)),
            cart=page.read(lambda: cart_of_row(approval)),
            problem=problem,
            words=words,
            since=moved_since(page, approval.version) if problem and approval.status is ApprovalStatus.VOID else [],
        )

    def act(self, request: HttpRequest, session_id: uuid.UUID, name: str) -> HttpResponse:
        """Say what an action of ``acts.ACTIONS`` will do, and do it for who may."""
        return act_page(_Reading(self._admin, request, session_id), request, name)

    def evidence(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponseBase:
        """Show what a decision, a payment or an order rested on (A2); what is personal while it is revealed."""
        return evidence_page(_Reading(self._admin, request, session_id), request)

    def proof(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Show what proves the history, checked now: the chain, the signed record, the place in the log (A3, A4)."""
        return proof_page(_Reading(self._admin, request, session_id), request)

    def reveal(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Reveal what is masked to one of the staff, or mask it again (A9)."""
        return reveal_page(_Reading(self._admin, request, session_id), request)

    def live(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Say to a page that follows along what is new."""
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return live.answer(request, session_id)

    def artifact(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Send the signed record of an ended session: with nothing opened, or all if all is revealed to this reader.

        What is opened leaves once the session's history says so.
        """
        page = _Reading(self._admin, request, session_id)
        opens = page.masks.sees_everything and "content" not in page.erased
        try:
            document = services.get_artifact(session_id, disclose="all" if opens else "none")
            if opens:
                services.note_download(session_id, file="artifact", actor=staff_of(request))
        except (AgentSessionsError, ValueError) as error:
            page.note(error)
            return page.shown("no_artifact", status=409, crumb=_("Artifact"))
        response = HttpResponse(document, content_type="application/json")
        response.headers["Content-Disposition"] = f'attachment; filename="agent-session-{session_id}.json"'
        return response


class _Reading:
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


def _neighbours(first: int, last: int, latest: int, size: int) -> dict[str, Any]:
    """Return the links of a page of numbered rows: values of ``before`` for the page newer and the page older."""
    return {
        "first": first,
        "last": last,
        "of": latest,
        "newer": min(last + size, latest) + 1 if last < latest else None,
        "older": first if first > 1 else None,
    }
