"""Staff read the evidence of an order, reveal what was said, and print it (A2, A9)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from agent_sessions import selectors, services
from agent_sessions.models import SiteEvent
from shop_demo.agent import Agent, Refused
from shop_demo.human import Human
from shop_demo.models import Order, Variant
from tests.browser.conftest import Browser

REASON = f"She said the biggest pot will do. <b>Now</b> {chr(0x202E)}gpj"
HIDDEN_IN_PRINT = ("#header", ".ags-tabs", ".ags-tools", ".breadcrumbs")


@pytest.fixture
def ordered(shop: str, make_agent: Callable[[], Agent], configure: Any) -> Order:
    """An order over the limit: refused, approved by its shopper, paid with the second card; in 13 minutes."""
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES")
    Variant.objects.filter(sku="CELADON-05L").update(price_minor=32000)
    with time_machine.travel(datetime.now(UTC) - timedelta(minutes=15)) as clock:
        agent, human = make_agent(), Human()
        agent.call("cart.add", item_id="CELADON-05L")
        agent.call("cart.add", item_id="SENCHA-50G", quantity=2)
        clock.shift(timedelta(minutes=1, seconds=4))
        services.revalidate(selectors.authenticate(agent.token))
        with pytest.raises(Refused):
            agent.call("checkout")
        asked = services.request_approval(selectors.authenticate(agent.token), reason=REASON)
        clock.shift(timedelta(minutes=4, seconds=11))
        services.note_approval_opened(asked.approval_id)
        clock.shift(timedelta(minutes=2, seconds=38))
        services.grant_approval(asked.approval_id)
        page = human.open(agent.check_out().url)
        clock.shift(timedelta(minutes=3, seconds=20))
        page = human.pay(page, token="tok_declined")
        clock.shift(timedelta(minutes=1, seconds=47))
        human.pay(page)
    return Order.objects.get()


@pytest.fixture
def officer(browser: Browser, shop: str) -> Browser:
    """The browser of somebody who may see everything, signed in to the admin."""
    User.objects.create_superuser("eva", password="x")
    browser.open(f"{shop}/admin/login/?next=/admin/agent_sessions/session/")
    browser.fill(username="eva", password="x")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.wait_until(lambda: browser.heading == "Agent sessions")
    return browser


def sheet(browser: Browser) -> str:
    return browser.driver.find_element(By.CLASS_NAME, "ags-sheet").text


def shot(browser: Browser, name: str) -> None:
    """Keep a picture of the whole page, where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def test_evidence_of_an_order_is_read_revealed_and_printed(officer: Browser, shop: str, ordered: Order) -> None:
    session = selectors.selected_sessions(selectors.Selection(order=ordered.ref)).get()
    address = f"{shop}/admin/agent_sessions/session/{session.pk}/"
    officer.open(address)
    officer.driver.find_element(By.LINK_TEXT, "Evidence").click()
    officer.wait_until(lambda: "The whole session" in sheet(officer))
    officer.driver.find_element(By.LINK_TEXT, f"Order {ordered.ref}").click()
    officer.wait_until(lambda: f"Order {ordered.ref}" in sheet(officer))
    told = sheet(officer)
    for said in (
        "large orders",
        "policy_denied",
        "Celadon Teapot",
        "to review",
        "visa •••• 9995",
        "declined",
        "verified",
    ):
        assert said in told
    assert "She said the biggest pot" not in told
    assert not SiteEvent.objects.filter(kind="evidence.disclosed").exists()
    shot(officer, "evidence-screen")

    officer.fill(reason="Case 4")
    officer.press("Show it")
    assert "She said the biggest pot will do. <b>Now</b> ⟨U+202E⟩gpj" in sheet(officer)
    assert SiteEvent.objects.filter(kind="evidence.disclosed").count() == 1

    officer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for hidden in HIDDEN_IN_PRINT:
        for element in officer.driver.find_elements(By.CSS_SELECTOR, hidden):
            assert not element.is_displayed(), hidden
    assert "She said the biggest pot" in sheet(officer)
    officer.resize(760, 1080)
    shot(officer, "evidence-print")
    printed: Any = officer.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    raw = base64.b64decode(printed["data"])
    assert 1 <= raw.count(b"/Type /Page\n") + raw.count(b"/Type /Page ") <= 4
    if folder := os.environ.get("SCREENSHOTS"):
        (Path(folder) / "evidence.pdf").write_bytes(raw)

    media = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    officer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    officer.resize(320, 900)
    assert officer.overflows == []
    shot(officer, "evidence-320")
    officer.driver.find_element(By.LINK_TEXT, "Bundle for an auditor").click()
    officer.wait_until(lambda: officer.heading == "Export evidence")
    assert officer.overflows == []
    shot(officer, "export-320")
