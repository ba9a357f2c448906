"""For whom an agent acts: assertions that the shop makes, and what they are good for (C1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.crypto.assertions import issue_assertion, read_assertion
from agent_sessions.domain.lifecycle import is_expired
from agent_sessions.exceptions import InvalidAssertion, InvalidValue
from agent_sessions.models import SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.services.keys import active_site_key, consumer_pseudonym
from agent_sessions.store import SearchableCustomers
from agent_sessions.store.offer import FIND_CUSTOMER, offer

MAX_TERM: Final = 254
"""Characters of what a customer is looked up by: the longest e-mail address."""


@dataclass(frozen=True, slots=True)
class ConsumerAssertion:
    """What the consumer gives to an agent that is to act for them: a secret. ``expires_at`` is UTC."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KnownConsumer:
    """Whom an assertion speaks for: a pseudonym, and the merchant that vouches for it."""

    consumer: str
    merchant: str


def assert_consumer(reference: str, *, merchant: str = "", lasts: timedelta | None = None) -> ConsumerAssertion:
    """Make an assertion for the consumer whom the shop knows by ``reference``, its own stable id of the customer.

    Call it where the consumer is signed in. It lasts the setting CONSUMER_ASSERTION_TTL unless told otherwise, and dies
    with all session tokens when these are revoked. Raises InvalidValue, KeyProblem.
    """
    lasts = settings.consumer_assertion_ttl if lasts is None else lasts
    if lasts <= timedelta(0):
        raise InvalidValue("/lasts", "Send for how long the assertion is to hold, more than no time.")
    merchant = merchant or settings.merchant
    consumer = consumer_pseudonym(reference, merchant=merchant)
    expires_at = timezone.now() + lasts
    generation = active_site_key(SiteKey.Purpose.TOKEN).pk
    text = issue_assertion(
        settings.key_provider, generation=generation, consumer=consumer, merchant=merchant, expires_at=expires_at
    )
    return ConsumerAssertion(text, expires_at)


def read_consumer(assertion: str) -> KnownConsumer:
    """Return whom an assertion speaks for. A forged one is refused before any query.

    Raises InvalidAssertion, the same for a forged, expired or revoked one; KeyProblem.
    """
    claims = read_assertion(settings.key_provider, assertion)
    if is_expired(timezone.now(), claims.expires_at):
        raise InvalidAssertion
    keys = SiteKey.objects.using(_rows.write_connection().alias)
    if not keys.filter(pk=claims.generation, purpose=SiteKey.Purpose.TOKEN, revoked_at__isnull=True).exists():
        raise InvalidAssertion
    return KnownConsumer(claims.consumer, claims.merchant)


def find_consumer(term: str, *, merchant: str = "") -> str:
    """Return the pseudonym of the customer whom the shop finds by a term, such as an e-mail address; "" for nobody.

    The term goes to the store's ``find_customer`` and nowhere else. Raises InvalidValue if it is empty or too long, or
    if the store has not the feature ``find_customer``; NoStore; KeyProblem.
    """
    term = term.strip()
    if not term or len(term) > MAX_TERM:
        raise InvalidValue("/term", f"Send what the shop knows the customer by, up to {MAX_TERM} characters.")
    if not finds_customers():
        raise InvalidValue("/term", "The store cannot look customers up: it has not the feature find_customer.")
    reference = cast("SearchableCustomers", offer().store).find_customer(term)
    return consumer_pseudonym(reference, merchant=merchant) if reference else ""


def finds_customers() -> bool:
    """Tell whether the site's store has the feature ``find_customer``. Raises NoStore."""
    store = offer().store
    return store is not None and FIND_CUSTOMER in store.features
