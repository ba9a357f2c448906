"""Customers with an account: as whom agents know them, and what of a session is theirs."""

from __future__ import annotations

import uuid

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.http import Http404, HttpRequest

from agent_sessions import selectors, services
from agent_sessions.conf import settings
from agent_sessions.exceptions import SessionNotFound
from agent_sessions.selectors import SessionHead
from agent_sessions.services import KnownConsumer


def reference_of(request: HttpRequest) -> str:
    """Return the shop's own id of the customer who is signed in, "" if nobody is: what pseudonyms are made of."""
    return _reference(request.user.pk) if request.user.is_authenticated else ""


def reference_by(term: str) -> str:
    """Return the shop's own id of the customer with this e-mail address or user name; "" for nobody, or for several."""
    found = get_user_model().objects.filter(Q(email__iexact=term) | Q(username__iexact=term), is_active=True)[:2]
    return _reference(found[0].pk) if len(found) == 1 else ""


def consumer_of(request: HttpRequest) -> KnownConsumer:
    """Return who is signed in, as sessions name them: a pseudonym, from which nobody finds the account."""
    merchant = settings.merchant
    return KnownConsumer(services.consumer_pseudonym(reference_of(request), merchant=merchant), merchant)


def own_session(request: HttpRequest, session_id: uuid.UUID) -> SessionHead:
    """Return a session of the customer who is signed in. Raises Http404 for anybody else's, as if it were not there."""
    try:
        head = selectors.read_head(session_id)
    except SessionNotFound:
        raise Http404 from None
    if KnownConsumer(head.consumer, head.merchant) != consumer_of(request):
        raise Http404
    return head


def _reference(user: object) -> str:
    return f"customer-{user}"
