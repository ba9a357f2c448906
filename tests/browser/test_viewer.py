"""Staff look at a session's past in a browser: by keys, by the slider, by forms alone, on a phone, in the dark (O1)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent as Program
from tests.browser.conftest import Browser
from tests.browser.test_approval import RTL
from tests.shopping import line


@pytest.fixture
def looked_at(browser: Browser, shop: str) -> uuid.UUID:
    """A session with four versions and a refusal, which is event 4; somebody of the staff is logged in."""
    one = services.open_session(agent=Program("Shopping helper", "2.1"))
    patches: list[Any] = [
        {"shopping": {"lines": {"l1": line(title=RTL)}}},
        {"shopping": {"lines": {"l1": {"quantity": 2}}}},
        {"agent": {"mood": "long" * 60}},
    ]
    for number, patch in enumerate(patches, 1):
        if number == 3:
            refused = Call("checkout", "POST", policy_result="deny", policy_rule="spend_cap", response_status=403)
            services.record_event(one.session_id, kind="capability.refused", call=refused)
        services.change_session(one.session_id, expected_version=number, patch=patch, kind="cart.item_changed")
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    cookie = client.cookies["sessionid"].value
    browser.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": shop}])
    return one.session_id


def page(shop: str, name: str, *args: object) -> str:
    return shop + reverse(f"admin:agent_sessions_session_{name}", args=args)


def arrived(browser: Browser, ending: str) -> None:
    browser.page.wait_for_url(f"**{ending}")


def test_by_keys_from_entry_to_version_and_on(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    browser.type("j", "j", "j", "k")
    assert browser.focused.get_attribute("id") == "e2"
    browser.type("d")
    arrived(browser, "/at/2/#differences")
    browser.type("ArrowRight")
    arrived(browser, "/at/3/")
    assert "quantity 1 → 2" in browser.text
    browser.type("k")
    arrived(browser, "/at/2/")
    browser.type("d")
    assert "What changed from version 1" in browser.focused.inner_text()
    browser.type("?")
    assert "show or hide this list" in browser.page.locator("#ags-keys").inner_text()
    browser.page.locator("#ags-keys-off").click()
    browser.page.locator("body").press("j")
    assert browser.page.url.endswith("/at/2/"), "who has turned the keys off is not taken anywhere"


def test_the_picture_and_the_slider_are_ways_to_move(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    browser.page.locator(".ags-dot .ags-cross").click()
    arrived(browser, "?after=0#e4")
    assert "refused by spend_cap" in browser.page.locator("#e4:target").inner_text()

    browser.open(page(shop, "version_at", looked_at, 4) + "?compare=1")
    slider = browser.page.locator("#ags-version")
    assert slider.get_attribute("type") == "range"
    slider.press("ArrowLeft")
    arrived(browser, "/at/3/?compare=1")
    assert "3 of 4" in browser.text


def test_the_link_to_an_entry_can_be_copied(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browser.open(page(shop, "timeline", looked_at) + "?actor=agent")
    entry = browser.page.locator("#e4")
    entry.locator("summary").click()
    entry.get_by_role("button", name="Copy the link").click()
    entry.get_by_role("button", name="Copied").wait_for()
    copied = browser.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == page(shop, "timeline", looked_at) + "?after=0#e4"
    assert browser.barriers() == []
    browser.open(copied)
    assert "refused by spend_cap" in browser.page.locator("#e4:target").inner_text()


def test_without_scripts_forms_and_links_do_it(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.restart(java_script_enabled=False)
    browser.open(page(shop, "timeline", looked_at))
    browser.page.locator("#e4 summary").click()
    assert '"policy_rule": "spend_cap"' in browser.page.locator("#e4 pre").inner_text()
    assert not browser.page.get_by_role("button", name="Copy the link").count()
    browser.open(page(shop, "version_at", looked_at, 4))
    field = browser.page.locator("#ags-version")
    assert field.get_attribute("type") == "number"
    field.fill("2")
    field.press("Enter")
    arrived(browser, "/at/2/")
    browser.follow("Next →")
    assert browser.page.url.endswith("/at/3/")
    assert not browser.page.locator("#ags-keys").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out_and_all_can_be_read(
    browser: Browser, shop: str, looked_at: uuid.UUID, scheme: str
) -> None:
    browser.page.emulate_media(color_scheme=scheme)
    for address in (page(shop, "timeline", looked_at), page(shop, "version_at", looked_at, 3)):
        browser.resize(320, 700)
        browser.open(address)
        assert browser.overflows == []
        assert browser.contrast >= 4.5
        assert "<b>" in browser.text, "shown, not obeyed"
        browser.resize(3840, 2160)
        assert browser.overflows == []
