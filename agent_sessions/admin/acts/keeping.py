"""What is kept of a session: legal holds, erasing it before its time, and repair."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, time
from typing import Final, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions import services
from agent_sessions.admin import wording
from agent_sessions.admin.acts.situation import (
    LONGEST_LINE,
    Action,
    Done,
    Fields,
    Given,
    Situation,
    date,
    line,
    not_open,
    reason,
    said,
)
from agent_sessions.admin.proof import MOST_READ
from agent_sessions.conf import settings
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.models import LegalHold
from agent_sessions.selectors._keys import DataClass

_CLASSES: Final = {
    "personal": gettext_lazy("What it says of people: words, messages, what is known of the customer"),
    "content": gettext_lazy("All of its content: cart, prices and decisions too"),
}


# Legal holds


def _placing(situation: Situation) -> Iterable[str]:
    yield _("Nothing of this session is erased until the hold is lifted, whatever its age and whoever asks.")
    held = len(situation.legal_holds)
    if held:
        told = ngettext("%(number)s hold is on it already.", "%(number)s holds are on it already.", held)
        yield told % {"number": held}


def _matter(_situation: Situation) -> Fields:
    days = settings.legal_hold_review.days
    return {
        **line(
            "matter", _("What for"), _("Such as a case’s number. It is kept for good and never erased: name nobody.")
        ),
        "review": forms.DateField(
            label=_("Asked again on"),
            required=False,
            help_text=_("When somebody has to ask whether it is still needed; %(days)s days if empty.")
            % {"days": days},
            widget=forms.DateInput(attrs={"type": "date"}),
        ),
    }


def _place(situation: Situation, given: Given) -> Done:
    day = given.get("review")
    review = None if day is None else datetime.combine(day, time.min, timezone.get_current_timezone())
    held = services.place_legal_hold(
        scope=LegalHold.Scope.SESSION,
        session_id=situation.head.session_id,
        matter=str(given["matter"]),
        review_at=review,
        actor=situation.actor,
    )
    return Done(_("The session is under legal hold. Its review is due %(date)s.") % {"date": date(held.review_at)})


def _none_to_lift(situation: Situation) -> str:
    if situation.own_holds:
        return ""
    if situation.legal_holds:
        return _("Its legal holds are on more than this session; they are lifted by manage.py legal_hold.")
    return _("It is under no legal hold.")


def _lifting(situation: Situation) -> Iterable[str]:
    yield _("What the retention rules say goes for the session again: what is overdue, the next purge erases.")
    others = len(situation.legal_holds) - 1
    if others:
        told = ngettext("%(number)s other hold stays on it.", "%(number)s other holds stay on it.", others)
        yield told % {"number": others}


def _holds(situation: Situation) -> Fields:
    choices = [
        (
            str(hold.hold_id),
            _("%(matter)s, placed by %(who)s on %(date)s")
            % {
                "matter": clipped(hold.matter, LONGEST_LINE),
                "who": wording.actor_words(hold.placed_by),
                "date": date(hold.placed_at),
            },
        )
        for hold in situation.own_holds
    ]
    return {
        "hold": forms.ChoiceField(label=_("Which"), choices=choices, initial=choices[0][0], widget=forms.RadioSelect),
        **line("reason", _("Why"), _("It is kept for good and never erased: name nobody.")),
    }


def _lift(situation: Situation, given: Given) -> Done:
    services.lift_legal_hold(uuid.UUID(given["hold"]), reason=said(given), actor=situation.actor)
    return Done(_("The legal hold is lifted."))


# Erasing


def _nothing_to_erase(situation: Situation) -> str:
    if closed := not_open(situation):
        return closed
    if situation.head.status is not Status.ENDED:
        return _("It has not ended.")
    if not situation.erasable:
        return _("All of its content was erased.")
    if situation.legal_holds:
        review = max(hold.review_at for hold in situation.legal_holds)
        return _("It is under legal hold; the review is due %(date)s.") % {"date": date(review)}
    return min(situation.erasable.values())  # what is kept sorts after the empty text


def _erasing(situation: Situation) -> Iterable[str]:
    yield _("What is erased is gone: its key is destroyed. The history and the signed artifact stay, without content.")
    after = f"{situation.now + settings.erasure_horizon:%Y-%m-%d}"
    yield _("No backup gives it back after %(date)s.") % {"date": after}
    yield _("A checkout link that is open cannot be paid any more.")
    for name, kept in situation.erasable.items():
        if kept:
            yield f"{_CLASSES[name]}: {kept}"


def _classes(situation: Situation) -> Fields:
    choices = [(name, label) for name, label in _CLASSES.items() if situation.erasable.get(cast(DataClass, name)) == ""]
    return {
        "data_class": forms.ChoiceField(
            label=_("What"), choices=choices, initial=choices[0][0], widget=forms.RadioSelect
        ),
        **line("reason", _("Why"), _("It stands in the history for good: name nobody.")),
    }


def _purge(situation: Situation, given: Given) -> Done:
    services.purge_session(situation.head.session_id, given["data_class"], reason=said(given), actor=situation.actor)
    return Done(_("It is erased."))


# Repair


def _too_long(situation: Situation) -> str:
    """A page checks no longer history than this: it would be read whole whenever somebody opens it."""
    if situation.head.head_seq <= MOST_READ:
        return ""
    command = f"manage.py verify_sessions --repair --session {situation.head.session_id}"
    return _("It is too long to be checked while a page waits. Run: %(command)s") % {"command": command}


def _not_repairable(situation: Situation) -> str:
    report = situation.report
    if report.ok and situation.head.status is not Status.QUARANTINED:
        return _("There is nothing to repair.")
    if report.ok or report.repairable:
        return ""
    return _("The history itself is damaged, and nothing here can make it again. Restore it from a backup.")


def _repairing(situation: Situation) -> Iterable[str]:
    report = situation.report
    read = {"versions": report.versions, "events": report.events}
    if report.ok and situation.head.status is not Status.QUARANTINED:
        yield _("Checked now: %(versions)s versions and %(events)s events, and nothing is wrong.") % read
        return
    if report.ok:
        yield _("Checked now: %(versions)s versions and %(events)s events, and nothing is wrong any more.") % read
        yield _("The session is opened again.")
        return
    for problem in report.problems[:20]:
        yield f"{problem.where}: {problem.message}"
    if report.repairable:
        yield _("All of that is made again from the history, which itself is sound and stays as it is.")
        if situation.head.status is Status.QUARANTINED:
            yield _("If the next check finds nothing wrong, the session is opened again.")


def _repair(situation: Situation, given: Given) -> Done:
    report = services.repair_session(situation.head.session_id, actor=situation.actor, note=said(given))
    if report.ok:
        return Done(_("The session is sound."))
    return Done(_("The session is still damaged. The page for repairs says what is wrong."))


KEEPING: Final = (
    Action(
        "place_legal_hold", "agent_sessions.hold_session_legally", gettext_lazy("Place a legal hold"),
        gettext_lazy("Keep it from being erased"), lambda _situation: "", _placing, _matter, _place, bound=False,
    ),
    Action(
        "lift_legal_hold", "agent_sessions.hold_session_legally", gettext_lazy("Lift a legal hold"),
        gettext_lazy("Let it be erased in its time"), _none_to_lift, _lifting, _holds, _lift, bound=False,
    ),
    Action(
        "repair", "agent_sessions.repair_session", gettext_lazy("Check and repair"),
        gettext_lazy("Make again what is derived from the history; open it again"), _too_long, _repairing,
        lambda situation: reason() if situation.head.data_keys().has_personal else {}, _repair, bound=False,
        found=_not_repairable,
    ),
)  # fmt: skip

PURGE: Final = Action(
    "purge", "agent_sessions.purge_session", gettext_lazy("Erase now"),
    gettext_lazy("What it says of people, or all of its content"), _nothing_to_erase, _erasing, _classes, _purge,
    severe=True,
)  # fmt: skip
