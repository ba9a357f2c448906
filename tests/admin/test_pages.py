"""The pages of one session."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.admin import pages
from agent_sessions.domain.identity import Agent, Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import SessionKey
from agent_sessions.selectors import read_head
from agent_sessions.services import OpenedSession
from agent_sessions.services.handoffs import make_link
from tests.admin.conftest import person, reveal, text, url
from tests.shopping import basket, line, variables
from tests.tampering import Tamper, flipped

pytestmark = pytest.mark.django_db
PAGES = ("change", "versions", "events", "conversation")


def words(page: str) -> str:
    """The text of a page's own part, on one line."""
    own = page.split('id="content-main"')[1].split("<footer")[0]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", own)))


def test_the_overview_shows_the_cart_as_the_shopper_sees_it(staff: Client, shopped: OpenedSession) -> None:
    told = words(text(staff, url("change", shopped.session_id)))
    assert "Blue mug sku-1 2 12.50 EUR 25.00 EUR" in told
    assert "Subtotal 25.00 EUR Delivery 4.90 EUR Total 29.90 EUR" in told


def test_the_overview_says_who_what_and_how_far(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    scope = Scope(("cart.add", "checkout"), 20000, "EUR")
    one = opened(consumer="pseudonym-1", parent_request="req-77", scope=scope)
    told = words(text(staff, url("change", one.session_id)))
    for said in (
        str(one.session_id), "Shopping helper 2.1", "signature checked", "Acme Assistants", "pseudonym-1", "req-77",
        "cart.add, checkout", "200.00 EUR at most", "1 version, 1 event", "29 min left", "The cart is empty",
    ):  # fmt: skip
        assert said in told


def test_the_overview_tells_the_latest_history_with_what_changed_and_what_was_refused(
    staff: Client, shopped: OpenedSession
) -> None:
    told = words(text(staff, url("change", shopped.session_id)))
    assert "Added 1 × Blue mug at 12.50 EUR" in told
    assert "Blue mug: quantity 1 → 2" in told
    assert "Request refused by Agent refused by spend_cap, answered 403" in told
    assert told.index("Message written") < told.index("quantity 1 → 2") < told.index("Added 1 ×")


def test_the_overview_leads_to_all_sessions_of_the_shopper(staff: Client, shopped: OpenedSession) -> None:
    assert f'href="{url("changelist")}?consumer=pseudonym-1"' in text(staff, url("change", shopped.session_id))


def test_checkout_links_are_told_but_not_what_opens_them(staff: Client, shopped: OpenedSession) -> None:
    with transaction.atomic():
        link = make_link(read_head(shopped.session_id), version=4)
    page = text(staff, url("change", shopped.session_id))
    assert "never opened" in words(page)
    assert link.url.rsplit("/", 1)[1] not in page


def test_versions_tell_what_each_changed_latest_first(staff: Client, shopped: OpenedSession) -> None:
    told = words(text(staff, url("versions", shopped.session_id)))
    assert re.findall(r"Version (\d)", told) == ["4", "3", "2", "1"]
    assert "Quoted 29.90 EUR" in told
    assert "Cart item changed by Agent, event 2" in told


def test_a_version_shows_the_cart_of_its_time_and_what_it_changed(staff: Client, shopped: OpenedSession) -> None:
    told = words(text(staff, url("version_at", shopped.session_id, 2)))
    assert "Added 1 × Blue mug at 12.50 EUR" in told
    assert "Blue mug sku-1 1 12.50 EUR 12.50 EUR" in told
    assert "Total" not in told
    page = text(staff, url("version_at", shopped.session_id, 2))
    assert url("version_at", shopped.session_id, 1) in page
    assert url("version_at", shopped.session_id, 3) in page


def test_events_tell_the_chain(staff: Client, shopped: OpenedSession) -> None:
    told = words(text(staff, url("events", shopped.session_id)))
    assert re.findall(r"Event (\d)", told) == ["7", "6", "5", "4", "3", "2", "1"]
    assert "cart.update PATCH item_id: l1 allowed default 200 2" in told
    assert "checkout POST refused spend_cap 403" in told


@pytest.mark.parametrize(("page", "row"), [("events", r"Event (\d+)"), ("versions", r"Version (\d+)")])
def test_long_histories_come_in_pages(
    staff: Client, shopped: OpenedSession, monkeypatch: pytest.MonkeyPatch, page: str, row: str
) -> None:
    monkeypatch.setattr(pages, "_EVENTS", 2)
    monkeypatch.setattr(pages, "_VERSIONS", 2)
    seen: list[int] = []
    address = url(page, shopped.session_id)
    while True:
        shown = text(staff, address)
        seen += [int(number) for number in re.findall(row, words(shown))]
        older = re.search(r'href="(\?before=\d+)">Older', shown)
        if older is None:
            break
        address = url(page, shopped.session_id) + older[1]
    assert seen == list(range(7 if page == "events" else 4, 0, -1))
    newer = re.search(r'href="(\?before=\d+)">← Newer', shown)
    assert newer is not None
    assert [int(n) for n in re.findall(row, words(text(staff, url(page, shopped.session_id) + newer[1])))][-1] > 1


@pytest.mark.parametrize("before", ["0", "1", "-3", "x", "99999999999", "²"])
def test_a_page_number_that_is_none_shows_some_page(staff: Client, shopped: OpenedSession, before: str) -> None:
    for page in ("events", "versions"):
        assert "1" in words(text(staff, f"{url(page, shopped.session_id)}?before={before}"))


def test_the_conversation_comes_in_pages(
    reader: Client, shopped: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_TURNS", 1)
    reveal(reader, shopped.session_id, "words")
    first = text(reader, url("conversation", shopped.session_id))
    assert "my mother" in first
    assert "teapot" not in first
    assert "?after=1" in first
    second = text(reader, url("conversation", shopped.session_id) + "?after=1")
    assert "teapot" in second
    assert "?after=2" not in second


@pytest.mark.parametrize("page", PAGES)
def test_pages_cost_the_same_however_long_the_history(
    reader: Client, shopped: OpenedSession, page: str, configure: Callable[..., None]
) -> None:
    address = url(page, shopped.session_id)
    configure(SNAPSHOT_EVERY=8)
    counts = []
    for first in (4, 34):
        for number in range(first, first + 30):
            services.change_session(shopped.session_id, expected_version=number, patch=variables(n=number))
            services.record_event(shopped.session_id, kind="cart.viewed")
        reveal(reader, shopped.session_id)
        with CaptureQueriesContext(connection) as queries:
            text(reader, address)
        counts.append(len(queries))
        assert not any("COUNT(" in query["sql"].upper() for query in queries)
    assert counts[0] == counts[1] <= 15


def test_hostile_text_is_text_everywhere(reader: Client, opened: Callable[..., OpenedSession]) -> None:
    hostile = "<script>alert(1)</script>"
    one = opened(agent=Agent(hostile, hostile, hostile), purpose=hostile, merchant=hostile)
    patch = {
        "shopping": {
            "lines": {hostile: line(title=hostile, variant=hostile)},
            "instructions": hostile + "\u202e",
            "vouchers": {hostile: {}},
            "discounts": {"d": {"amount": -1, "currency": "EUR", "code": hostile}},
        },
        "agent": {hostile: hostile},
    }
    services.change_session(one.session_id, expected_version=1, patch=patch, note=hostile)
    services.add_message(one.session_id, role="user", content=hostile + "\u202e")
    reveal(reader, one.session_id, reason=hostile)
    for address in (*(url(page, one.session_id) for page in PAGES), url("version_at", one.session_id, 2)):
        page = text(reader, address)
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert html.escape(hostile) in page


@pytest.mark.parametrize("page", PAGES)
def test_pages_carry_nothing_inline(staff: Client, shopped: OpenedSession, page: str) -> None:
    shown = text(staff, url(page, shopped.session_id))
    own = shown.split('id="content-main"')[1]
    assert " style=" not in own
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", shown)
    assert "agent_sessions/admin.css" in shown


def test_a_session_or_version_that_there_is_not_is_not_found(staff: Client, shopped: OpenedSession) -> None:
    assert staff.get(url("change", uuid.uuid4())).status_code == 404
    for number in (0, 5, 10**30):
        assert staff.get(url("version_at", shopped.session_id, number)).status_code == 404


def test_a_quarantined_session_has_pages_that_say_so(reader: Client, quarantined: OpenedSession) -> None:
    for page in PAGES:
        told = words(text(reader, url(page, quarantined.session_id)))
        assert "This session is quarantined" in told
        assert f"verify_sessions --session {quarantined.session_id}" in told
    assert "Session opened" in words(text(reader, url("events", quarantined.session_id)))
    assert "quarantined" in text(reader, url("version_at", quarantined.session_id, 2))
    assert "quarantined" in text(reader, url("artifact", quarantined.session_id), 409)
    assert "quarantined" in text(reader, url("changelist"))


def test_an_erased_session_keeps_its_chain_and_says_what_is_gone(reader: Client, ended: OpenedSession) -> None:
    SessionKey.objects.filter(pk=ended.session_id).delete()
    told = words(text(reader, url("change", ended.session_id)))
    assert "The content of this session was erased" in told
    assert "The cart cannot be shown" in told
    assert "Session ended" in told
    assert "was erased" in text(reader, url("version_at", ended.session_id, 2))
    assert "was erased" in text(reader, url("conversation", ended.session_id))
    assert "Session opened" in text(reader, url("versions", ended.session_id))
    assert reader.get(url("artifact", ended.session_id)).status_code == 200


def test_a_damaged_session_says_what_is_wrong_and_shows_the_rest(reader: Client, live: OpenedSession) -> None:
    tamper = Tamper(live.session_id)
    tamper.version(4, patch=flipped(tamper.versions.get(number=4).patch))
    services.record_event(live.session_id, kind="cart.viewed")
    from agent_sessions.selectors import _cache

    _cache.local.clear()
    for page in ("change", "versions"):
        told = words(text(reader, url(page, live.session_id)))
        assert "This session is damaged" in told
        assert "version.patch 4 does not open" in told
    assert "Cart looked at" in words(text(reader, url("events", live.session_id)))
    assert "damaged" in text(reader, url("version_at", live.session_id, 4))
    assert "Changed nothing" not in words(text(reader, url("version_at", live.session_id, 4)))


def test_an_unreadable_event_says_so(reader: Client, live: OpenedSession) -> None:
    Tamper(live.session_id).event(3, canonical=b"{not json")
    for page in ("change", "events"):
        assert "cannot be read" in words(text(reader, url(page, live.session_id)))
    Tamper(live.session_id).event(3, canonical=b'["a list"]')
    assert "Unreadable event" in words(text(reader, url("events", live.session_id)))


def test_a_missing_master_key_says_so(reader: Client, shopped: OpenedSession, configure: Callable[..., None]) -> None:
    configure(MASTER_KEYS={"other": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="})
    from agent_sessions.selectors import _cache

    _cache.local.clear()
    assert "The content cannot be opened now" in text(reader, url("change", shopped.session_id))


def test_a_live_session_has_no_artifact_yet(staff: Client, shopped: OpenedSession) -> None:
    assert url("artifact", shopped.session_id) not in text(staff, url("change", shopped.session_id))
    assert "There is no artifact yet" in text(staff, url("artifact", shopped.session_id), 409)
    services.end_session(shopped.session_id, reason=EndReason.COMPLETED)
    assert url("artifact", shopped.session_id) in text(staff, url("change", shopped.session_id))


def test_an_empty_line_after_removal_reads_as_removed(staff: Client, shopped: OpenedSession) -> None:
    services.change_session(shopped.session_id, expected_version=4, patch=basket(l1=None))
    told = words(text(staff, url("version_at", shopped.session_id, 5)))
    assert "Removed 2 × Blue mug" in told


@pytest.mark.parametrize(("django_version", "element"), [((5, 2, 0), "div"), ((6, 1, 0), "ol")])
def test_breadcrumbs_lead_back(
    staff: Client,
    shopped: OpenedSession,
    monkeypatch: pytest.MonkeyPatch,
    django_version: tuple[int, int, int],
    element: str,
) -> None:
    """Each page says the way to it, in the markup that the admin of this Django has styles for."""
    monkeypatch.setattr("django.VERSION", django_version)
    above = [
        ("Home", "/admin/"),
        ("Agent sessions", "/admin/agent_sessions/"),
        ("Agent sessions", url("changelist")),
    ]
    short, overview = str(shopped.session_id)[:13], url("change", shopped.session_id)
    exporter = person("eve", "view_session", "export_session_evidence")
    ways: dict[str, tuple[Client, list[tuple[str, str]]]] = {
        overview: (staff, [(short, "")]),
        url("timeline", shopped.session_id): (staff, [(short, overview), ("Timeline", "")]),
        url("version_at", shopped.session_id, 2): (
            staff,
            [(short, overview), ("Versions", url("versions", shopped.session_id)), ("Version 2", "")],
        ),
        url("dashboard"): (staff, [("Overview", "")]),
        url("export"): (exporter, [("Export evidence", "")]),
    }
    for address, (client, below) in ways.items():
        page = text(client, address)
        crumbs = page.split(f'<{element} class="breadcrumbs">')[1].split(f"</{element}>")[0]
        links = [(html.unescape(name), place) for place, name in re.findall(r'<a href="([^"]+)">([^<]+)</a>', crumbs)]
        assert links == [*above, *below[:-1]], address
        last = re.split(r"</a>", crumbs)[-1]
        assert re.sub(r"<[^>]+>|›|&rsaquo;", "", last).strip() == below[-1][0], address
        assert crumbs.count("<li") == crumbs.count("</li>") == (len(links) + 1 if element == "ol" else 0)
        assert crumbs.count('<li aria-current="page">') == (element == "ol")
