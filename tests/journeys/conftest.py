"""A running shop: the demo's goods, behind a real web server, on whatever database the tests have."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from shop_demo.agent import Agent, Handover
from shop_demo.human import Human
from shop_demo.models import Order, Payment, ProviderCharge, Variant
from shop_demo.serving import serving
from tests.journeys.company import Company
from tests.shop_demo.signals import reporting


@pytest.fixture
def goods(settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo's goods and settings, with no limit on how often one may call."""
    if connection.vendor == "sqlite":  # as in the demo's settings: who writes waits, and no transaction fails halfway
        options = {**connection.settings_dict["OPTIONS"], "transaction_mode": "IMMEDIATE", "timeout": 20}
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        connection.close()
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.AGENT_SESSIONS = {
        **settings.AGENT_SESSIONS,
        "SITE_NAME": "Fern & Kiln",
        "STORE": "shop_demo.store.DemoStore",
        "STEPS": "shop_demo.steps.RULES",
        "MAX_REQUESTS_PER_MINUTE": 0,
        "MAX_SESSIONS": 0,
    }
    call_command("seed_shop", stdout=io.StringIO())
    with reporting():
        yield


@pytest.fixture
def shop(goods: None, settings: Any) -> Iterator[str]:
    """The address of a shop that is open. Its server ends with the test, so that other tests can fork."""
    with serving(0) as port:
        site = f"http://localhost:{port}"
        settings.SITE_URL = site
        settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "SITE": site}
        yield site


@pytest.fixture
def company(shop: str, configure: Callable[..., None], clock: Any, monkeypatch: pytest.MonkeyPatch) -> Company:
    """Whoever plays the stories, in one shop."""
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES", STEPS="shop_demo.steps.RULES")
    return Company(shop, clock, monkeypatch)


@pytest.fixture
def shop_here(goods: None, configure: Callable[..., None], clock: Any, settings: Any) -> None:
    """The shop without a server: what is sent is served by the process that sends it, which may be forked."""
    settings.ALLOWED_HOSTS = ["testserver"]
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES", STEPS="shop_demo.steps.RULES")
    Variant.objects.update(stock=1000)


@pytest.fixture
def make_agent(shop: str) -> Callable[[], Agent]:
    """Make an agent that has a session."""

    def make() -> Agent:
        agent = Agent(shop, tell=lambda _: None)
        agent.discover()
        agent.open_session("a story")
        return agent

    return make


@pytest.fixture
def agent(make_agent: Callable[[], Agent]) -> Agent:
    return make_agent()


@pytest.fixture
def human() -> Human:
    return Human()


def hand_over(agent: Agent, *goods: str) -> Handover:
    """Buy one of each and hand the cart over."""
    for sku in goods:
        agent.call("cart.add", item_id=sku)
    return agent.check_out()


def reprice(sku: str, cents: int) -> None:
    """The shop changes a price."""
    Variant.objects.filter(sku=sku).update(price_minor=cents)


def restock(sku: str, pieces: int) -> None:
    """The shop has so many pieces from now on."""
    Variant.objects.filter(sku=sku).update(stock=pieces)


def charged() -> int:
    """Cents that the provider has taken and not given back."""
    kept = ProviderCharge.objects.filter(outcome="succeeded").values_list("amount", flat=True)
    return sum(kept)


def nothing_happened() -> bool:
    return not Order.objects.exists() and not charged() and not Payment.objects.filter(outcome="succeeded").exists()
