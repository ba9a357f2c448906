"""Staff reveal what is masked, with a reason, and others see that they do (A9)."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.identity import Agent as Program
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.services.erasing import Grounds, erase
from tests.browser.conftest import Browser
from tests.shopping import line

SECRET = "Leave it with Mrs Brown at number 9"


@pytest.fixture
def said(officer: Browser) -> uuid.UUID:
    """A session in which people said something; a superuser is logged in."""
    one = services.open_session(agent=Program("Shopping helper", "2.1"), purpose="A gift for Anna")
    patch: Any = {
        "shopping": {"lines": {"l1": line()}, "instructions": SECRET},
        "customer": {"preferences": {"milk": "Oat"}},
        "agent": {"mood": "hurried"},
    }
    services.change_session(one.session_id, expected_version=1, patch=patch, kind="cart.item_added")
    services.add_message(one.session_id, role="user", content="It is for my mother")
    return one.session_id


def address(shop: str, name: str, *args: object) -> str:
    return shop + reverse(f"admin:agent_sessions_session_{name}", args=args)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_group_is_revealed_where_it_is_missed_and_masked_again(
    officer: Browser, shop: str, said: uuid.UUID, scripts: bool
) -> None:
    """With no scripts as well: the form is folded by the page itself."""
    officer.restart(java_script_enabled=scripts)
    officer.open(address(shop, "conversation", said))
    assert "It is for my mother" not in officer.text
    officer.unfold("Reveal what was said")
    officer.page.locator(".ags-masked [name=reason]").fill("She rang about case 4")
    officer.press("Show it for 10 minutes")
    assert officer.page.url == address(shop, "conversation", said)
    assert "It is for my mother" in officer.text
    assert "what was said until" in officer.text

    officer.follow("Timeline")
    assert "Content revealed" in officer.text
    assert "She rang about case 4" in officer.text
    officer.press("Mask again")
    assert "It is for my mother" not in officer.text
    assert "She rang about case 4" not in officer.text
    kinds = [event["kind"] for event in selectors.events(said)]  # type: ignore[index, call-overload]
    assert kinds[-2:] == ["content.revealed", "content.masked"]


def test_who_sees_what_reads_well_on_any_screen(officer: Browser, shop: str, said: uuid.UUID) -> None:
    services.reveal_content(said, groups=["words"], reason="Case 5", actor=Actor("staff", "17"))
    officer.open(address(shop, "change", said))
    assert "Staff 17 sees what was said until" in officer.text
    officer.unfold("What people said and what is known of them is masked")
    form = officer.page.locator("#ags-reveal")
    form.get_by_label("What is known of the customer").check()
    form.get_by_label("Why you need to see it").fill("Case 4")
    assert officer.barriers() == []
    officer.shot("reveal-form")
    officer.press("Show it for 10 minutes")
    assert "Oat" in officer.text
    assert SECRET not in officer.text
    assert officer.barriers() == []
    officer.shot("admin-revealed")
    officer.page.emulate_media(color_scheme="dark")
    officer.resize(320, 900)
    officer.unfold("Reveal more of this session")
    assert officer.overflows == []
    assert officer.contrast >= 4.5
    officer.shot("revealed-320-dark")
    officer.page.emulate_media(color_scheme="light")
    officer.resize(1280, 900)
    officer.open(address(shop, "version_at", said, 2))
    assert officer.barriers() == []
    officer.shot("revealed-version")


def test_a_bundle_with_what_people_said_reveals_it_to_who_makes_it(
    officer: Browser, shop: str, said: uuid.UUID
) -> None:
    officer.open(f"{address(shop, 'export')}?sessions={said}")
    officer.fill(reason="Complaint 12")
    officer.page.get_by_label("With what is personal").check()
    assert officer.barriers() == []
    officer.shot("export-personal")
    with officer.page.expect_download() as download:
        officer.page.get_by_role("button", name="Download bundle").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert SECRET.encode() in archive.read(f"sessions/{said}/chain.json")
    officer.open(address(shop, "change", said))
    assert "revealed to you what was said, what is known of the customer" in " ".join(officer.text.split())


def test_of_another_tab_nothing_is_left_for_the_next_person(officer: Browser, shop: str, said: uuid.UUID) -> None:
    """The same window, another person: the browser keeps nothing that would show it."""
    services.reveal_content(
        said, groups=["words"], reason="Case 4", actor=Actor("staff", str(User.objects.get(username="eva").pk))
    )
    officer.open(address(shop, "conversation", said))
    assert "It is for my mother" in officer.text
    client = Client()
    client.force_login(User.objects.create_superuser("next"))
    cookie = client.cookies["sessionid"].value
    officer.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": shop}])
    officer.page.reload()
    assert "It is for my mother" not in officer.text
    officer.page.go_back()
    officer.open(address(shop, "conversation", said))
    assert "It is for my mother" not in officer.text


def test_of_an_erased_session_it_is_told_what_remains(officer: Browser, shop: str, said: uuid.UUID) -> None:
    services.end_session(said)
    grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
    erase(selectors.read_head(said), frozenset({"personal"}), grounds, actor=SYSTEM)
    services.place_legal_hold(scope="session", session_id=said, matter="Case 12", actor=Actor("staff", "7"))
    officer.open(address(shop, "conversation", said))
    assert "There is nothing to reveal" in officer.text
    officer.follow("What remains, and why")
    assert "Case 12, placed" in officer.page.get_by_role("region", name="What remains, and why").inner_text()
    assert officer.barriers() == []
    officer.shot("remains")
    officer.resize(320, 900)
    assert officer.overflows == []


def revealed(said: uuid.UUID) -> None:
    services.reveal_content(
        said, groups=GROUPS, reason="Case 4", actor=Actor("staff", str(User.objects.get(username="eva").pk))
    )


@pytest.fixture
def hours(officer: Browser) -> Iterator[Callable[[int], None]]:
    """Let seconds pass, for the shop and for the browser."""
    officer.page.clock.install()
    with time_machine.travel(datetime.now(UTC)) as clock:

        def pass_by(seconds: int) -> None:
            clock.shift(seconds)
            officer.page.clock.run_for(seconds * 1000)

        yield pass_by


@pytest.mark.parametrize("name", ["conversation", "timeline"])
def test_an_open_page_masks_itself_when_the_time_is_over(
    officer: Browser, shop: str, said: uuid.UUID, hours: Callable[[int], None], name: str
) -> None:
    revealed(said)
    officer.open(address(shop, name, said))
    hours(9 * 60)
    assert "It is for my mother" in officer.text
    assert not officer.page.locator("#ags-over").is_visible()
    with officer.page.expect_navigation():
        hours(62)
    assert "It is for my mother" not in officer.text
    assert "masked" in officer.text
    assert officer.page.locator("#ags-over").count() == 0


def test_who_has_had_it_revealed_again_meanwhile_sees_it_on(
    officer: Browser, shop: str, said: uuid.UUID, hours: Callable[[int], None]
) -> None:
    revealed(said)
    officer.open(address(shop, "conversation", said))
    hours(5 * 60)
    revealed(said)
    with officer.page.expect_navigation():
        hours(5 * 60 + 2)
    assert "It is for my mother" in officer.text


def test_what_somebody_is_writing_stays_and_what_was_revealed_goes(
    officer: Browser, shop: str, said: uuid.UUID, hours: Callable[[int], None]
) -> None:
    revealed(said)
    officer.open(address(shop, "version_at", said, 2))
    assert SECRET in officer.text
    officer.page.locator("[name=compare]").last.fill("0")
    hours(10 * 60 + 2)
    officer.page.locator("#ags-over:visible").wait_for()
    assert "What was revealed to you is masked again" in officer.alert
    assert officer.page.locator("[name=compare]").last.input_value() == "0"
    assert SECRET not in officer.page.content()
    assert "Oat" not in officer.page.content()
    assert officer.barriers() == []
    officer.shot("masked-while-writing")
    officer.resize(320, 900)
    assert officer.overflows == []
    officer.follow("Load the page again")
    assert "masked" in officer.text
    assert SECRET not in officer.text


def test_what_came_of_a_form_is_not_sent_again(
    officer: Browser, shop: str, said: uuid.UUID, hours: Callable[[int], None]
) -> None:
    """A form that was refused holds what was written as if the page had come with it."""
    revealed(said)
    officer.open(address(shop, "act", said, "end"))
    officer.page.locator(".ags-answer [name=reason]").fill("She asked for it")
    services.change_session(said, expected_version=2, patch={"agent": {"mood": "very calm"}})
    officer.press("End the session")
    assert "very calm" in officer.text
    events = selectors.read_head(said).head_seq
    hours(10 * 60 + 2)
    officer.page.locator("#ags-over:visible").wait_for()
    assert officer.page.locator(".ags-answer [name=reason]").input_value() == "She asked for it"
    assert "very calm" not in officer.page.content()
    assert selectors.read_head(said).head_seq == events
    officer.complaints()


def test_on_the_way_back_nothing_is_shown_that_is_masked_again(officer: Browser, shop: str, said: uuid.UUID) -> None:
    """With scripts and without: nothing of the page is kept."""
    for scripts in (True, False):
        officer.restart(java_script_enabled=scripts)
        revealed(said)
        officer.open(address(shop, "conversation", said))
        assert "It is for my mother" in officer.text
        officer.follow("Versions")
        services.mask_content(said, actor=Actor("staff", str(User.objects.get(username="eva").pk)))
        officer.page.go_back()
        assert "masked" in officer.text
        assert "It is for my mother" not in officer.text
