"""A person answers what their agent asks, in a browser (L5)."""

from __future__ import annotations

import pytest

from agent_sessions import selectors, services
from agent_sessions.services import Requested
from shop_demo.agent import Agent
from tests.browser.conftest import Browser
from tests.journeys.conftest import reprice

REASON = "It is more than you usually spend on tea.\nShall I buy it?"
RTL = "شاي أخضر <b>جديد</b>"


def ask(agent: Agent, *goods: str, reason: str = REASON) -> Requested:
    for sku in goods:
        agent.call("cart.add", item_id=sku)
    return services.request_approval(selectors.authenticate(agent.token), reason=reason)


def standing(asked: Requested) -> str:
    return selectors.get_approval(asked.approval_id).status.value


def test_from_the_agents_link_to_a_yes(browser: Browser, agent: Agent) -> None:
    asked = ask(agent, "CELADON-05L", "SENCHA-50G")
    browser.open(asked.url)
    assert browser.heading.endswith("asks for your approval")
    for said in ("71.90 EUR", "Celadon Teapot", "more than you usually spend", "Version 4 of the cart"):
        assert said in browser.text

    browser.fill(total="17,90")
    browser.press("Approve 71.90")
    assert "You can try 4 more times" in browser.alert
    browser.fill(total="71,90")
    browser.press("Approve 71.90")

    assert browser.heading == "Approved"
    assert standing(asked) == "granted"
    assert agent.check_out().url
    browser.open(asked.url)
    assert browser.heading == "Approved and checked out"


def test_a_no_with_a_reason(browser: Browser, agent: Agent) -> None:
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    browser.unfold("No, do not buy")
    browser.page.locator("#no").fill("I have tea")
    browser.press("Reject")
    assert browser.heading == "Rejected"
    assert selectors.get_approval(asked.approval_id).answer == "I have tea"


def test_who_cannot_decide_asks_the_shop(browser: Browser, agent: Agent) -> None:
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    browser.unfold("I cannot decide")
    browser.press("Ask the shop")
    assert browser.heading == "The shop decides"
    assert standing(asked) == "escalated"


def test_a_cart_that_changes_while_one_looks_is_not_approved(browser: Browser, agent: Agent) -> None:
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    reprice("SENCHA-50G", 890)
    agent.call("cart.add", item_id="TENMOKU-1")
    browser.fill(total="12.80")
    browser.press("Approve")
    assert browser.heading == "The cart has changed"
    assert standing(asked) == "void"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_sticks_out_whatever_was_written(
    browser: Browser, agent: Agent, scheme: str
) -> None:
    browser.resize(320, 700)
    browser.page.emulate_media(color_scheme=scheme)
    reason = f"{RTL} {'long' * 60}\u202e <script>document.title = 'taken'</script> https://{'a' * 200}.example"
    browser.open(ask(agent, "CELADON-05L", "TENMOKU-1", reason=reason).url)
    assert browser.overflows == []
    assert "<b>" in browser.text, "shown, not obeyed"
    assert browser.page.title().startswith("Approval")
    browser.unfold("No, do not buy")
    browser.unfold("I cannot decide")
    assert browser.overflows == []
    assert browser.contrast >= 4.5
    browser.page.locator("#no").fill(RTL)
    browser.press("Reject")
    assert browser.overflows == []


def test_without_scripts_it_works_too(browser: Browser, agent: Agent) -> None:
    browser.restart(java_script_enabled=False)
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    browser.fill(total="12.80")
    browser.press("Approve")
    assert browser.heading == "Approved"
    assert standing(asked) == "granted"
