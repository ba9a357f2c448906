"""The pages of one session, as ``routes`` lists them. Each reads through selectors and shows."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from agent_sessions import selectors, services
from agent_sessions.admin import history, live, wording
from agent_sessions.admin.acting import act_page, moved_since, offered
from agent_sessions.admin.approvals import approval_of, carry_out, cart_of_row, refusal, row_of
from agent_sessions.admin.asked import read_number, staff_of
from agent_sessions.admin.content import shown_of
from agent_sessions.admin.evidence_page import evidence_page
from agent_sessions.admin.facts import Fact, facts_of, links_of
from agent_sessions.admin.proof import proof_page
from agent_sessions.admin.reading import Reading
from agent_sessions.admin.relations import family_of
from agent_sessions.admin.remains import remains_of
from agent_sessions.admin.revealing import reveal_page
from agent_sessions.admin.timeline import timeline_page
from agent_sessions.admin.travel import find_version, travel_page
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AgentSessionsError, PaymentDataRefused
from agent_sessions.selectors import admin_lists

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

_LATEST = 10
_EVENTS = 50
_VERSIONS = 20
_TURNS = 50


class SessionPages:
    """Views of one session; every one needs the permission ``agent_sessions.view_session``."""

    def __init__(self, model_admin: SessionAdmin) -> None:
        self._admin = model_admin

    def overview(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = Reading(self._admin, request, session_id)
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
        page = Reading(self._admin, request, session_id)
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
        return timeline_page(Reading(self._admin, request, session_id), request)

    def at(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        return find_version(Reading(self._admin, request, session_id), request)

    def version_at(self, request: HttpRequest, session_id: uuid.UUID, number: int) -> HttpResponse:
        return travel_page(Reading(self._admin, request, session_id), request, number)

    def events(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = Reading(self._admin, request, session_id)
        first, last = page.window(page.head.head_seq, _EVENTS)
        lines = page.lines(before=last + 1, limit=last - first + 1, with_changes=False)
        return page.shown("events", lines=lines, **_neighbours(first, last, page.head.head_seq, _EVENTS))

    def conversation(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        page = Reading(self._admin, request, session_id)
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
        page = Reading(self._admin, request, session_id)
        found = page.read(lambda: selectors.approvals_of(page.head)) or []
        return page.shown("approvals", rows=[row_of(one, page.words_of(one)) for one in found])

    def approval(self, request: HttpRequest, session_id: uuid.UUID, approval_id: uuid.UUID) -> HttpResponse:
        """Show what is asked; take the answer of who may decide (L5)."""
        page = Reading(self._admin, request, session_id)
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
        return act_page(Reading(self._admin, request, session_id), request, name)

    def evidence(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponseBase:
        """Show what a decision, a payment or an order rested on (A2); what is personal while it is revealed."""
        return evidence_page(Reading(self._admin, request, session_id), request)

    def proof(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Show what proves the history, checked now: the chain, the signed record, the place in the log (A3, A4)."""
        return proof_page(Reading(self._admin, request, session_id), request)

    def reveal(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Reveal what is masked to one of the staff, or mask it again (A9)."""
        return reveal_page(Reading(self._admin, request, session_id), request)

    def live(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Say to a page that follows along what is new."""
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return live.answer(request, session_id)

    def artifact(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Send the signed record of an ended session: with nothing opened, or all if all is revealed to this reader.

        What is opened leaves once the session's history says so.
        """
        page = Reading(self._admin, request, session_id)
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


def _neighbours(first: int, last: int, latest: int, size: int) -> dict[str, Any]:
    """Return the links of a page of numbered rows: values of ``before`` for the page newer and the page older."""
    return {
        "first": first,
        "last": last,
        "of": latest,
        "newer": min(last + size, latest) + 1 if last < latest else None,
        "older": first if first > 1 else None,
    }
