"""Who has a session: answering what it asks, taking it over, handing it back, ending it; and notes on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions import services
from agent_sessions.admin import wording
from agent_sessions.admin.acts.situation import (
    Action,
    Done,
    Given,
    Situation,
    held_words,
    not_live,
    not_open,
    reason,
    said,
)
from agent_sessions.domain.lifecycle import EndReason, Status

# Approvals


def _nobody_waits(situation: Situation) -> str:
    return not_live(situation) or ("" if situation.approval else _("No approval waits for an answer."))


def _approval_url(situation: Situation) -> str:
    return situation.page.url("approval", situation.approval)


# Taking over and handing back


def _has_it_already(situation: Situation) -> str:
    mine = situation.head.held_by == str(situation.actor)
    return not_live(situation) or (_("You have it already.") if mine else "")


def _taking_over(situation: Situation) -> Iterable[str]:
    if situation.head.held_by:
        yield _("It is with %(who)s now, and passes to you.") % {"who": wording.actor_words(situation.head.held_by)}
    yield _("Its agent can read, talk and wait. What it wants to change is refused, until you hand the session back.")
    yield _("A permission for another agent to go on with it is withdrawn. The deadline goes on.")
    yield _("This holds whatever the agent has changed by then.")


def _take_over(situation: Situation, given: Given) -> Done:
    services.hand_over(situation.head.session_id, to=situation.actor, actor=situation.actor, note=said(given))
    return Done(_("You have the session. Hand it back when you are done."))


def _agent_has_it(situation: Situation) -> str:
    return not_live(situation) or ("" if situation.head.held_by else _("No person has it."))


def _handing_back(situation: Situation) -> Iterable[str]:
    yield _("Its agent goes on with version %(version)s, as it is.") % {"version": situation.head.version}
    if situation.head.status is Status.PAUSED:
        yield _("The session stays paused until it is resumed.")


def _hand_back(situation: Situation, given: Given) -> Done:
    version = situation.head.version
    services.take_back(situation.head.session_id, actor=situation.actor, note=said(given), expected_version=version)
    return Done(_("The agent has the session again."))


# Notes


def _no_words(situation: Situation) -> str:
    if closed := not_open(situation):
        return closed
    return "" if situation.head.data_keys().has_personal else _("What it says of people was erased; it takes no words.")


def _noting(_situation: Situation) -> Iterable[str]:
    yield _("The note stands in the timeline, for people who may read what was said. Nobody can change it.")


def _note(situation: Situation, given: Given) -> Done:
    services.add_note(
        situation.head.session_id, note=said(given), actor=situation.actor, about_version=situation.head.version
    )
    return Done(_("The note is in the timeline."))


# Ending


def _ending(situation: Situation) -> Iterable[str]:
    yield _("The agent’s token is worthless from then on, and nothing changes the session any more. It stays readable.")
    if situation.held:
        yield _("What is held for it is released: %(held)s.") % {"held": held_words(situation)}
    if situation.approval:
        yield _("The approval that waits is closed without an answer.")
    yield _("A checkout link that is open cannot be paid any more.")
    yield _("Its history is signed. This cannot be taken back.")


def _end(situation: Situation, given: Given) -> Done:
    services.end_session(
        situation.head.session_id,
        reason=EndReason.REVOKED,
        expected_version=situation.head.version,
        actor=situation.actor,
        note=said(given),
    )
    return Done(_("The session has ended."))


CONTROL: Final = (
    Action(
        "approval", "agent_sessions.decide_approval", gettext_lazy("Answer the approval"),
        gettext_lazy("Grant it, reject it, or leave it to staff only"), _nobody_waits, place=_approval_url,
    ),
    Action(
        "take_over", "agent_sessions.take_over_session", gettext_lazy("Take over"),
        gettext_lazy("Keep the agent from changing anything"), _has_it_already, _taking_over,
        lambda _situation: reason(), _take_over, bound=False,
    ),
    Action(
        "hand_back", "agent_sessions.take_over_session", gettext_lazy("Hand back"),
        gettext_lazy("Let the agent go on"), _agent_has_it, _handing_back,
        lambda _situation: reason(gettext_lazy("What the next one has to know"), required=False), _hand_back,
    ),
    Action(
        "note", "agent_sessions.note_session", gettext_lazy("Leave a note"),
        gettext_lazy("For whoever looks at it next"), _no_words, _noting,
        lambda _situation: reason(gettext_lazy("Note")), _note, bound=False,
    ),
)  # fmt: skip

END: Final = Action(
    "end", "agent_sessions.end_session", gettext_lazy("End the session"),
    gettext_lazy("For good, and its token with it"), not_live, _ending,
    lambda _situation: reason(), _end, severe=True,
)  # fmt: skip
