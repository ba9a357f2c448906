"""What agents find: search, browse, details, and the capabilities that the shop adds."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from agent_sessions.store import Page, StoreContext
from shop_demo.models import ContactMessage, Variant, Voucher
from shop_demo.store import DemoStore
from tests.shop_demo.factories import CategoryFactory, ProductFactory, VariantFactory
from tests.shop_demo.people import ShoppingAgent

pytestmark = pytest.mark.django_db
STORE = DemoStore()
ANYONE = StoreContext()


def search(words: str, **facts: Any) -> Page:
    return STORE.search(words, ctx=ANYONE, **{"page": 1, "limit": 20, **facts})


def browse(category: str = "", sort: str = "") -> list[str]:
    return [item.title for item in STORE.browse(category, sort, ctx=ANYONE, page=1, limit=20).items]


@pytest.fixture
def shelf(db: None) -> None:
    pots = CategoryFactory(slug="pots", title="Pots", position=1)
    teas = CategoryFactory(slug="teas", title="Leaves", position=2)
    VariantFactory(sku="P-1", product__category=pots, product__title="Kyusu", product__description="Red clay.")
    tea = ProductFactory(category=teas, title="Assam", description="Strong and malty.", slug="assam")
    VariantFactory(product=tea, sku="A-100", options={"size": "100 g"}, price_minor=690, stock=3)
    VariantFactory(product=tea, sku="A-250", options={"size": "250 g"}, price_minor=1490, stock=4, position=1)
    VariantFactory(sku="OLD", product__category=teas, product__title="Assam of old", product__for_sale=False)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("assam", ["Assam"]),
        ("MALTY assam", ["Assam"]),
        ("leaves a-250", ["Assam"]),
        ("pots clay", ["Kyusu"]),
        ("clay assam", []),
        ("", ["Kyusu", "Assam"]),
        ("%", []),
        ("a " * 100, ["Kyusu", "Assam"]),
    ],
)
def test_every_word_has_to_be_somewhere(shelf: None, words: str, found: list[str]) -> None:
    assert [item.title for item in search(words).items] == found


def test_pages_hold_as_many_as_asked_for(shelf: None) -> None:
    first, second = search("", page=1, limit=1), search("", page=2, limit=1)

    assert [item.title for item in (*first.items, *second.items)] == ["Kyusu", "Assam"]
    assert (first.number, second.number) == (1, 2)


def test_browsing_goes_by_category_and_order(shelf: None) -> None:
    assert browse("teas") == ["Assam"]
    assert browse("nowhere") == []
    assert browse(sort="price") == ["Assam", "Kyusu"]
    assert browse(sort="-price") == ["Kyusu", "Assam"]
    assert browse(sort="title") == ["Assam", "Kyusu"]
    assert browse(sort="nonsense") == ["Kyusu", "Assam"]


def test_a_product_with_variants_is_bought_as_one_of_them(shelf: None) -> None:
    item = STORE.detail("assam", ctx=ANYONE)

    assert item is not None
    assert (item.price, item.available) == (None, 7)
    assert [(one.id, one.price, one.available, one.options) for one in item.variants] == [
        ("A-100", 690, 3, {"size": "100 g"}),
        ("A-250", 1490, 4, {"size": "250 g"}),
    ]


def test_a_variant_has_a_page_of_its_own(shelf: None) -> None:
    item = STORE.detail("A-250", ctx=ANYONE)

    assert item is not None
    assert (item.id, item.price, item.url, item.variants) == ("A-250", 1490, "/p/assam", ())


def test_a_product_of_one_kind_is_bought_by_its_own_number(shelf: None) -> None:
    item = search("kyusu").items[0]

    assert (item.id, item.price) == ("P-1", 1000)


@pytest.mark.parametrize("item", ["nothing", "OLD"])
def test_what_is_not_sold_has_no_details(shelf: None, item: str) -> None:
    assert STORE.detail(item, ctx=ANYONE) is None


def test_a_message_reaches_the_shop(db: None) -> None:
    reference = ShoppingAgent().send("POST", "/contact", {"message": "Is the kettle loud?"})["reference"]

    assert ContactMessage.objects.get(reference=reference).message == "Is the kettle loud?"


def test_a_voucher_is_put_on_the_cart_and_taken_off(agent: ShoppingAgent, voucher: Voucher) -> None:
    with_it = agent.send("POST", "/voucher/apply", {"code": "tenth"})
    without = agent.send("POST", "/voucher/remove", {"code": "TENTH"})

    assert (with_it["vouchers"], with_it["total_minor"]) == (["TENTH"], 3100)
    assert (without["vouchers"], without["total_minor"]) == ([], 3390)


def test_a_voucher_that_does_not_hold_is_refused_in_plain_words(agent: ShoppingAgent, voucher: Voucher) -> None:
    refused = agent.answer("POST", "/voucher/apply", {"code": "NOPE"})
    missing = agent.answer("POST", "/voucher/remove", {"code": "TENTH"})

    assert (refused.status_code, refused.json()["error"]) == (400, "There is no such voucher.")
    assert missing.status_code == 404


def test_an_agent_cannot_put_more_into_the_cart_than_there_is(agent: ShoppingAgent, tea: Variant) -> None:
    refused = agent.answer("POST", "/cart", {"item_id": "TEA", "quantity": 4})

    assert (refused.status_code, refused.json()["error"]) == (400, "Only 5 of Sencha left; you asked for 6.")


@pytest.mark.parametrize(
    ("term", "found"),
    [("ANNA@shop.example", "anna"), ("anna", "anna"), ("ben", ""), ("", ""), ("shared@shop.example", "")],
)
def test_staff_find_a_customer_by_e_mail_or_user_name(db: None, term: str, found: str) -> None:
    users = {name: User.objects.create_user(name, email=f"{name}@shop.example") for name in ("anna", "ben")}
    User.objects.filter(username="ben").update(is_active=False)
    for name in ("carl", "dora"):
        User.objects.create_user(name, email="shared@shop.example")
    assert DemoStore().find_customer(term) == (f"customer-{users[found].pk}" if found else "")
