"""A person answers what their agent asks, in a browser (L5)."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.by import By

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


def unfold(browser: Browser, beginning: str) -> None:
    summaries = browser.driver.find_elements(By.TAG_NAME, "summary")
    next(one for one in summaries if one.text.startswith(beginning)).click()


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
    unfold(browser, "No, do not buy")
    browser.driver.find_element(By.ID, "no").send_keys("I have tea")
    browser.press("Reject")
    assert browser.heading == "Rejected"
    assert selectors.get_approval(asked.approval_id).answer == "I have tea"


def test_who_cannot_decide_asks_the_shop(browser: Browser, agent: Agent) -> None:
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    unfold(browser, "I cannot decide")
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
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    reason = f"{RTL} {'long' * 60}\u202e <script>document.title = 'taken'</script> https://{'a' * 200}.example"
    browser.open(ask(agent, "CELADON-05L", "TENMOKU-1", reason=reason).url)
    assert browser.overflows == []
    assert "<b>" in browser.text, "shown, not obeyed"
    assert browser.driver.title.startswith("Approval")
    unfold(browser, "No, do not buy")
    unfold(browser, "I cannot decide")
    assert browser.overflows == []
    assert _contrast(browser) >= 4.5
    browser.driver.find_element(By.ID, "no").send_keys(RTL)
    browser.press("Reject")
    assert browser.overflows == []


def _contrast(browser: Browser) -> float:
    """The lowest contrast (WCAG 2) of text with what is behind it, of all that has text of its own."""
    script = """
        const parse = (text) => { const part = text.match(/[\\d.]+/g).map(Number); return part; };
        const light = ([r, g, b]) => [r, g, b].map((one) => { const c = one / 255;
            return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; })
            .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
        const behind = (element) => { for (let one = element; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour; } return [255, 255, 255]; };
        return Math.min(...[...document.querySelectorAll("main *")]
            .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
            .map((one) => { const pair = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort();
                return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05); }));
    """
    found: Any = browser.driver.execute_script(script)
    return float(found)


def test_without_scripts_it_works_too(browser: Browser, agent: Agent) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    asked = ask(agent, "SENCHA-50G")
    browser.open(asked.url)
    browser.fill(total="12.80")
    next(one for one in browser.driver.find_elements(By.TAG_NAME, "button") if one.text.startswith("Approve")).click()
    browser.wait_until(lambda: standing(asked) == "granted")
    browser.wait_until(lambda: browser.heading == "Approved")
