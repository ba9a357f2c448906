"""Staff look at a session's past in a browser: by keys, by the slider, by forms alone, on a phone, in the dark (O1)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent as Program
from tests.browser.conftest import Browser
from tests.browser.test_approval import RTL, _contrast
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
    browser.open(shop + "/")
    cookie = client.cookies["sessionid"].value
    browser.driver.add_cookie({"name": "sessionid", "value": cookie})
    return one.session_id


def page(shop: str, name: str, *args: object) -> str:
    return shop + reverse(f"admin:agent_sessions_session_{name}", args=args)


def press(browser: Browser, *keys: str) -> None:
    browser.driver.switch_to.active_element.send_keys(*keys)


def arrived(browser: Browser, ending: str) -> None:
    browser.wait_until(lambda: browser.driver.current_url.endswith(ending))
    browser.wait_until(lambda: browser.driver.execute_script("return document.readyState") == "complete")


def test_by_keys_from_entry_to_version_and_on(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    press(browser, "j", "j", "j", "k")
    focused = browser.driver.switch_to.active_element
    assert focused.get_attribute("id") == "e2"
    press(browser, "d")
    arrived(browser, "/at/2/#differences")
    press(browser, Keys.ARROW_RIGHT)
    arrived(browser, "/at/3/")
    assert "quantity 1 → 2" in browser.text
    press(browser, "k")
    arrived(browser, "/at/2/")
    press(browser, "d")
    assert "What changed from version 1" in browser.driver.switch_to.active_element.text
    press(browser, "?")
    assert "show or hide this list" in browser.driver.find_element(By.ID, "ags-keys").text
    browser.driver.find_element(By.ID, "ags-keys-off").click()
    browser.driver.find_element(By.TAG_NAME, "body").send_keys("j")
    assert browser.driver.current_url.endswith("/at/2/"), "who has turned the keys off is not taken anywhere"


def test_the_picture_and_the_slider_are_ways_to_move(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.open(page(shop, "timeline", looked_at))
    cross = browser.driver.find_element(By.CSS_SELECTOR, ".ags-dot .ags-cross")
    browser.driver.execute_script("arguments[0].parentNode.scrollIntoView({block: 'center'})", cross)
    cross.click()
    arrived(browser, "?after=3#e4")
    assert "refused by spend_cap" in browser.driver.find_element(By.CSS_SELECTOR, "#e4:target").text

    browser.open(page(shop, "version_at", looked_at, 4) + "?compare=1")
    slider = browser.driver.find_element(By.ID, "ags-version")
    assert slider.get_attribute("type") == "range"
    slider.send_keys(Keys.ARROW_LEFT)
    arrived(browser, "/at/3/?compare=1")
    assert "3 of 4" in browser.text


def test_without_scripts_forms_and_links_do_it(browser: Browser, shop: str, looked_at: uuid.UUID) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(page(shop, "version_at", looked_at, 4))
    field = browser.driver.find_element(By.ID, "ags-version")
    assert field.get_attribute("type") == "number"
    field.clear()
    field.send_keys("2", Keys.ENTER)
    browser.wait_until(lambda: browser.driver.current_url.endswith("/at/2/"))
    browser.driver.find_element(By.LINK_TEXT, "Next →").click()
    browser.wait_until(lambda: browser.driver.current_url.endswith("/at/3/"))
    assert not browser.driver.find_element(By.ID, "ags-keys").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out_and_all_can_be_read(
    browser: Browser, shop: str, looked_at: uuid.UUID, scheme: str
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for address in (page(shop, "timeline", looked_at), page(shop, "version_at", looked_at, 3)):
        browser.resize(320, 700)
        browser.open(address)
        assert browser.overflows == []
        assert _contrast(browser) >= 4.5
        assert "<b>" in browser.text, "shown, not obeyed"
        browser.resize(3840, 2160)
        assert browser.overflows == []
