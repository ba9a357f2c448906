"""Consumers are named by pseudonyms that tell nothing by themselves (S3)."""

from __future__ import annotations

import re

import pytest

from agent_sessions import services
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import SiteKey
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

CUSTOMER = "customer-4711@example.com"


def test_same_customer_has_the_same_pseudonym_every_time() -> None:
    assert services.consumer_pseudonym(CUSTOMER) == services.consumer_pseudonym(CUSTOMER)


def test_customers_and_merchants_have_different_ones() -> None:
    names = {
        services.consumer_pseudonym(reference, merchant=merchant)
        for reference in (CUSTOMER, "customer-4712@example.com")
        for merchant in ("mugs", "plates")
    }

    assert len(names) == 4


def test_merchant_defaults_to_the_setting() -> None:
    assert services.consumer_pseudonym(CUSTOMER) == services.consumer_pseudonym(CUSTOMER, merchant="default")


def test_it_depends_on_a_key_of_this_site() -> None:
    """A plain hash of a customer number could be looked up by trying them all."""
    before = services.consumer_pseudonym(CUSTOMER)
    SiteKey.objects.filter(purpose="consumer").delete()

    assert services.consumer_pseudonym(CUSTOMER) != before


def test_neither_it_nor_the_database_holds_the_reference() -> None:
    name = services.consumer_pseudonym(CUSTOMER)

    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", name)
    assert not is_stored(CUSTOMER)


@pytest.mark.parametrize("reference", ["", None, 4711])
def test_a_reference_that_is_no_text_is_refused(reference: object) -> None:
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.consumer_pseudonym(reference)

    assert refusal.value.path == "/reference"
    assert everything_stored() == before


def test_a_caller_has_one_pseudonym_and_no_consumer_shares_it() -> None:
    name = services.caller_pseudonym("192.0.2.1")

    assert name == services.caller_pseudonym("192.0.2.1") != services.caller_pseudonym("192.0.2.2")
    assert name != services.consumer_pseudonym("192.0.2.1")
    assert "192" not in name
