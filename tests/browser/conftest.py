"""A real browser: Chromium, driven by Selenium, which may load nothing but the shop."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.journeys.conftest import agent, goods, make_agent, shop  # noqa: F401 - fixtures

SAYS_NO = ("/checkout/agent", "/agent-sessions/approve/", "/favicon.ico")
"""Pages that answer 402, 403 or 409 where the person has to do something else; and the icon that the admin has not."""
PATIENCE = 20
"""Seconds until a page counts as not coming."""
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
DRIVER = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver") or ""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # a click would not wait for a page that scrolls smoothly
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the browser tests where there is no browser, unless BROWSER=1 says that there has to be one."""
    if (CHROMIUM and DRIVER) or os.environ.get("BROWSER") == "1":
        return
    here = Path(__file__).parent
    missing = pytest.mark.skip(reason="Chromium or chromedriver is not installed; BROWSER=1 makes that an error")
    for item in items:
        if here in item.path.parents:
            item.add_marker(missing)


class Browser:
    """What a person does with a browser, in the shop's own words."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def resize(self, width: int, height: int) -> None:
        """Give the page itself this size, in CSS pixels, whatever the window adds to it."""
        facts = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)

    @property
    def heading(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "h1").text

    @property
    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "main").text

    @property
    def alert(self) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, "[role=alert]").text

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)

    def choose(self, label: str) -> None:
        """Choose a card by what stands beside it."""
        for choice in self.driver.find_elements(By.CSS_SELECTOR, "label.choice"):
            if choice.find_element(By.TAG_NAME, "strong").text == label:
                choice.click()
                return
        raise AssertionError(f"There is no choice {label!r}.")

    def press(self, beginning: str) -> None:
        """Press the button whose words begin so, and wait for the page that comes of it."""
        buttons = self.driver.find_elements(By.TAG_NAME, "button")
        button = next(one for one in buttons if one.text.startswith(beginning))
        before = self.driver.find_element(By.TAG_NAME, "html")
        button.click()
        self.wait_until(lambda: _is_gone(before))
        self.wait_until(lambda: self.driver.execute_script("return document.readyState") == "complete")

    def wait_until(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: condition())

    @property
    def overflows(self) -> list[str]:
        """What sticks out of the page to the right, as far as it makes the page wider."""
        script = """
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll("body *")].filter(
                (element) => element.getBoundingClientRect().right > width + 1
            ).map((element) => element.outerHTML.slice(0, 120));
        """
        return list(self.driver.execute_script(script))

    def complaints(self) -> list[str]:
        """What the browser has complained of since the last call: script errors, violations of the policy, lost files.

        A page that answers 409 or 402 is itself listed as a failed resource; that is how the shop says no.
        """
        kept = []
        for entry in self.driver.get_log("browser"):
            message = entry["message"]
            if "Failed to load resource" in message and any(page in message for page in SAYS_NO):
                continue
            kept.append(message)
        return kept


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except (StaleElementReferenceException, WebDriverException):
        return True
    return False


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """A browser with a profile of its own; at the end of the test it must have had nothing to complain of."""
    monkeypatch.setenv("SE_OFFLINE", "true")  # the driver is here; Selenium is not to look for one
    options = Options()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            driver.set_page_load_timeout(PATIENCE)
            one = Browser(driver)
            one.resize(1280, 900)
            yield one
            assert one.complaints() == []
        finally:
            driver.quit()
