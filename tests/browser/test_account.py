"""A customer lets one agent act for them and another take over, with mouse and keyboard (C1, C2, T4)."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from django.core.management import call_command

from agent_sessions import selectors, services
from shop_demo.agent import Agent, Refused
from shop_demo.human import SAMPLE
from shop_demo.models import Order
from shop_demo.web import fetch
from tests.browser.conftest import Browser
from tests.journeys.conftest import charged

Send = Callable[..., Agent]


@pytest.fixture
def anna(browser: Browser, shop: str, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """Anna's browser, signed in by keyboard."""
    monkeypatch.setenv("DEMO_CUSTOMER_PASSWORD", "tea-for-two")
    call_command("seed_shop", customers=True, stdout=io.StringIO())
    browser.open(f"{shop}/account/agents")
    assert browser.heading == "Sign in"
    browser.type("anna", "Tab", "tea-for-two", "Enter")
    browser.wait_until(lambda: browser.heading == "Your agents")
    return browser


@pytest.fixture
def send(shop: str) -> Send:
    """Send an agent that acts for a customer."""

    def one(name: str, assertion: str, *goods: str) -> Agent:
        agent = Agent(shop, tell=lambda _: None, name=name, assertion=assertion)
        agent.discover()
        agent.open_session("tea for the afternoon")
        for sku in goods:
            agent.call("cart.add", item_id=sku)
        return agent

    return one


def secret(browser: Browser, name: str) -> str:
    """What the page shows once."""
    return browser.page.locator(f"#{name}").inner_text()


def let_act(browser: Browser) -> str:
    browser.press("Let an agent act for me")
    assert browser.heading == "Give this to your agent"
    text = secret(browser, "assertion")
    browser.follow("To your agents")
    assert browser.heading == "Your agents"
    return text


def take_over(shop: str, code: str) -> int:
    """A second agent comes with a code; return what the shop answers, and nothing else is needed."""
    body = f'{{"grant": "{code}", "agent_name": "Tea expert"}}'.encode()
    address = f"{shop}/.well-known/agents/api/session/transfer"
    return fetch("POST", address, content=body, headers={"Content-Type": "application/json"}).status


def test_an_agent_acts_and_another_takes_over(anna: Browser, shop: str, send: Send) -> None:
    """C1, T4: from the text on the page to a session on it, and from the code on the page to another agent's."""
    phone = send("Phone", let_act(anna), "CELADON-05L")
    anna.follow("Look again")
    assert "1 agent is busy" in anna.text
    assert "Phone" in anna.text
    assert "1 × Celadon Teapot" in anna.text

    anna.press("Allow another agent to take over")
    assert anna.heading == "Another agent can take over from Phone"
    code = secret(anna, "grant")
    assert [take_over(shop, code) for _ in range(2)] == [201, 403]
    with pytest.raises(Refused, match="401"):
        phone.call("cart.view")

    anna.open(f"{shop}/account/agents")
    assert "Tea expert" in anna.text
    assert "Phone" not in anna.text
    assert "1 × Celadon Teapot" in anna.text


def test_the_checkout_of_one_agent_is_confirmed_and_paid(anna: Browser, shop: str, send: Send) -> None:
    """C2: asked because of the other agent, confirmed on the page, paid without the agent's link."""
    text = let_act(anna)
    phone, _ = send("Phone", text, "SENCHA-50G"), send("Voice", text, "CELADON-05L")
    phone.check_out()
    anna.open(f"{shop}/account/agents")
    assert "Is it you who buys with Phone?" in anna.text
    anna.press("Yes, go on with it")
    assert "the cart of Phone can be paid now" in anna.text
    anna.press("Check and pay")
    assert anna.heading == "Check and pay"
    anna.fill(**{name: SAMPLE[name] for name in ("email", "name", "address")})
    anna.press("Pay €12.80")
    assert anna.heading == "Thank you, Ada Example."
    assert Order.objects.get().total == charged() == 1280


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_of_the_account_sticks_out(
    anna: Browser, shop: str, send: Send, scheme: str
) -> None:
    anna.page.emulate_media(color_scheme=scheme)
    anna.resize(320, 700)
    anna.press("Let an agent act for me")
    assert anna.overflows == []
    text = secret(anna, "assertion")
    phone = send(f"Phone {'long' * 40}", text, "CELADON-05L")
    asked = services.request_approval(selectors.authenticate(phone.token), reason=f"{'long' * 60} {chr(0x202E)}")
    send("Voice", text, "SENCHA-50G").check_out()
    anna.open(f"{shop}/account/agents")
    assert "asks for your approval" in anna.text
    assert anna.overflows == []
    anna.open(f"{shop}/account/approvals/{asked.approval_id}")
    assert anna.overflows == []
    anna.open(f"{shop}/account/agents")
    anna.press("Allow another agent to take over")
    assert anna.overflows == []


def test_without_scripts_it_works_too(anna: Browser, shop: str, send: Send) -> None:
    text = let_act(anna)
    anna.restart(java_script_enabled=False)
    send("Phone", text)
    anna.open(f"{shop}/account/agents")
    anna.press("Allow another agent")
    assert anna.heading == "Another agent can take over from Phone"
    assert take_over(shop, secret(anna, "grant")) == 201
