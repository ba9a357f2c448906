"""Support answers a customer: finds the session, sees what failed, goes to that moment and explains it (O1, A9)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from agent_sessions import selectors, services
from shop_demo.agent import Agent, Refused
from shop_demo.human import Human
from shop_demo.models import Variant
from tests.browser.conftest import Browser

EMAIL = "anna@shop.example"
ASKED = "Only by card, please. PayPal is my husband's."


@pytest.fixture
def support(browser: Browser, shop: str) -> User:
    """Somebody of the support staff, signed in: they may see sessions and reveal what is masked, nothing else."""
    user = User.objects.create_user("sam", is_staff=True)
    allowed = ["view_session", "view_session_content"]
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="agent_sessions", codename__in=allowed))
    client = Client()
    client.force_login(user)
    cookie = client.cookies["sessionid"].value
    browser.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": shop}])
    return user


@pytest.fixture
def failed(shop: str, make_agent: Callable[[], Agent], configure: Callable[..., None]) -> uuid.UUID:
    """Anna's session, beside another: a checkout over the limit, refused and then approved; its card was declined."""
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES")
    anna = User.objects.create_user("anna", email=EMAIL)
    make_agent().call("cart.add", item_id="SENCHA-50G")
    Variant.objects.filter(sku="CELADON-05L").update(price_minor=32000)
    with time_machine.travel(datetime.now(UTC) - timedelta(minutes=15)) as clock:
        assertion = services.assert_consumer(f"customer-{anna.pk}").text
        agent = Agent(shop, tell=lambda _: None, assertion=assertion)
        agent.discover()
        agent.open_session("a teapot for a friend")
        session_id = selectors.authenticate(agent.token).session_id
        services.add_message(session_id, role="user", content=ASKED)
        agent.call("cart.add", item_id="CELADON-05L")
        clock.shift(timedelta(minutes=1))
        with pytest.raises(Refused):
            agent.check_out()
        approval = services.request_approval(session_id, reason="It is a gift.")
        clock.shift(timedelta(minutes=4))
        services.grant_approval(approval.approval_id)
        human = Human()
        page = human.open(agent.check_out().url)
        clock.shift(timedelta(minutes=2))
        human.pay(page, token="tok_declined")
        clock.shift(timedelta(minutes=1))
        agent.call("cart.add", item_id="SENCHA-50G")
    return session_id


def listed(browser: Browser) -> list[str]:
    return browser.page.locator("#result_list .ags-id").all_inner_texts()


def region(browser: Browser, name: str) -> str:
    return browser.page.get_by_role("region", name=name).inner_text()


def comfortable(browser: Browser) -> None:
    """All of the page can be read, and nothing sticks out."""
    assert browser.overflows == []
    assert browser.contrast >= 4.5


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_support_finds_a_failed_checkout_and_explains_it(
    browser: Browser, shop: str, support: User, failed: uuid.UUID, width: int, scheme: str
) -> None:
    """ "Why was my teapot not bought?", asks Anna."""
    browser.resize(width, 900)
    browser.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    every = shop + reverse("admin:agent_sessions_session_changelist")
    browser.open(every)
    assert len(listed(browser)) == 2
    browser.follow("insufficient_funds (1)")
    by_failure = listed(browser)
    assert by_failure == [str(failed)[:13]]
    browser.open(every)
    browser.fill(customer=EMAIL)
    browser.press("Find their sessions")
    assert listed(browser) == by_failure
    assert EMAIL not in browser.page.url
    comfortable(browser)
    browser.shot(f"support-list-{width}")

    browser.page.get_by_role("link", name=by_failure[0]).click()
    browser.page.wait_for_url(f"**/{failed}/**")
    assert "Sencha First Harvest" in region(browser, "Cart, as the shopper sees it")
    assert "Payment card declined (insufficient_funds): 320.00 EUR" in browser.text
    assert not browser.page.get_by_role("link", name="End the session").count(), "support only looks"
    browser.follow("Timeline")
    assert ASKED not in browser.text
    browser.page.get_by_role("link", name="Refused or failed 2").click()
    browser.page.wait_for_url("**failed=1")
    refused, declined = browser.page.locator("article.ags-went-wrong").all()
    assert "refused by large orders, 403" in refused.inner_text()
    assert "Step payment by card, attempt 1: failed (insufficient_funds)" in declined.inner_text()
    comfortable(browser)
    browser.shot(f"support-timeline-{width}")

    moment = declined.get_by_role("link", name="version").get_attribute("href")
    declined.get_by_role("link", name="version").click()
    browser.page.wait_for_url(f"**{moment}")
    assert "A past state" in browser.text
    assert "Sencha" not in region(browser, "Cart, as the shopper saw it")
    assert "declined card 320.00 EUR, insufficient_funds" in region(browser, "Payments, approvals and holds then")
    assert "Payment card declined (insufficient_funds): 320.00 EUR" in region(browser, "What changed from version")
    why = " ".join(region(browser, "Why this payment method").split())
    assert "card declined insufficient_funds" in why
    assert "allowed checkout by large orders" in why
    assert "refused Request refused by rule large orders" in why

    known = browser.page.get_by_role("region", name="What the agent knew here")
    known.get_by_text("Reveal what was said").click()
    known.locator("[name=reason]:visible").fill("Anna asks, case 7")
    browser.press("Show it for 10 minutes")
    assert browser.page.url.endswith(str(moment)), "back at the moment that was looked at"
    assert ASKED in region(browser, "What the agent knew here")
    assert browser.barriers() == []
    comfortable(browser)
    browser.shot(f"support-moment-{width}")

    browser.page.get_by_role("link", name="in the timeline").click()
    browser.page.wait_for_url("**#e*")
    assert "failed (insufficient_funds)" in browser.page.locator("article:target").inner_text()
    assert ASKED in browser.text
    browser.press("Mask again")
    assert ASKED not in browser.text
    told = [event for event in selectors.events(failed) if str(event["kind"]).startswith("content.")]  # type: ignore[index, call-overload]
    assert [(event["kind"], event["actor"]) for event in told] == [
        ("content.revealed", f"staff:{support.pk}"),
        ("content.masked", f"staff:{support.pk}"),
    ]
