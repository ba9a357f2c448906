"""What a session's page says of it as a whole, from its row alone: nothing here is sealed, nothing here is secret."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agent_sessions.admin import wording
from agent_sessions.domain.identity import Scope
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.models import Session
from agent_sessions.selectors import SessionHead
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
    verified = "signature checked" if session.agent_key else "as it calls itself; no signature"
    facts = [
        Fact("Session id", format_html('<code class="ags-whole">{}</code>', session.pk)),
        Fact("Order", format_html('<code class="ags-whole">{}</code>', clipped(order, 100))) if order else None,
        Fact("Agent", wording.agent_words(session.agent_name, session.agent_version), verified),
        Fact("Operator", clipped(session.agent_operator, 200)) if session.agent_operator else None,
        Fact("Agent’s key", format_html("<code>{}</code>", clipped(session.agent_key, 200)))
        if session.agent_key
        else None,
        _shared("Shopper", "consumer", session.consumer, "a pseudonym; this site keeps no name here"),
        _shared("Merchant", "merchant", session.merchant, ""),
        _shared("Parent request", "parent_request", session.parent_request, ""),
        Fact("Kind", clipped(session.kind)),
        Fact("Opened", wording.moment(session.created_at)),
        Fact("Last event", wording.moment(head.updated_at)),
        _end(session),
        Fact("Paused", wording.moment(session.paused_at)) if session.paused_at else None,
        Fact("With", wording.actor_words(session.held_by), "the agent waits until they give it back")
        if session.held_by
        else None,
        _came_from(session),
        Fact("Quarantined", wording.moment(session.quarantined_at)) if session.quarantined_at else None,
        Fact("Artifact signed", wording.moment(session.sealed_at)) if session.sealed_at else None,
        *_scope(head),
        Fact("Length", f"{head.version} version{'s'[: head.version != 1]}, {head.head_seq} event"
             f"{'s'[: head.head_seq != 1]}"),
    ]  # fmt: skip
    return [fact for fact in facts if fact is not None]


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
        return format_html("{}{}", wording.mark(wording.GOOD, "ordered"), ordered)
    if link.replaced_at is not None:
        return wording.mark(wording.PLAIN, "replaced by a newer link")
    if link.expires_at <= timezone.now():
        return wording.mark(wording.PLAIN, "ran out")
    return format_html("{} until {}", wording.mark(wording.GOOD, "open"), wording.moment(link.expires_at))


def _came_from(session: Session) -> Fact | None:
    if session.parent is None:
        return None
    return Fact(wording.CAME_FROM[session.origin], _page_of(session.parent), f"from version {session.parent_version}")


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
        return Fact("Ended", wording.moment(session.ended_at), wording.end_reason_words(session.end_reason))
    left = session.expires_at - timezone.now()
    if session.status not in LIVE:
        return Fact("Deadline", wording.moment(session.expires_at))
    note = f"{wording.span(left)} left" if left.total_seconds() > 0 else "has passed; the next clean-up ends it"
    return Fact("Deadline", wording.moment(session.expires_at), note)


def _scope(head: SessionHead) -> list[Fact | None]:
    """How far the shopper lets the agent go; a scope that cannot be read says so."""
    try:
        scope = head.scope
    except (AgentSessionsError, ValueError, TypeError, KeyError, AttributeError):
        return [Fact("Scope", "cannot be read")]
    if scope == Scope():
        return []
    return [
        Fact("May use", ", ".join(clipped(name) for name in scope.capabilities)) if scope.capabilities else None,
        Fact("May spend", f"{format_money(scope.spend_cap, scope.currency)} at most")
        if scope.spend_cap is not None
        else None,
        Fact("Authority ends", wording.moment(scope.expires_at)) if scope.expires_at is not None else None,
    ]
