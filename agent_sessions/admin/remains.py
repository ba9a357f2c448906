"""Of a session of which something was erased: what is gone and why, what is left, until when, and what holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions import selectors
from agent_sessions.admin import wording
from agent_sessions.domain.retention import DataClass
from agent_sessions.domain.text import clipped
from agent_sessions.models import Session
from agent_sessions.selectors import ErasedNote, HoldView, Latest, SessionHead

_CLASSES: Final[tuple[tuple[DataClass, Promise], ...]] = (
    ("personal", gettext_lazy("What it said of people")),
    ("content", gettext_lazy("Goods, prices and decisions")),
)
_BECAUSE: Final[Mapping[str, Promise]] = {
    "retention": gettext_lazy("its time was over"),
    "erasure": gettext_lazy("a person asked for it"),
}


@dataclass(frozen=True, slots=True)
class Remains:
    """A part of a session: whether it is gone, is kept for a time or for good, and ``why``, a sentence each."""

    name: str
    standing: SafeString
    why: tuple[SafeString | str, ...]


def remains_of(session: Session, head: SessionHead, erased: Mapping[DataClass, ErasedNote]) -> list[Remains]:
    """Return what became of each part of a session; nothing, and without a query, of one that is whole."""
    if not erased:
        return []
    latest = selectors.latest_erasure(session)
    parts = [
        _gone(str(name), erased[data_class]) if data_class in erased else _left(str(name), latest.get(data_class))
        for data_class, name in _CLASSES
    ]
    return [*parts, _held(selectors.holds_on(head.session_id), "content" in erased), _for_good(head)]


def _gone(name: str, note: ErasedNote) -> Remains:
    mark = wording.mark(wording.WARNING, _("erased"))
    if note.at is None:
        return Remains(name, mark, (_("Its history does not say when or why."),))
    because = _BECAUSE.get(note.because)
    why: list[SafeString | str] = [
        format_html(_("{}, under the rule <strong>{}</strong>{}."), wording.moment(note.at), clipped(note.rule),
                    f": {because}" if because else ""),
    ]  # fmt: skip
    if note.basis:
        why.append(_("It rests on %(basis)s.") % {"basis": clipped(note.basis, 200)})
    if note.unrecoverable_after:
        why.append(_("No backup gives it back after %(day)s.") % {"day": clipped(note.unrecoverable_after)})
    return Remains(name, mark, tuple(why))


def _left(name: str, latest: Latest | None) -> Remains:
    mark = wording.mark(wording.GOOD, _("kept"))
    if latest is None:
        return Remains(name, mark, (_("No rule says when it is erased."),))
    rule = latest.rule
    until = format_html(
        _("Until {}, under the rule <strong>{}</strong>."), wording.moment(latest.at), clipped(rule.name)
    )
    return Remains(name, mark, (until, _("It rests on %(basis)s.") % {"basis": clipped(rule.basis, 200)}))


def _held(holds: list[HoldView], nothing_left: bool) -> Remains:
    name = _("Legal holds")
    if not holds:
        return Remains(name, wording.mark(wording.PLAIN, _("none")), ())
    told = [
        format_html(
            _("{}, placed {} by {}, to be reviewed {}."), clipped(one.matter, 200), wording.moment(one.placed_at),
            wording.actor_words(one.placed_by), wording.moment(one.review_at),
        )
        for one in holds
    ]  # fmt: skip
    if not nothing_left:
        told.append(format_html("{}", _("What is left is not erased before all of them are lifted.")))
    return Remains(name, wording.mark(wording.WARNING, _("in force")), tuple(told))


def _for_good(head: SessionHead) -> Remains:
    events = ngettext("%(count)s event", "%(count)s events", head.head_seq) % {"count": head.head_seq}
    said = _(
        "The chain of %(events)s (who did what, when and by which rule), the signed record, and the order’s number. "
        "They prove what happened and say nothing of anybody."
    )
    return Remains(_("Chain and record"), wording.mark(wording.GOOD, _("kept for good")), (said % {"events": events},))
