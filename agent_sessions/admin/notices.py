"""What the reader of a session has to know first: what is wrong with it, and what of it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions.admin import wording
from agent_sessions.exceptions import (
    AgentSessionsError,
    ArtifactNotReady,
    ContentErased,
    KeyProblem,
    SchemaUnknown,
    SessionDamaged,
    SessionQuarantined,
    VersionNotFound,
)
from agent_sessions.selectors import ErasedNote

_ERASED: Final = {
    "content": (
        gettext_lazy("The content of this session was erased"),
        gettext_lazy("Its events and its artifact remain; they hold no content."),
    ),
    "personal": (
        gettext_lazy("What this session said of people was erased"),
        gettext_lazy("Gone are the words of people and agents and what was known of the customer."),
    ),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the whole session; ``remains`` is where it says what is left, if something was erased."""

    title: str
    text: str
    tone: str
    remains: str = ""


def erased_notice(note: ErasedNote, remains: str) -> Notice:
    what, rest = _ERASED[note.data_class]
    text = f"{note.text[:1].upper()}{note.text[1:]}. {rest}"
    if note.unrecoverable_after:
        text += " " + _("No backup gives it back after {time}.").format(time=note.unrecoverable_after)
    return Notice(str(what), text, wording.WARNING, remains)


def notice_of(error: Exception) -> Notice:
    """Say what kept something from being shown."""
    text = error.message if isinstance(error, AgentSessionsError) else _("Run `manage.py verify_sessions` on it.")
    titles: Sequence[tuple[type[Exception], str, str]] = (
        (SessionQuarantined, _("This session is quarantined"), wording.BAD),
        (ContentErased, _("The content of this session was erased"), wording.WARNING),
        (SessionDamaged, _("This session is damaged"), wording.BAD),
        (SchemaUnknown, _("This installation is too old for this session"), wording.WARNING),
        (KeyProblem, _("The content cannot be opened now"), wording.WARNING),
        (ArtifactNotReady, _("There is no artifact yet"), wording.PLAIN),
        (VersionNotFound, _("There is no such version"), wording.PLAIN),
    )
    for kind, title, tone in titles:
        if isinstance(error, kind):
            return Notice(title, text, tone)
    return Notice(_("Part of this session cannot be read"), text, wording.BAD)
