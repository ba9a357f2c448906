"""What a session shops with: its cart, what it holds, and the link to pay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions import selectors, services
from agent_sessions.admin.acts.situation import (
    Action,
    Done,
    Fields,
    Given,
    Situation,
    date,
    held_words,
    not_live,
    not_open,
    reason,
    said,
)
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import HandoffClosed, HandoffNotFound
from agent_sessions.models import CheckoutHandoff
from agent_sessions.services.handoffs import link_expires_at
from agent_sessions.signals import checkout_link_resent
from agent_sessions.store import StoreContext

# Holds of the stock


def _nothing_held(situation: Situation) -> str:
    return not_live(situation) or ("" if situation.held else _("Nothing is held for it."))


def _releasing(situation: Situation) -> Iterable[str]:
    yield _("Others can have it at once: %(held)s.") % {"held": held_words(situation)}
    yield _("The cart stays as it is, and the agent can ask for a hold again.")


def _release(situation: Situation, given: Given) -> Done:
    released = services.release_holds(
        situation.head.session_id,
        expected_version=situation.head.version,
        actor=situation.actor,
        note=said(given),
    )
    told = ngettext("%(number)s hold was released.", "%(number)s holds were released.", released.holds)
    return Done(told % {"number": released.holds})


# Rolling back


def _cannot_go_back(situation: Situation) -> str:
    head = situation.head
    if over := not_live(situation):
        return over
    if head.status is Status.PAUSED:
        return _("It is paused; nothing changes it until it is resumed.")
    if not situation.to:
        return _("No version of it was committed.")
    if situation.to >= head.version:
        return _("Version %(version)s is committed, and nothing came after it.") % {"version": head.version}
    if not selectors.was_committed(head, situation.to):
        return _("Version %(version)s was never committed.") % {"version": situation.to}
    return ""


def _going_back(situation: Situation) -> Iterable[str]:
    yield _("The cart becomes that of version %(to)s again, as version %(next)s, at today’s prices.") % {
        "to": situation.to,
        "next": situation.head.version + 1,
    }
    yield _("What was decided, paid and said stays, and so does the history. An approval of another cart is void.")


def _to(situation: Situation) -> Fields:
    return {"to": forms.IntegerField(widget=forms.HiddenInput, initial=situation.to), **reason()}


def _roll_back(situation: Situation, given: Given) -> Done:
    # Without the request: the store is not to take whoever is signed in to the admin for the customer.
    made = services.rollback_session(
        situation.head.session_id,
        ctx=StoreContext(consumer=situation.head.consumer),
        to_version=situation.to,
        expected_version=situation.head.version,
        actor=situation.actor,
        note=said(given),
    )
    return Done(_("Version %(version)s has the cart of version %(to)s.") % {"version": made.version, "to": made.to})


# The checkout link


def _no_link(situation: Situation) -> str:
    if closed := not_open(situation):
        return closed
    try:
        situation.handoff  # noqa: B018 - asks for it
    except HandoffNotFound:
        return _("Nothing was handed to a person to pay.")
    except HandoffClosed as over:
        if over.order_ref:
            return _("It is ordered: %(order)s.") % {"order": clipped(over.order_ref, 100)}
        return _("Its checkout is over and cannot be paid any more.")
    return "" if situation.head.data_keys().has_content else _("Its content was erased.")


def _resending(situation: Situation) -> Iterable[str]:
    until = link_expires_at(situation.head, situation.now)
    yield _("A new link opens the cart of version %(version)s, until %(until)s. The one before it stops working.") % {
        "version": situation.handoff.version,
        "until": date(until),
    }
    if checkout_link_resent.has_listeners(CheckoutHandoff):
        yield _("The shop sends it to the customer; you do not see it.")
    else:
        yield _("You see it once, on the next page. Give it to nobody but the customer: whoever has it can pay.")


def _resend(situation: Situation, given: Given) -> Done:
    made = services.resend_handoff(
        situation.head.session_id,
        expected_version=situation.head.version,
        actor=situation.actor,
        note=said(given),
        absolute=situation.request.build_absolute_uri,
    )
    until = date(made.expires_at)
    if made.told and not made.failed:
        return Done(_("The shop was given the new link to send. It is good until %(until)s.") % {"until": until})
    if made.failed:
        told = _("The shop could not send the new link, so here it is. It is good until %(until)s.")
    else:
        told = _("Here is the new link, this once. It is good until %(until)s.")
    return Done(told % {"until": until}, link=made.url)


SHOPPING: Final = (
    Action(
        "resend_link", "agent_sessions.resend_handoff", gettext_lazy("Resend the checkout link"),
        gettext_lazy("For a customer who has lost it or came too late"), _no_link, _resending,
        lambda _situation: reason(), _resend,
    ),
    Action(
        "roll_back", "agent_sessions.rollback_session", gettext_lazy("Roll back"),
        gettext_lazy("To the cart of a committed version"), _cannot_go_back, _going_back, _to, _roll_back,
    ),
    Action(
        "release_holds", "agent_sessions.release_session_holds", gettext_lazy("Release holds"),
        gettext_lazy("Give what it holds of the stock to others"), _nothing_held, _releasing,
        lambda _situation: reason(), _release,
    ),
)  # fmt: skip
