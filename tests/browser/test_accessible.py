"""axe finds no barrier on any page of the package and of the demo, in light and dark (WCAG 2.2 AA)."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agent_sessions import selectors, services
from shop_demo.agent import Agent
from shop_demo.models import Order
from tests.admin.addresses import readable
from tests.browser.conftest import Browser
from tests.journeys.conftest import hand_over

pytestmark = pytest.mark.parametrize("scheme", ["light", "dark"])


def look_for_barriers(browser: Browser, addresses: dict[str, str], scheme: str) -> None:
    browser.page.emulate_media(color_scheme=scheme)
    found = []
    for name, address in addresses.items():
        browser.open(address)
        browser.shot(f"{name}-{scheme}")
        found += [f"{name}: {problem}" for problem in browser.barriers()]
    assert not found, "\n".join(found)


def test_no_barrier_in_the_admin(officer: Browser, shop: str, ordered: Order, scheme: str) -> None:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get())
    session = selectors.selected_sessions(selectors.Selection(order=ordered.ref)).get()
    pages = {name: shop + address for name, address in readable(client, session.pk).items()}
    assert {"changelist", "export", "change", "timeline", "version_at", "approval", "evidence"} <= set(pages)
    look_for_barriers(officer, pages, scheme)


def test_no_barrier_for_consumers(browser: Browser, agent: Agent, shop: str, scheme: str) -> None:
    agent.call("cart.add", item_id="SENCHA-50G")
    asked = services.request_approval(selectors.authenticate(agent.token), reason="Shall I?")
    pages = {name: f"{shop}/{name}" for name in ("", "c/pots-cups", "p/celadon-teapot", "search?q=tea", "agents")}
    look_for_barriers(browser, {**pages, "approval": asked.url, "sign-in": f"{shop}/account/sign-in"}, scheme)
    services.grant_approval(asked.approval_id)
    look_for_barriers(browser, {"granted": asked.url, "handoff": hand_over(agent).url}, scheme)
    browser.press("Pay")
    assert browser.barriers() == []
