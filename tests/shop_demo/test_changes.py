"""What changed between the agent's quote, the page and the button is seen before it is paid."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent_sessions import selectors, services
from shop_demo.models import Order, Variant, Voucher
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import Human, ShoppingAgent, charged

pytestmark = pytest.mark.django_db


def test_a_price_that_rose_is_shown_before_anything_is_paid(human: Human) -> None:
    form = human.form()
    Variant.objects.update(price_minor=1600)
    human.send(form)

    assert human.page.status_code == 409
    assert "Sencha: €14.50 each before, €16.00 now." in human.text
    assert "The total was €33.90 and is €36.90 now." in human.text
    assert charged() == []
    assert 'value="mira@example.com"' in human.page.content.decode()

    human.pay()
    assert (Order.objects.get().total, charged()) == (3690, [(3690, "succeeded")])


def test_a_price_that_rose_before_the_human_came_is_shown_too(agent: ShoppingAgent) -> None:
    link = agent.hand_over()
    Variant.objects.update(price_minor=1600)

    human = Human(link)

    assert "Changed since your agent put it together" in human.text
    assert "€14.50 each before, €16.00 now" in human.text
    assert human.pay().page.status_code == 200
    assert Order.objects.get().total == 3690


def test_a_price_that_fell_is_not_charged_at_the_old_one(human: Human) -> None:
    form = human.form()
    Variant.objects.update(price_minor=1000)
    human.send(form)

    assert charged() == []
    assert "Pay €24.90" in human.text


def test_prices_that_changed_are_shown_even_if_the_total_is_the_same(agent: ShoppingAgent) -> None:
    VariantFactory(sku="POT", product__title="Pot", price_minor=6000)
    agent.add("POT")
    human = Human(agent.hand_over())
    form = human.form()
    Variant.objects.filter(sku="POT").update(price_minor=5800)
    Variant.objects.filter(sku="TEA").update(price_minor=1550)
    human.send(form)

    assert charged() == []
    assert "Pot: €60.00 each before, €58.00 now. Sencha: €14.50 each before, €15.50 now." in human.text


@pytest.mark.parametrize("left", [0, 1])
def test_goods_that_sold_out_meanwhile_are_not_paid(human: Human, left: int) -> None:
    form = human.form()
    Variant.objects.update(stock=left)
    human.send(form)

    assert ("Sencha is sold out." if left == 0 else "Only 1 of Sencha left; you asked for 2.") in human.text
    assert not human.form_is_shown
    assert charged() == []


def test_what_is_left_of_a_cart_can_still_be_paid(agent: ShoppingAgent) -> None:
    VariantFactory(sku="POT", product__title="Pot", price_minor=6000)
    agent.add("POT")
    human = Human(agent.hand_over())
    form = human.form()
    Variant.objects.filter(sku="POT").update(stock=0)
    human.send(form)
    assert "Pot is no longer in what you would pay for." in human.text
    assert "Shipping: free before, €4.90 now." in human.text

    human.pay()
    assert (Order.objects.get().total, charged()) == (3390, [(3390, "succeeded")])


def test_a_voucher_that_expired_meanwhile_takes_nothing_off(agent: ShoppingAgent, voucher: Voucher) -> None:
    agent.send("POST", "/voucher/apply", {"code": "TENTH"})
    human = Human(agent.hand_over())
    form = human.form()
    Voucher.objects.update(valid_until=voucher.valid_from)
    human.send(form)

    assert "The voucher TENTH has expired." in human.text
    assert "Voucher TENTH no longer takes €2.90 off." in human.text
    assert charged() == []
    human.pay()
    assert (Order.objects.get().total, Order.objects.get().vouchers) == (3390, [])


def test_an_agent_that_goes_on_shopping_is_told_on_and_never_paid_unseen(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    form = human.form()
    agent.add("TEA")
    human.send(form)
    assert charged() == []
    assert "Your agent has changed the cart" in human.text
    assert "Sencha: 2 before, 3 now." in human.text

    human.pay()
    assert (Order.objects.get().total, charged()) == (4840, [(4840, "succeeded")])


def test_other_goods_at_the_same_price_are_shown_before_they_are_paid(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    VariantFactory(sku="POT", product__title="Pot", price_minor=2900)
    human = Human(agent.hand_over())
    form = human.form()
    agent.send("DELETE", "/cart", {"item_id": "TEA"})
    agent.add("POT")
    human.send(form)

    assert charged() == []
    assert "Pot is new." in human.text
    assert "Sencha is no longer in what you would pay for." in human.text


def test_what_the_agent_says_later_is_shown_before_it_is_paid(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    form = human.form()
    session = selectors.read_head(uuid.UUID(agent.session_id))
    services.change_session(
        session, expected_version=session.version, patch={"shopping": {"instructions": "To the cellar."}}
    )
    human.send(form)

    assert charged() == []
    assert "To the cellar." in human.text
    human.pay()
    assert Order.objects.get().instructions == "To the cellar."


def test_a_page_of_one_cart_does_not_pay_for_another_that_looks_the_same(agent: ShoppingAgent) -> None:
    other = ShoppingAgent()
    for line in agent.send("GET", "/cart")["items"]:
        other.add(line["item_id"], line["quantity"])
    human = Human(agent.hand_over())
    first = human.form()
    human.client.get(other.hand_over(), follow=True)

    human.send(first)

    assert human.page.status_code == 409
    assert "Please look again before you pay" in human.text
    assert charged() == []
    human.pay()
    assert str(Order.objects.get().session_id) == other.session_id
