"""A person follows the agent's link, in a browser, to the order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shop_demo.agent import Agent
from shop_demo.human import SAMPLE
from shop_demo.models import Order
from tests.browser.conftest import Browser
from tests.journeys.conftest import charged, hand_over, nothing_happened, reprice, restock

WHO = {name: SAMPLE[name] for name in ("email", "name", "address")}


def test_from_the_agents_link_to_the_order(browser: Browser, agent: Agent) -> None:
    browser.open(hand_over(agent, "CELADON-05L", "SENCHA-50G").url)
    assert browser.heading == "Check and pay"
    assert "Celadon Teapot" in browser.text

    browser.fill(**WHO)
    browser.press("Pay €71.90")

    order = Order.objects.get()
    assert browser.heading == "Thank you, Ada Example."
    assert order.ref in browser.text
    assert charged() == order.total == 7190


def test_who_forgets_a_field_is_told_which_and_keeps_what_was_typed(browser: Browser, agent: Agent) -> None:
    browser.open(hand_over(agent, "SENCHA-50G").url)
    browser.fill(email="not an address", name="Ada Example")
    browser.press("Pay")

    assert "marked fields" in browser.alert
    for name in ("email", "address"):
        assert browser.page.locator(f"[name={name}]").get_attribute("aria-invalid") == "true"
        assert browser.page.locator(f"#id_{name}_error").inner_text()
    assert browser.page.locator("[name=name]").input_value() == "Ada Example"
    assert nothing_happened()


def test_a_declined_card_and_then_one_that_pays(browser: Browser, agent: Agent) -> None:
    browser.open(hand_over(agent, "SENCHA-50G").url)
    browser.fill(**WHO)
    browser.choose("Card that is declined")
    browser.press("Pay")

    assert "not enough money" in browser.alert
    assert nothing_happened()
    assert browser.page.locator("[name=address]").input_value(), "nobody types it twice"

    browser.choose("Card that succeeds")
    browser.press("Pay")
    assert Order.objects.get().ref in browser.text


def test_a_price_that_changes_while_one_looks_is_shown_before_paying(browser: Browser, agent: Agent) -> None:
    browser.open(hand_over(agent, "SENCHA-50G").url)
    browser.fill(**WHO)
    reprice("SENCHA-50G", 890)
    browser.press("Pay €12.80")

    assert "Nothing was charged" in browser.alert
    assert "€7.90 each before, €8.90 now" in browser.alert
    assert nothing_happened()

    browser.press("Pay €13.80")
    assert Order.objects.get().total == charged() == 1380


def test_it_can_be_paid_with_the_keyboard_alone(browser: Browser, agent: Agent) -> None:
    browser.open(hand_over(agent, "SENCHA-50G").url)
    browser.page.locator("[name=email]").focus()
    browser.type(WHO["email"], "Tab", WHO["name"], "Tab", WHO["address"], "Tab", "ArrowDown", "ArrowUp", "Enter")
    browser.wait_until(lambda: browser.heading.startswith("Thank you"))

    assert Order.objects.get().total == charged() == 1280


@pytest.mark.parametrize("page", ["/", "/c/pots-cups", "/p/celadon-teapot", "/search?q=tea", "/agents"])
def test_on_a_narrow_screen_no_page_of_the_shop_overflows(browser: Browser, shop: str, page: str) -> None:
    browser.resize(320, 700)
    browser.open(shop + page)

    assert browser.heading
    assert browser.overflows == []


def test_on_a_narrow_screen_no_page_of_the_checkout_overflows(
    browser: Browser, make_agent: Callable[[], Agent]
) -> None:
    browser.resize(320, 700)
    link = hand_over(make_agent(), "CELADON-05L", "TENMOKU-1").url

    browser.open(link)
    assert browser.overflows == []
    browser.press("Pay")
    assert "marked fields" in browser.alert
    assert browser.overflows == []
    browser.fill(**WHO)
    restock("TENMOKU-1", 0)
    browser.press("Pay")
    assert "Tenmoku Tea Bowl is sold out" in browser.text
    assert browser.overflows == []
    browser.choose("Card that times out")
    browser.press("Pay")
    assert browser.heading == "We do not know yet whether you paid"
    assert browser.overflows == []
    browser.press("Check again")
    assert browser.heading.startswith("Thank you")
    assert browser.overflows == []
    browser.open(link)
    assert browser.heading == "This cart is already ordered"
    assert browser.overflows == []
