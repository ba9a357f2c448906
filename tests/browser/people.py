"""Who sits before the browser, and what there is to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client

from agent_sessions import selectors, services
from shop_demo.agent import Agent, Refused
from shop_demo.human import Human
from shop_demo.models import Order, Variant

if TYPE_CHECKING:
    from tests.browser.conftest import Browser

SAID = f"She said the biggest pot will do. <b>Now</b> {chr(0x202E)}gpj"


@pytest.fixture
def officer(browser: Browser, shop: str) -> Browser:
    """The browser of somebody who may see everything in the admin, signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("eva"))
    cookie = client.cookies["sessionid"].value
    browser.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": shop}])
    return browser


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
        asked = services.request_approval(selectors.authenticate(agent.token), reason=SAID)
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
