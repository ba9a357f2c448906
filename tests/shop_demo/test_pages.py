"""The storefront: what its pages show, and what every page keeps."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from shop_demo.models import Order, Payment, Product, Variant
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import Human

pytestmark = pytest.mark.django_db


@pytest.fixture
def stocked(db: None) -> None:
    call_command("seed_shop", verbosity=0, stdout=StringIO())


def text(client: Any, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return str(answer.content.decode())


PAGES = ["/", "/c/green-tea", "/p/everyday-mug", "/search?q=tea", "/search", "/agents"]


@pytest.mark.parametrize("path", [*PAGES, "/checkout/agent", "/nowhere"])
def test_pages_are_clean_under_a_strict_policy(client: Any, stocked: None, path: str) -> None:
    answer = client.get(path)
    page = answer.content.decode()

    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", page)
    assert not re.search(r'(src|href)="https?://', page)


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_landmarks_one_heading_and_a_way_past_the_menu(client: Any, stocked: None, path: str) -> None:
    page = text(client, path)

    assert page.count("<h1") == 1
    for part in ('<html lang="en">', '<a class="skip" href="#main">', '<main id="main"', "<nav", "<footer"):
        assert part in page
    assert len(re.findall(r"<img(?![^>]*\salt=)", page)) == 0


def test_the_home_page_shows_every_product_and_its_lowest_price(client: Any, stocked: None) -> None:
    page = text(client, "/")

    for product in Product.objects.all():
        assert product.get_absolute_url() in page
    assert "€5.50" in page


def test_the_home_page_takes_the_same_queries_however_much_there_is(
    client: Any, stocked: None, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(4):
        client.get("/")


def test_a_link_that_does_not_work_is_told_on_a_page_of_the_shop(client: Any, db: None) -> None:
    page = text(client, "/agent-sessions/handoff/nope", status=404)

    assert "This checkout link does not work" in page
    assert "Kiln" in page


def test_a_product_shows_its_variants_with_price_and_stock(client: Any, stocked: None) -> None:
    page = text(client, "/p/everyday-mug")

    for part in ("MUG-SAND", "MUG-MOSS", "€18.50", "Sold out", "In stock"):
        assert part in page


def test_what_is_not_sold_any_more_has_no_page(client: Any, stocked: None) -> None:
    Product.objects.filter(slug="everyday-mug").update(for_sale=False)

    text(client, "/p/everyday-mug", status=404)
    assert "everyday-mug" not in text(client, "/")
    assert "everyday-mug" not in text(client, "/search?q=mug")


def test_search_finds_and_says_when_it_does_not(client: Any, stocked: None) -> None:
    assert "gyokuro-shade-grown" in text(client, "/search?q=GYOKURO")
    assert "Nothing here fits" in text(client, "/search?q=bicycle")
    assert "&lt;b&gt;" in text(client, "/search?q=<b>")
    text(client, "/search?q=a%00b")


def test_long_results_are_paged(client: Any, db: None) -> None:
    for _ in range(25):
        VariantFactory(product__description="common")

    assert "Page 1 of 2" in text(client, "/search?q=common")
    assert "Page 2 of 2" in text(client, "/search?q=common&page=2")
    assert "Page 2 of 2" in text(client, "/search?q=common&page=99")


def test_the_page_for_agents_leads_to_what_machines_read(client: Any, stocked: None) -> None:
    page = text(client, "/agents")

    for path in ("/.well-known/agents.json", "/.well-known/agents.txt", "/.well-known/agents/openapi.json"):
        assert f'href="{path}"' in page
        assert client.get(path).status_code == 200


def test_pages_of_one_person_are_not_kept_by_caches(human: Human, client: Any) -> None:
    assert "no-store" in human.page.headers["Cache-Control"]
    human.pay()
    assert "no-store" in client.get(Order.objects.get().get_absolute_url()).headers["Cache-Control"]


@pytest.mark.parametrize("model", ["category", "product", "voucher", "order", "payment", "providercharge"])
def test_the_admin_shows_the_shop_and_changes_no_books(admin_client: Any, human: Human, model: str) -> None:
    human.pay()

    assert admin_client.get(f"/admin/shop_demo/{model}/").status_code == 200
    added = admin_client.get(f"/admin/shop_demo/{model}/add/").status_code
    assert added == (403 if model in ("order", "payment", "providercharge") else 200)


def test_the_database_refuses_what_cannot_be(tea: Variant, human: Human) -> None:
    human.pay()
    order, payment = Order.objects.get(), Payment.objects.get()

    def refused(change: Any) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            change()

    refused(lambda: Variant.objects.update(price_minor=0))
    refused(lambda: Variant.objects.update(stock=-1))
    refused(lambda: Order.objects.update(total=order.total + 1))
    order.pk, order.ref = None, "another"
    refused(order.save)
    payment.pk, payment.key, payment.order = None, "another", None
    refused(payment.save)
