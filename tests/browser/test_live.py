"""A running session's pages follow along, move nothing that is being read, and stop when there is nothing to follow."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.sessions.models import Session as Login

from agent_sessions import services
from tests.browser.conftest import Browser
from tests.browser.test_viewer import looked_at as looked_at
from tests.browser.test_viewer import page
from tests.shopping import line


def happens(session_id: uuid.UUID, times: int = 1) -> None:
    for _ in range(times):
        services.record_event(session_id, kind="cart.viewed")


def said(browser: Browser) -> str:
    return browser.page.locator("#ags-live-said").inner_text()


def scrolled(browser: Browser) -> int:
    return int(browser.page.evaluate("scrollY"))


def test_the_timeline_grows_at_its_end_and_stays_there(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    browser.page.locator("body").press("End")
    happens(looked_at, 3)
    browser.page.locator("#e8").wait_for()
    browser.wait_until(lambda: said(browser) == "3 new events")
    assert browser.page.locator(".ags-event").count() == 8
    assert browser.page.evaluate("document.getElementById('e8').getBoundingClientRect().bottom <= innerHeight + 1")
    assert not browser.page.locator("#ags-news").is_visible()
    assert "to 8 of 8" in browser.text
    services.end_session(looked_at)
    browser.page.locator("#e9").wait_for()
    browser.wait_until(lambda: said(browser) == "The session has ended; nothing more comes.")
    assert "ended" in browser.heading
    assert browser.page.locator("#e9").count() == 1
    browser.page.locator("body").press("k")
    assert browser.focused.get_attribute("id") == "e9", "keys walk over what has come"


@pytest.mark.parametrize("hand", ["scrolled away", "focus", "selection"])
def test_what_is_being_read_does_not_move(browser: Browser, shop: str, looked_at: uuid.UUID, hand: str) -> None:
    happens(looked_at, 30)
    browser.resize(1280, 600)
    browser.open(page(shop, "timeline", looked_at))
    if hand == "scrolled away":
        browser.page.locator("#e3").scroll_into_view_if_needed()
    else:
        browser.page.locator("#e35").scroll_into_view_if_needed()
        taken = "e.focus()" if hand == "focus" else "getSelection().selectAllChildren(e)"
        browser.page.evaluate(f"(() => {{ const e = document.getElementById('e35'); {taken}; }})()")
    before = scrolled(browser)
    happens(looked_at, 2)
    browser.page.locator("#ags-news:visible").wait_for()
    assert scrolled(browser) == before
    assert "2 new events" in browser.page.locator("#ags-news").inner_text()
    happens(looked_at)
    browser.page.locator("#e38").wait_for(state="attached")
    assert "3 new events" in browser.page.locator("#ags-news").inner_text()
    browser.page.locator("#ags-news button").click()
    assert browser.focused.get_attribute("id") == "e36"
    assert not browser.page.locator("#ags-news").is_visible()


def test_the_overview_takes_over_what_moves_nothing_and_offers_the_rest(
    browser: Browser, shop: str, looked_at: uuid.UUID
) -> None:
    browser.resize(1280, 500)
    browser.open(page(shop, "change", looked_at))
    happens(looked_at)
    latest = browser.page.locator("[data-live=latest]")
    browser.wait_until(lambda: "Cart looked at" in latest.inner_text())
    assert "6 events" in browser.page.locator("[data-live=facts]").inner_text()
    assert not browser.page.locator("#ags-news").is_visible()
    patch = {"shopping": {"lines": {"l2": line(title="Green teapot")}}}
    services.change_session(looked_at, expected_version=4, patch=patch)
    browser.page.locator("#ags-news:visible").wait_for()
    cart = browser.page.locator("[data-live=left]")
    assert "Green teapot" not in cart.inner_text()
    assert "1 new event" in browser.page.locator("#ags-news").inner_text()
    browser.page.locator("#ags-news button").click()
    assert "Green teapot" in cart.inner_text()
    assert browser.focused.get_attribute("id") == "ags-live-switch"
    assert browser.barriers() == []


def test_the_latest_version_leads_on(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "version_at", looked_at, 4) + "?compare=2")
    services.change_session(looked_at, expected_version=4, patch={"agent": {"mood": "calm"}})
    browser.page.locator("#ags-news:visible").wait_for()
    assert "There is version 5 now" in browser.page.locator("#ags-news").inner_text()
    browser.page.locator("#ags-news button").click()
    browser.page.wait_for_url("**/at/5/?compare=2")


def test_it_can_be_turned_off_for_good(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.page.clock.install()
    browser.open(page(shop, "timeline", looked_at))
    browser.page.locator("#ags-live-switch").click()
    assert browser.page.locator("#ags-live-switch").get_attribute("aria-pressed") == "false"
    assert "Stands still" in said(browser)
    asked: list[str] = []
    browser.page.on("request", lambda request: asked.append(request.url))
    browser.open(page(shop, "change", looked_at))
    happens(looked_at)
    browser.page.clock.run_for(60_000)
    assert not [address for address in asked if "/live/" in address]
    browser.page.locator("#ags-live-switch").click()
    browser.page.clock.run_for(1)
    browser.wait_until(lambda: said(browser) == "1 new event")


def test_it_stops_when_the_login_has_ended(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    Login.objects.all().delete()
    browser.wait_until(lambda: "You are no longer logged in" in said(browser))
    assert not browser.page.locator("#ags-live-switch").is_visible()


def test_it_asks_nothing_while_nobody_looks(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.page.clock.install()
    browser.open(page(shop, "timeline", looked_at))
    hidden = "Object.defineProperty(document, 'hidden', {get: () => %s, configurable: true});"
    event = "document.dispatchEvent(new Event('visibilitychange'))"
    browser.page.evaluate(hidden % "true" + event)
    asked: list[str] = []
    browser.page.on("request", lambda request: asked.append(request.url))
    happens(looked_at)
    browser.page.clock.run_for(60_000)
    assert asked == []
    browser.page.evaluate(hidden % "false" + event)
    browser.page.clock.run_for(1)
    browser.page.locator("#e6").wait_for(state="attached")


def test_it_gives_up_after_some_tries(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.page.clock.install()
    browser.open(page(shop, "timeline", looked_at))
    browser.page.route("**/live/**", lambda route: route.abort())

    def gave_up() -> bool:
        browser.page.clock.run_for(21_000)
        return "The site does not answer" in said(browser)

    browser.wait_until(gave_up)
    browser.complaints()
