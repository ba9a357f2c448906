"""A session as it is for whoever acts on it, and what an action is made of."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from agent_sessions import selectors
from agent_sessions.admin.asked import read_number, staff_of
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.models import CheckoutHandoff, LegalHold
from agent_sessions.selectors import HoldView, SessionHead, SessionReport
from agent_sessions.selectors._keys import DataClass
from agent_sessions.services._texts import MAX_NOTE

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

Given = Mapping[str, Any]
Fields = dict[str, forms.Field]
LONGEST_LINE: Final = 200


class Situation:
    """A session as it is for whoever acts on it; every fact is read when an action first asks for it.

    ``to`` is the version that a rollback leads to.
    """

    def __init__(self, page: Reading, request: HttpRequest, *, to: int = 0) -> None:
        self.page, self.request, self.now = page, request, timezone.now()
        self.actor = staff_of(request)
        asked = request.POST.get("to", "") or request.GET.get("to", "")
        self.to = to or read_number(asked) or page.head.committed_version

    @property
    def head(self) -> SessionHead:
        return self.page.head

    @cached_property
    def approval(self) -> uuid.UUID | None:
        return selectors.waiting_approval(self.head)

    @cached_property
    def held(self) -> list[tuple[str, int]]:
        return selectors.held_by(self.head.session_id)

    @cached_property
    def handoff(self) -> CheckoutHandoff:
        """Raises HandoffNotFound, HandoffClosed."""
        return selectors.handoff_to_resend(self.head)

    @cached_property
    def legal_holds(self) -> list[HoldView]:
        return selectors.holds_on(self.head.session_id)

    @cached_property
    def own_holds(self) -> list[HoldView]:
        """Those on this session alone, which can be lifted from here."""
        return [hold for hold in self.legal_holds if hold.scope == LegalHold.Scope.SESSION]

    @cached_property
    def erasable(self) -> dict[DataClass, str]:
        """The classes that are there still, each with what keeps it; empty if nothing does."""
        found: dict[DataClass, str] = {}
        for name, earliest in selectors.earliest_erasure(self.head).items():
            kept = earliest.at > self.now
            found[name] = (
                _("Rule %(rule)s keeps it until %(date)s.") % {"rule": earliest.rule, "date": date(earliest.at)}
                if kept
                else ""
            )
        return found

    @cached_property
    def report(self) -> SessionReport:
        return selectors.verify_session(self.head.session_id)


@dataclass(frozen=True, slots=True)
class Done:
    """What to tell of an action that was carried out; ``link`` is shown this once and kept nowhere."""

    text: str
    link: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that staff can do with a session.

    ``why_not`` says what keeps it from being done now, ``happens`` what it will do, ``fields`` what is asked for;
    ``do`` calls the service. ``bound``: to the version that was seen; the others say nothing of what a session holds.
    ``severe`` ones cannot be taken back. ``place`` leads to a page of its own instead.
    """

    name: str
    permission: str
    label: Any
    purpose: Any
    why_not: Callable[[Situation], str]
    happens: Callable[[Situation], Iterable[str]] = lambda _situation: ()
    fields: Callable[[Situation], Fields] = lambda _situation: {}
    do: Callable[[Situation, Given], Done] | None = None
    bound: bool = True
    severe: bool = False
    place: Callable[[Situation], str] | None = None
    found: Callable[[Situation], str] = lambda _situation: ""
    """What keeps it from being done, as far as only its own page takes the time to find out."""


def reason(label: Any = None, *, required: bool = True) -> Fields:
    """Ask for words that are sealed with what the session says of people."""
    help_text = _("Sealed in the session’s history, with your name. At most %(most)s characters.") % {"most": MAX_NOTE}
    widget = forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})
    return {
        "reason": forms.CharField(
            label=label or _("Why"), required=required, max_length=MAX_NOTE, widget=widget, help_text=help_text
        )
    }


def line(name: str, label: Any, help_text: str) -> Fields:
    """Ask for a line that stands in the clear for good."""
    widget = forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"})
    return {name: forms.CharField(label=label, max_length=LONGEST_LINE, widget=widget, help_text=help_text)}


def said(given: Given) -> str:
    return str(given.get("reason", "")).replace("\r\n", "\n")


def date(moment: datetime) -> str:
    return formats.date_format(timezone.localtime(moment), "j M Y, H:i")


def not_open(situation: Situation) -> str:
    if situation.head.status is Status.QUARANTINED:
        return _("It is quarantined: check and repair it first.")
    return ""


def not_live(situation: Situation) -> str:
    if situation.head.status is Status.ENDED:
        return _("It has ended.")
    if closed := not_open(situation):
        return closed
    return "" if situation.head.is_live(situation.now) else _("Its deadline has passed; the next clean-up ends it.")


def held_words(situation: Situation) -> str:
    return ", ".join(f"{quantity} × {clipped(item)}" for item, quantity in situation.held)
