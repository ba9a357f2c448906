"""What the shop's people change is reported to the sessions that depend on it (X2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from agent_sessions import services
from agent_sessions.models import StoreChange
from shop_demo.models import Variant, Voucher
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import ShoppingAgent
from tests.shop_demo.signals import reporting

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports(tea: Variant, voucher: Voucher) -> Iterator[None]:
    """The shop is connected, with its goods already there."""
    with reporting():
        yield


def reported() -> list[tuple[str, str]]:
    return list(StoreChange.objects.order_by("id").values_list("ref", "what"))


def test_each_change_says_what_it_is(tea: Variant, voucher: Voucher) -> None:
    tea.save()
    tea.save(update_fields=["price_minor"])
    tea.save(update_fields=["stock"])
    tea.save(update_fields=["position"])
    tea.product.save()
    voucher.save()
    voucher.delete()
    tea.delete()
    assert reported() == [
        ("item:TEA", "price or stock"),
        ("item:TEA", "price"),
        ("item:TEA", "stock"),
        ("item:TEA", "product"),
        ("voucher:TENTH", "terms"),
        ("voucher:TENTH", "withdrawn"),
        ("item:TEA", "withdrawn"),
    ]


def test_what_is_new_concerns_nobody() -> None:
    VariantFactory(sku="POT")
    assert reported() == []


def test_a_change_that_rolls_back_was_not_reported(tea: Variant) -> None:
    with transaction.atomic():
        tea.save()
        transaction.set_rollback(True)
    assert reported() == []


def test_an_agent_hears_of_a_price_and_checks_out_at_the_new_one(tea: Variant, agent: ShoppingAgent) -> None:
    """X2"""
    tea.price_minor = 1600
    tea.save()
    services.mark_stale()

    refused = agent.answer("POST", "/checkout").json()
    assert refused["code"] == "stale_cart"
    told = agent.send("POST", "/session/revalidate")
    assert "Sencha: price 14.50 → 16.00 EUR" in [change["text"] for change in told["changes"]]
    assert agent.send("POST", "/checkout")["cart"]["total"] == "36.90"


def test_what_no_signal_tells_is_found_at_checkout(agent: ShoppingAgent) -> None:
    """X2: signals are hints."""
    Variant.objects.update(price_minor=1600)
    services.mark_stale()
    answer: Any = agent.send("POST", "/checkout")
    assert answer["cart"]["total"] == "36.90"
    assert "Sencha: price 14.50 → 16.00 EUR" in answer["changes"]
