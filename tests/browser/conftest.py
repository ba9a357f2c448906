"""A real browser: the system's Chromium, driven by Playwright, which may load nothing but the shop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.utils.text import slugify
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, Request, sync_playwright

from tests.browser.people import officer, ordered  # noqa: F401 - fixtures
from tests.journeys.conftest import agent, goods, make_agent, shop  # noqa: F401 - fixtures

SAYS_NO = ("/checkout/agent", "/agent-sessions/approve/", "/act/", "/favicon.ico")
"""Pages that answer 402, 403 or 409 where the person has to do something else; and the icon that the admin has not."""
AT_HOME = ("http://localhost:", "data:", "blob:")
PATIENCE = 20
"""Seconds until a page counts as not coming."""
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the browser tests where there is no browser, unless BROWSER=1 says that there has to be one."""
    if CHROMIUM or os.environ.get("BROWSER") == "1":
        return
    here = Path(__file__).parent
    missing = pytest.mark.skip(reason="Chromium is not installed; BROWSER=1 makes that an error")
    for item in items:
        if here in item.path.parents:
            item.add_marker(missing)


class Browser:
    """What a person does with a browser, in the shop's own words; ``page`` is Playwright's, for all the rest."""

    page: Page

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._complaints: list[str] = []
        self._start()

    def _start(self, **options: Any) -> None:
        """Open a window with a profile of its own."""
        size = {"width": 1280, "height": 900}
        # A click would not wait for a page that scrolls smoothly.
        context = self._chromium.new_context(**{"viewport": size, "reduced_motion": "reduce", **options})
        context.set_default_timeout(PATIENCE * 1000)
        context.on("console", self._note_message)
        context.on("dialog", self._note_dialog)
        context.on("weberror", lambda problem: self._complaints.append(str(problem.error)))
        context.on("request", self._note_request)
        context.on("requestfailed", self._note_failure)
        self.page = context.new_page()

    def restart(self, **options: Any) -> None:
        """Go on in a new window with the same cookies and other options (``java_script_enabled``, ``timezone_id``)."""
        before = self.page.context
        self._start(storage_state=before.storage_state(), **options)
        before.close()

    def open(self, url: str) -> None:
        self.page.goto(url)

    def resize(self, width: int, height: int) -> None:
        """Give the page itself this size, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    @property
    def heading(self) -> str:
        return self.page.locator("h1").first.inner_text()

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    @property
    def alert(self) -> str:
        return self.page.locator("[role=alert]").first.inner_text()

    @property
    def focused(self) -> Locator:
        return self.page.locator(":focus")

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            self.page.locator(f"[name={name}]").fill(value)

    def type(self, *words: str) -> None:
        """Type into what has the focus; a word such as Tab, Enter or ArrowLeft is that key."""
        for word in words:
            if word in ("Tab", "Enter", "Escape", "Home", "End") or word.startswith("Arrow"):
                self.page.keyboard.press(word)
            else:
                self.page.keyboard.type(word)

    def choose(self, label: str) -> None:
        """Choose a card by what stands beside it."""
        title = self.page.get_by_text(label, exact=True)
        self.page.locator("label.choice").filter(has=title).click()

    def press(self, beginning: str) -> None:
        """Press the button whose words begin so, and wait for the page that comes of it."""
        with self.page.expect_navigation():
            self.starting("button", beginning).click()

    def follow(self, link: str) -> None:
        """Click the link with exactly these words, and wait for the page that it leads to."""
        with self.page.expect_navigation():
            self.page.get_by_role("link", name=link, exact=True).first.click()

    def unfold(self, beginning: str) -> None:
        self.starting("summary", beginning).click()

    def starting(self, element: str, beginning: str) -> Locator:
        """The first element of that name that is seen and whose words begin so."""
        found = self.page.locator(f"{element}:visible")
        for number, words in enumerate(found.all_inner_texts()):
            if words.strip().startswith(beginning):
                return found.nth(number)
        raise AssertionError(f"There is no {element} {beginning!r}.")

    def wait_until(self, condition: Callable[[], Any]) -> None:
        patience = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < patience, f"It did not come true in {PATIENCE} s."
            self.page.wait_for_timeout(50)

    @property
    def overflows(self) -> list[str]:
        """What sticks out of the page to the right, as far as it makes the page wider."""
        script = """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll("body *")].filter(
                (element) => element.getBoundingClientRect().right > width + 1
            ).map((element) => element.outerHTML.slice(0, 120));
        }"""
        return list(self.page.evaluate(script))

    @property
    def contrast(self) -> float:
        """The lowest contrast (WCAG 2) of text with what is behind it, of all that has text of its own."""
        return float(self.page.evaluate(_CONTRAST))

    def barriers(self) -> list[str]:
        """What axe finds on the page that keeps people out: all against WCAG 2.2 AA, and whatever it calls serious."""
        self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("() => axe.run({resultTypes: ['violations'], preload: false})")["violations"]
        return [
            f"{one['id']} ({one['impact']}): {node['failureSummary']} {node['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical") or any(tag.startswith("wcag") for tag in one["tags"])
            for node in one["nodes"]
        ]

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page, where SCREENSHOTS names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=f"{folder}/{slugify(name)}.png", full_page=True)

    def complaints(self) -> list[str]:
        """What there was to complain of since the last call: errors, broken policies, lost or foreign files."""
        self.page.evaluate("0")  # what came before has been told by now
        told, self._complaints = self._complaints, []
        return told

    def _note_message(self, message: ConsoleMessage) -> None:
        """A page that answers 409 or 402 is itself listed as a failed resource; that is how the shop says no."""
        if message.type not in ("error", "warning"):
            return
        where = message.location["url"]
        if "Failed to load resource" not in message.text or not any(page in where for page in SAYS_NO):
            self._complaints.append(f"{where} {message.text}")

    def _note_dialog(self, dialog: Dialog) -> None:
        self._complaints.append(f"The page opened a dialog: {dialog.message}")
        dialog.dismiss()

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(AT_HOME):
            self._complaints.append(f"The page asked for {request.url}")

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what was still under way when the page was left, or a download
            self._complaints.append(f"{request.url} {request.failure}")


_CONTRAST = r"""() => {
    const parse = (text) => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => { const c = one / 255;
        return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; })
        .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (element) => { for (let one = element; one; one = one.parentElement) {
        const colour = parse(getComputedStyle(one).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour; } return [255, 255, 255]; };
    return Math.min(...[...document.querySelectorAll("main *")]
        .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .map((one) => { const pair = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort();
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05); }));
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One Chromium for a module's tests; it ends with them, so that other tests can fork.

    Playwright keeps an event loop in the thread of the tests, where Django would refuse the database to them. They
    are not asynchronous, so Django is told to let them.
    """
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def browser(chromium: Chromium, shop: str) -> Iterator[Browser]:  # noqa: F811 - it closes before the shop does
    """A browser with a profile of its own; at the end of the test it must have had nothing to complain of."""
    one = Browser(chromium)
    try:
        yield one
        assert one.complaints() == []
    finally:
        one.page.context.close()
