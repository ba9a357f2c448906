"""What a session's page says of it as a whole: nothing here is sealed, nothing here is secret."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agent_sessions.admin import wording
from agent_sessions.audit.events import ENDED
from agent_sessions.domain.identity import Scope
from agent_sessions.domain.lifecycle import LIVE, EndReason
from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AgentSessionsError, SessionDamaged
from agent_sessions.models import Session
from agent_sessions.selectors import SessionHead
from agent_sessions.selectors.actors import last_of_kind
from agent_sessions.selectors.admin_lists import HandedOver


@dataclass(frozen=True, slots=True)
class Fact:
    """``query`` narrows the list to sessions that share it."""

    name: str
    value: SafeString | str
    note: str = ""
    query: str = ""


def facts_of(session: Session, head: SessionHead) -> list[Fact]:
    """Return what is known of the session, in the order in which people ask for it; what is not known is left out."""
    order: str | None = getattr(session, "order_ref", None)
    verified = _("signature checked") if session.agent_key else _("as it calls itself; no signature")
    facts = [
        Fact(_("Session id"), format_html('<code class="ags-whole">{}</code>', session.pk)),
        Fact(_("Order"), format_html('<code class="ags-whole">{}</code>', clipped(order, 100))) if order else None,
        Fact(_("Agent"), wording.agent_words(session.agent_name, session.agent_version), verified),
        Fact(_("Operator"), clipped(session.agent_operator, 200)) if session.agent_operator else None,
        Fact(_("Agent’s key"), format_html("<code>{}</code>", clipped(session.agent_key, 200)))
        if session.agent_key
        else None,
        _shared(_("Shopper"), "consumer", session.consumer, _("a pseudonym; this site keeps no name here")),
        _shared(_("Merchant"), "merchant", session.merchant, ""),
        _shared(_("Parent request"), "parent_request", session.parent_request, ""),
        Fact(_("Kind"), clipped(session.kind)),
        Fact(_("Opened"), wording.moment(session.created_at)),
        Fact(_("Last event"), wording.moment(head.updated_at)),
        _end(session),
        Fact(_("Paused"), wording.moment(session.paused_at)) if session.paused_at else None,
        Fact(_("With"), wording.actor_words(session.held_by), _("the agent waits until they give it back"))
        if session.held_by
        else None,
        _came_from(session),
        Fact(_("Quarantined"), wording.moment(session.quarantined_at)) if session.quarantined_at else None,
        Fact(_("Artifact signed"), wording.moment(session.sealed_at)) if session.sealed_at else None,
        *_scope(head),
        Fact(_("Length"), _length(head)),
    ]  # fmt: skip
    return [fact for fact in facts if fact is not None]


def _length(head: SessionHead) -> str:
    versions = ngettext("{number} version", "{number} versions", head.version).format(number=head.version)
    events = ngettext("{number} event", "{number} events", head.head_seq).format(number=head.head_seq)
    return f"{versions}, {events}"


def links_of(handed: list[HandedOver]) -> list[dict[str, object]]:
    """Describe checkout links: when, from which version, and what became of them."""
    return [
        {
            "version": link.version,
            "made": wording.moment(link.created_at),
            "opened": None if link.opened_at is None else wording.moment(link.opened_at),
            "outcome": _outcome(link),
        }
        for link in handed
    ]


def _outcome(link: HandedOver) -> SafeString:
    if link.ordered_at is not None:
        ordered = format_html(" {} {}", clipped(link.order_ref, 100), wording.moment(link.ordered_at))
        return format_html("{}{}", wording.mark(wording.GOOD, _("ordered")), ordered)
    if link.replaced_at is not None:
        return wording.mark(wording.PLAIN, _("replaced by a newer link"))
    if link.expires_at <= timezone.now():
        return wording.mark(wording.PLAIN, _("ran out"))
    return format_html(_("{} until {}"), wording.mark(wording.GOOD, _("open")), wording.moment(link.expires_at))


def _came_from(session: Session) -> Fact | None:
    if session.parent is None:
        return None
    return Fact(
        str(wording.CAME_FROM[session.origin]),
        _page_of(session.parent),
        _("from version {number}").format(number=session.parent_version),
    )


def _page_of(session_id: uuid.UUID) -> SafeString:
    """Link another session's overview from this one's."""
    short = wording.short_id(session_id)
    return format_html('<a href="../{}/"><code title="{}">{}</code></a>', session_id, session_id, short)


def _shared(name: str, parameter: str, value: str, note: str) -> Fact | None:
    if not value:
        return None
    return Fact(name, clipped(value, 200), note, "?" + urlencode({parameter: value}))


def _end(session: Session) -> Fact:
    if session.ended_at is not None:
        return Fact(_("Ended"), wording.moment(session.ended_at), _ended_words(session))
    left = session.expires_at - timezone.now()
    if session.status not in LIVE:
        return Fact(_("Deadline"), wording.moment(session.expires_at))
    note = (
        _("{time} left").format(time=wording.span(left))
        if left.total_seconds() > 0
        else _("has passed; the next clean-up ends it")
    )
    return Fact(_("Deadline"), wording.moment(session.expires_at), note)


def _ended_words(session: Session) -> str:
    """Say how it ended; of one that the shop has ended who of the staff did, if somebody did."""
    if session.end_reason == EndReason.REVOKED:
        with suppress(SessionDamaged):
            actor = last_of_kind(session.pk, ENDED).actor
            if actor.is_person:
                return _("ended by {who}").format(who=wording.actor_words(str(actor)))
    return wording.end_reason_words(session.end_reason)


def _scope(head: SessionHead) -> list[Fact | None]:
    """How far the shopper lets the agent go; a scope that cannot be read says so."""
    try:
        scope = head.scope
    except (AgentSessionsError, ValueError, TypeError, KeyError, AttributeError):
        return [Fact(_("Scope"), _("cannot be read"))]
    if scope == Scope():
        return []
    return [
        Fact(_("May use"), ", ".join(clipped(name) for name in scope.capabilities)) if scope.capabilities else None,
        Fact(_("May spend"), _("{amount} at most").format(amount=format_money(scope.spend_cap, scope.currency)))
        if scope.spend_cap is not None
        else None,
        Fact(_("Authority ends"), wording.moment(scope.expires_at)) if scope.expires_at is not None else None,
    ]
