"""Every page of the package in the admin: on any screen, in the reader's own zone, on paper, without scripts (O1)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agent_sessions import selectors
from shop_demo.models import Order
from tests.admin.addresses import readable
from tests.browser.conftest import Browser

WIDTHS = (320, 390, 768, 1024, 1280, 3840)
TOKYO = timezone(timedelta(hours=9))


@pytest.fixture
def pages(officer: Browser, shop: str, ordered: Order) -> dict[str, str]:
    """The addresses of all pages of the ordered session by name."""
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get())
    session = selectors.selected_sessions(selectors.Selection(order=ordered.ref)).get()
    return {name: shop + address for name, address in readable(client, session.pk).items()}


def test_no_page_is_wider_than_the_screen(officer: Browser, pages: dict[str, str]) -> None:
    found = []
    for name, address in pages.items():
        officer.open(address)
        for width in WIDTHS:
            officer.resize(width, 900)
            found += [f"{name} at {width}: {sticking}" for sticking in officer.overflows]
            officer.shot(f"{name}-{width}")
    assert not found, "\n".join(found)


def test_times_are_in_the_readers_zone_and_their_titles_in_utc(officer: Browser, pages: dict[str, str]) -> None:
    officer.restart(timezone_id="Asia/Tokyo", locale="en-US")
    for name in ("changelist", "change", "timeline", "version_at", "versions", "events", "approval"):
        officer.open(pages[name])
        seen = officer.page.locator("time:visible, tspan")
        for shown, stated, title in seen.evaluate_all(
            "all => all.map((one) => [one.textContent, one.getAttribute('datetime'), one.getAttribute('title')])"
        ):
            at = datetime.fromisoformat(stated)
            assert at.astimezone(TOKYO).strftime("%H:%M") in shown, name
            assert at.strftime("%Y-%m-%d %H:%M:%S UTC") == title
        assert seen.count() > 1, name


def test_without_scripts_every_page_tells_the_same(officer: Browser, pages: dict[str, str]) -> None:
    """But for the zone of its times, which is the site's."""
    told = {}
    for scripts in (True, False):
        officer.restart(java_script_enabled=scripts, timezone_id="America/Chicago", locale="en-US")
        for name, address in pages.items():
            officer.open(address)
            words = officer.page.locator("#content-main").inner_text()
            told[name, scripts] = set(re.sub(r"\d+", "0", words).split("\n"))
    for name in pages:
        assert told[name, True] - told[name, False] <= {"Keys", "0 of 0"}, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_a_page_is_black_on_white_and_alone(officer: Browser, pages: dict[str, str], theme: str) -> None:
    officer.page.emulate_media(media="print", color_scheme=theme)
    for name, address in pages.items():
        officer.open(address)
        if name in ("changelist", "export"):
            continue
        for hidden in ("#header", ".breadcrumbs", ".ags-tabs", "#nav-sidebar"):
            assert not officer.page.locator(hidden).is_visible(), (name, hidden)
        colours = "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]"
        assert officer.page.locator("body").evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"], name
        officer.shot(f"{name}-print")
