"""What of a session is masked for a reader, who sees it nevertheless, and the form that reveals it (A9).

Masked is what is personal or in people's own words. The session's history alone says what is revealed to whom; a
browser keeps nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from agent_sessions import selectors, services
from agent_sessions.admin import wording
from agent_sessions.admin.approvals import refusal
from agent_sessions.admin.asked import staff_of
from agent_sessions.audit.events import parse_time
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, PaymentDataRefused
from agent_sessions.selectors import ErasedNote, Reveal, SessionHead

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

MAY_REVEAL: Final = "agent_sessions.view_session_content"
EVERYTHING: Final = frozenset(GROUPS)
_NAMES: Final[Mapping[str, Promise]] = {
    "words": gettext_lazy("what was said"),
    "customer": gettext_lazy("what is known of the customer"),
    "agent": gettext_lazy("what the agent kept and tried"),
}
_HOLDS: Final[Mapping[str, Promise]] = {
    "words": gettext_lazy("purpose, instructions, messages, questions and answers, notes, what was typed"),
    "customer": gettext_lazy("their data, facts that were looked up, delivery, details of the cart"),
    "agent": gettext_lazy("variables, reasons, recommendations, steps, further details of decisions"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Groups, by their names, that somebody sees until a time; ``who`` is empty for the reader."""

    who: str
    names: str
    until: SafeString


@dataclass(frozen=True, slots=True)
class Masks:
    """How a session is masked for one reader.

    ``shown`` are the groups that they see, ``left`` the seconds until one of them ends; ``by`` is the number of the
    event that the newest of their reveals is in.
    ``opens`` tells whether there is anything to reveal: not once it was erased, nor while the session is quarantined.
    """

    may_reveal: bool
    opens: bool
    shown: Set[str]
    own: tuple[Seen, ...] = ()
    others: tuple[Seen, ...] = ()
    left: int = 0
    by: int = 0

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The groups that can be revealed to the reader, as a form names them."""
        return [
            {"value": group, "name": _NAMES[group], "holds": _HOLDS[group]}
            for group in GROUPS
            if group not in self.shown
        ]

    def sees(self, group: str) -> bool:
        return group in self.shown

    @property
    def sees_everything(self) -> bool:
        return self.shown >= EVERYTHING


def masks_of(request: HttpRequest, head: SessionHead, erased: Mapping[Any, ErasedNote]) -> Masks:
    """Return how a session is masked for who asks; at most one query.

    What is left once its personal data was erased says nothing of anybody, so who has the permission sees it.
    """
    may_reveal = request.user.has_perm(MAY_REVEAL)
    if erased:
        return Masks(may_reveal, False, EVERYTHING if may_reveal else frozenset())
    if head.status is Status.QUARANTINED:
        return Masks(may_reveal, False, frozenset())
    now = timezone.now()
    found, me = selectors.reveals(head, now), str(staff_of(request))
    own = [one for one in found if one.actor == me and may_reveal]
    others = [one for one in found if one.actor != me]
    return Masks(
        may_reveal,
        True,
        frozenset(one.group for one in own),
        own=tuple(_seen(own, "")),
        others=tuple(
            seen
            for actor, theirs in groupby(others, key=lambda one: one.actor)
            for seen in _seen(theirs, wording.actor_words(actor))
        ),
        left=min((ceil((one.until - now).total_seconds()) for one in own), default=0),
        by=max((one.seq for one in own), default=0),
    )


def reveal_page(page: Reading, request: HttpRequest) -> HttpResponse:
    """Show the form that reveals groups; take it, or the one that masks them again, and lead back to where it was."""
    form = request.POST if request.method == "POST" else request.GET
    back = _place(page, form.get("next", ""))
    problem, status, reason = "", 200, request.POST.get("reason", "").strip()
    if request.method == "POST":
        if not page.masks.may_reveal:
            raise PermissionDenied
        try:
            if "mask" in form:
                services.mask_content(page.session.pk, actor=staff_of(request))
            else:
                groups = form.getlist("group")
                if not groups:
                    raise InvalidValue("/group", gettext("Choose what to reveal."))
                services.reveal_content(page.session.pk, groups=groups, reason=reason, actor=staff_of(request))
            return HttpResponseRedirect(back)
        except AgentSessionsError as error:
            problem, status = refusal(error), error.status
            if isinstance(error, PaymentDataRefused):
                reason = ""  # nor does it stand on the page again
    return page.shown(
        "reveal", status=status, crumb=gettext("Reveal"), problem=problem, here_url=back,
        reveal_reason=reason, reveal_chosen=form.getlist("group"),
    )  # fmt: skip


def reveal_words(params: Mapping[str, Any]) -> SafeString | str:
    """Say of an event which groups it revealed, and until when; nothing if it is malformed."""
    groups = params.get("groups")
    try:
        until = wording.brief_moment(parse_time(str(params.get("until"))))
    except InvalidValue:
        return ""
    return format_html(gettext("{} until {}"), _named(groups if isinstance(groups, list) else ()), until)


def _named(groups: Iterable[Any]) -> str:
    wanted = list(groups)
    return ", ".join(str(_NAMES[group]) for group in GROUPS if group in wanted)


def _seen(found: Iterable[Reveal], who: str) -> list[Seen]:
    """Put groups together that are seen until the same time."""
    by_time = sorted(found, key=lambda one: one.until)
    return [
        Seen(who, _named(one.group for one in same), wording.brief_moment(until))
        for until, same in groupby(by_time, key=lambda one: one.until)
    ]


def _place(page: Reading, asked: str) -> str:
    """Return the page of this session that a form was on; its overview if it names any other."""
    own = page.url("change")
    return asked if asked.startswith(own) and not asked.startswith(page.url("reveal")) else own
