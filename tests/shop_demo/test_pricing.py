"""What a cart costs: lines, vouchers, shipping, tax, and the words for what cannot be bought."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions.store import CartLine, Quote, StoreAdapter, StoreContext
from shop_demo.models import Variant
from shop_demo.store import DemoStore
from tests.shop_demo.factories import ProductFactory, VariantFactory, VoucherFactory

pytestmark = pytest.mark.django_db
STORE = DemoStore()
ANYONE = StoreContext()


def quote(*wanted: tuple[str, int], codes: tuple[str, ...] = ()) -> Quote:
    lines = [CartLine(f"l{number}", sku, quantity) for number, (sku, quantity) in enumerate(wanted)]
    return STORE.price(lines, codes, ctx=ANYONE)


def problems(found: Quote) -> list[tuple[str, str]]:
    return [(problem.code, problem.message) for problem in found.problems]


def test_the_shop_is_a_store_for_agents() -> None:
    assert isinstance(STORE, StoreAdapter)


def test_goods_shipping_and_the_tax_in_them_add_up(tea: Variant) -> None:
    found = quote(("TEA", 2))

    assert (found.subtotal, found.shipping, found.total, found.tax) == (2900, 490, 3390, 565)
    assert found.tax_included


@pytest.mark.parametrize(("price", "shipping"), [(4999, 490), (5000, 0), (5001, 0)])
def test_shipping_is_free_from_fifty_euros_on(price: int, shipping: int) -> None:
    VariantFactory(sku="POT", price_minor=price)

    assert quote(("POT", 1)).shipping == shipping


def test_free_shipping_counts_what_is_left_after_vouchers() -> None:
    VariantFactory(sku="POT", price_minor=5100)
    VoucherFactory(code="FIVE", percent=None, amount_minor=500)

    found = quote(("POT", 1), codes=("FIVE",))

    assert (found.shipping, found.total) == (490, 5090)


@pytest.mark.parametrize(
    ("price", "percent", "off"),
    [(1000, 10, 100), (995, 10, 100), (994, 10, 99), (5, 10, 1), (4, 10, 0), (333, 33, 110), (150, 1, 2)],
)
def test_percentages_are_rounded_to_cents_halves_up(price: int, percent: int, off: int) -> None:
    VariantFactory(sku="POT", price_minor=price)
    VoucherFactory(code="OFF", percent=percent)

    assert [one.amount for one in quote(("POT", 1), codes=("OFF",)).discounts] == [-off]


def test_vouchers_never_take_more_than_the_goods_cost() -> None:
    VariantFactory(sku="POT", price_minor=600)
    VoucherFactory(code="A", percent=None, amount_minor=500)
    VoucherFactory(code="B", percent=None, amount_minor=500)

    found = quote(("POT", 1), codes=("B", "A"))

    assert [(one.code, one.amount) for one in found.discounts] == [("A", -500), ("B", -100)]
    assert found.total == 490


def test_an_empty_cart_costs_nothing() -> None:
    assert quote().total == 0


def test_a_voucher_holds_from_its_minimum_on(tea: Variant) -> None:
    VoucherFactory(code="BIG", minimum_minor=2900)

    assert problems(quote(("TEA", 1), codes=("BIG",))) == [
        ("invalid_voucher", "The voucher BIG holds from goods worth 29.00 EUR on.")
    ]
    assert quote(("TEA", 2), codes=("BIG",)).problems == []


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC), "The voucher JUNE is not valid yet."),
        (datetime(2026, 6, 1, tzinfo=UTC), None),
        (datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), None),
        (datetime(2026, 7, 1, tzinfo=UTC), "The voucher JUNE has expired."),
    ],
)
def test_a_voucher_holds_in_its_time(tea: Variant, clock: Any, at: datetime, problem: str | None) -> None:
    VoucherFactory(
        code="JUNE", valid_from=datetime(2026, 6, 1, tzinfo=UTC), valid_until=datetime(2026, 7, 1, tzinfo=UTC)
    )
    clock.move_to(at)

    assert [message for _, message in problems(quote(("TEA", 1), codes=("JUNE",)))] == ([problem] if problem else [])


def test_a_voucher_may_be_typed_in_any_case_and_counts_once(tea: Variant) -> None:
    VoucherFactory(code="TENTH")

    assert [one.amount for one in quote(("TEA", 2), codes=("tenth",)).discounts] == [-290]


def test_an_unknown_voucher_is_told(tea: Variant) -> None:
    found = quote(("TEA", 1), codes=("NOPE",))

    assert problems(found) == [("invalid_voucher", "There is no such voucher.")]
    assert found.problems[0].voucher == "NOPE"


def test_what_cannot_be_sold_is_left_out_and_told(tea: Variant) -> None:
    VariantFactory(sku="GONE", product__title="Old pot", product__for_sale=False)
    VariantFactory(sku="OUT", product__title="Rare pot", stock=0)

    found = quote(("TEA", 6), ("GONE", 1), ("OUT", 1), ("NOPE", 1))

    assert problems(found) == [
        ("out_of_stock", "Only 5 of Sencha left; you asked for 6."),
        ("not_for_sale", "Old pot is not sold any more."),
        ("out_of_stock", "Rare pot is sold out."),
        ("unknown_item", "The shop has no such item."),
    ]
    assert [(one.line, one.available) for one in found.problems] == [("l0", 5), ("l1", None), ("l2", 0), ("l3", None)]
    assert (found.lines, found.total) == ([], 0)


def test_two_lines_of_one_item_share_its_stock(tea: Variant) -> None:
    found = quote(("TEA", 3), ("TEA", 3))

    assert [line.id for line in found.lines] == ["l0"]
    assert found.problems[0].available == 2


def test_a_product_with_variants_names_them() -> None:
    product = ProductFactory(slug="mug", title="Mug")
    VariantFactory(product=product, sku="MUG-A", options={"glaze": "sand"}, position=1)
    VariantFactory(product=product, sku="MUG-B", options={"glaze": "sea"}, position=2)

    assert problems(quote(("mug", 1))) == [
        ("not_for_sale", "Mug is bought as one of its variants: MUG-A (sand), MUG-B (sea).")
    ]


def test_pricing_takes_three_queries_at_most(django_assert_max_num_queries: Any) -> None:
    wanted = [(VariantFactory().sku, 1) for _ in range(25)]
    VoucherFactory(code="A")
    VoucherFactory(code="B", valid_until=timezone.now() - timedelta(days=1))

    with django_assert_max_num_queries(3):
        found = quote(*wanted, codes=("A", "B"))

    assert len(found.lines) == 25
