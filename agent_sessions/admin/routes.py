"""The pages of one session: where each is and what it is called. One more: an entry here and a view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext_noop

from agent_sessions.admin.evidence import MAY_VIEW


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


PAGES: Final = (
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
