"""Staff read the evidence of an order, reveal what was said, and print it (A2, A9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User

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
    browser.type("Enter")
    browser.wait_until(lambda: browser.heading == "Agent sessions")
    return browser


def sheet(browser: Browser) -> str:
    return browser.page.locator(".ags-sheet").inner_text()


def test_evidence_of_an_order_is_read_revealed_and_printed(officer: Browser, shop: str, ordered: Order) -> None:
    session = selectors.selected_sessions(selectors.Selection(order=ordered.ref)).get()
    address = f"{shop}/admin/agent_sessions/session/{session.pk}/"
    officer.open(address)
    officer.follow("Evidence")
    assert "The whole session" in sheet(officer)
    officer.follow(f"Order {ordered.ref}")
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
    officer.shot("evidence-screen")

    officer.fill(reason="Case 4")
    officer.press("Show it")
    assert "She said the biggest pot will do. <b>Now</b> ⟨U+202E⟩gpj" in sheet(officer)
    assert SiteEvent.objects.filter(kind="evidence.disclosed").count() == 1

    officer.page.emulate_media(media="print")
    for hidden in HIDDEN_IN_PRINT:
        for element in officer.page.locator(hidden).all():
            assert not element.is_visible(), hidden
    assert "She said the biggest pot" in sheet(officer)
    officer.resize(760, 1080)
    officer.shot("evidence-print")
    printed = officer.page.pdf(prefer_css_page_size=True)
    assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 4

    officer.page.emulate_media(media="screen", color_scheme="dark")
    officer.resize(320, 900)
    assert officer.overflows == []
    officer.shot("evidence-320")
    officer.follow("Bundle for an auditor")
    assert officer.heading == "Export evidence"
    assert officer.overflows == []
    officer.shot("export-320")
