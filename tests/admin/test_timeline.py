"""The timeline of a session in the admin, and its picture (O1)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.admin.pictures import Picture, picture_of
from agent_sessions.audit.events import event_hash
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent
from agent_sessions.selectors.outline import Cell, Gap, Outline, Turning
from agent_sessions.services import OpenedSession
from tests.admin.conftest import SECRET, person, reveal, text, url
from tests.admin.test_pages import words
from tests.buying import REASON, Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.shopping import line
from tests.store.calling import counting, shop
from tests.tampering import Tamper

__all__ = ["counting", "shop"]
pytestmark = pytest.mark.django_db
NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def shown(client: Client, one: Bought | OpenedSession, query: str = "") -> str:
    return text(client, url("timeline", one.session_id) + query)


def entries(page: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'id="e(\d+)"', page)]


def test_the_story_says_who_did_what_how_long_it_took_and_what_changed(staff: Client, bought: Bought) -> None:
    page = shown(staff, bought)
    told = words(page)
    assert entries(page) == list(range(1, 15))
    for said in (
        "Item put in the cart by Agent · POST cart.add · took 0 ms · version 2", "Added 2 × Mug at 12.50 EUR",
        "Approval granted by Shopper", "Answered 2 min after it was asked, 1 min after it was first seen.",
        "Request refused refused by large-orders, 403", "1 min later", "Payment card succeeded",
    ):  # fmt: skip
        assert said in told
    assert told.count("2 min later") == 2


def test_a_declined_payment_stands_out_though_its_event_says_nothing_of_it(staff: Client, bought: Bought) -> None:
    page = shown(staff, bought)
    wrong = re.findall(r'class="ags-event[^"]*ags-went-wrong" id="e(\d+)"', page)
    assert wrong == ["5", "11"]


def test_what_was_said_is_masked_until_it_is_revealed(reader: Client, bought: Bought) -> None:
    """A9: notes, reasons and messages."""
    sealed = words(shown(reader, bought))
    reveal(reader, bought.session_id, "words", "agent")
    opened = words(shown(reader, bought))
    for said in (REASON, "She said so", "Mrs Brown"):
        assert said not in sealed
        assert said in opened


def test_messages_show_who_wrote_and_once_revealed_what(staff: Client, reader: Client, shopped: OpenedSession) -> None:
    assert "Shopper wrote by Agent masked Who can reveal it" in words(shown(staff, shopped))
    assert "Shopper wrote by Agent masked Reveal it" in words(shown(reader, shopped))
    reveal(reader, shopped.session_id, "words")
    assert "Shopper wrote by Agent It is for my mother" in words(shown(reader, shopped))
    assert SECRET not in shown(staff, shopped)


def test_events_of_a_call_stand_together(staff: Client, bought: Bought) -> None:
    groups = re.findall(r'<li class="ags-group ags-call-of.*?</li>\s*(?=<li|</ol>)', shown(staff, bought), re.DOTALL)
    assert [entries(group) for group in groups] == [[8, 9]]


def test_chips_count_and_narrow_and_take_the_narrowing_off_again(staff: Client, bought: Bought) -> None:
    page = shown(staff, bought)
    assert "Decisions 4" in words(page)
    assert "Refused or failed 1" in words(page)
    narrowed = shown(staff, bought, "?family=decision&actor=agent")
    assert entries(narrowed) == [5, 6, 9]
    assert 'href="?actor=agent" class="ags-of-decision" aria-current="true"' in narrowed
    assert 'href="?family=decision" aria-current="true"' in narrowed
    assert entries(shown(staff, bought, "?failed=1")) == [5]
    assert "Nothing of this kind happened" in words(shown(staff, bought, "?family=privacy"))


@pytest.mark.parametrize(
    "query", ["?family=x", "?actor=%00", "?before=x", "?after=99999999999", "?failed=2", "?before=0"]
)
def test_a_choice_that_is_none_shows_a_page(staff: Client, shopped: OpenedSession, query: str) -> None:
    assert "What happened" in shown(staff, shopped, query)


def test_a_long_story_comes_in_pages_that_link_to_one_another(
    staff: Client, bought: Bought, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_sessions.admin.timeline.SHOWN", 5)
    seen: list[int] = []
    page = shown(staff, bought)
    while True:
        seen = entries(page) + seen
        earlier = re.search(r'rel="prev" href="([^"]*)"', page)
        if earlier is None:
            break
        page = shown(staff, bought, html.unescape(earlier[1]))
    assert seen == list(range(1, 15))
    later = re.search(r'rel="next" href="([^"]*)"', page)
    assert later is not None
    assert entries(shown(staff, bought, html.unescape(later[1])))[0] == entries(page)[-1] + 1


def record(page: str, seq: int) -> str:
    found = re.search(rf'<article[^>]* id="e{seq}".*?(<details class="ags-record">.*?</details>)', page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def test_an_entry_opens_to_the_event_as_it_was_recorded(reader: Client, bought: Bought) -> None:
    """The whole document, with the hashes that chain it; what is private is a fingerprint there, revealed or not."""
    documents: list[Any] = selectors.events(bought.session_id)
    hashes = [event_hash(canonical_bytes(one)) for one in documents]
    reveal(reader, bought.session_id)
    page = shown(reader, bought)
    for document, before in zip(documents[1:], hashes, strict=False):
        told = record(page, document["seq"])
        assert json.loads(told.split("<pre>")[1].split("</pre>")[0]) == document
        assert f"Hash of the event before</dt><dd><code>{before}</code>" in told
        assert f"<dt>Answered</dt><dd>{document['response_status']}</dd>" in told
        assert f"<code>{document['kind']}</code>" in told
        assert f'href="?after=0#e{document["seq"]}"' in told
        for private in (REASON, "She said so", "Mrs Brown"):
            assert private not in told
    assert [f"<dt>Hash</dt><dd><code>{one}</code>" in record(page, seq) for seq, one in enumerate(hashes, 1)] == [
        True
    ] * 14
    assert "none, it is the first" in record(page, 1)
    assert any("private" in one for one in documents), "there was something to keep"


def test_a_link_to_an_event_leads_to_the_page_that_has_it_in_the_usual_order(
    staff: Client, bought: Bought, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_sessions.admin.timeline.SHOWN", 5)
    pages = ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14])
    links: dict[int, str] = {}
    for start in range(0, 14, 5):
        page = shown(staff, bought, f"?after={start}")
        links |= {int(seq): query for query, seq in re.findall(r'<a href="(\?after=\d+)#e(\d+)" title=', page)}
    assert sorted(links) == list(range(1, 15))
    for seq, query in links.items():
        page = shown(staff, bought, query)
        assert entries(page) == next(numbers for numbers in pages if seq in numbers)
        assert f'id="e{seq}"' in page, "where the browser goes, and what it marks"
    version = text(staff, url("version_at", bought.session_id, 5))
    there = re.search(r'href="([^"#]+)#e(\d+)">Event (\d+) in the timeline', version)
    assert there is not None
    assert (there[1], there[2]) == (url("timeline", bought.session_id) + links[int(there[3])], there[3])
    drawn = shown(staff, bought).split("<svg class=")[1].split("</figure>")[0]
    dots = re.findall(r'<a href="(\?after=\d+)#e(\d+)" class="ags-dot', drawn)
    assert dots
    assert all(links[int(seq)] == query for query, seq in dots)


def test_the_page_costs_the_same_however_long_the_history(
    reader: Client, shopped: OpenedSession, configure: Callable[..., None]
) -> None:
    configure(SNAPSHOT_EVERY=8)
    counts = []
    for first in (4, 64):
        for number in range(first, first + 60):
            services.change_session(shopped.session_id, expected_version=number, patch={"agent": {"n": number}})
        services.add_message(shopped.session_id, role="user", content="And?")
        reveal(reader, shopped.session_id)
        with CaptureQueriesContext(connection) as queries:
            shown(reader, shopped)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20


def test_hostile_text_is_text(reader: Client, opened: Callable[..., OpenedSession]) -> None:
    hostile = "<script>alert(1)</script>\u202e" + "x" * 100_000
    one = opened(agent=Agent("<script>alert(1)</script>"), purpose=hostile[:900])
    services.change_session(
        one.session_id, expected_version=1, patch={"shopping": {"lines": {"l": line(title=hostile)}}},
        note=hostile[:900],
        call=Call("cart.add", "POST", params={"<script>alert(1)</script>": "<script>alert(1)</script>"}),
    )  # fmt: skip
    services.add_message(one.session_id, role="user", content=hostile[:60_000])
    reveal(reader, one.session_id)
    page = shown(reader, one)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert len(page) < 60_000


def test_the_page_carries_nothing_inline(staff: Client, shopped: OpenedSession) -> None:
    page = shown(staff, shopped)
    assert " style=" not in page.split('id="content-main"')[1]
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", page)


def test_who_may_not_see_sessions_sees_no_timeline(client: Client, shopped: OpenedSession) -> None:
    address = url("timeline", shopped.session_id)
    assert client.get(address).status_code == 302
    assert person("no").get(address).status_code == 403
    assert person("odd", "view_session_content").get(address).status_code == 403
    assert person("sue", "view_session").post(address).status_code == 405


def test_a_quarantined_and_a_damaged_session_still_tell_their_story(
    reader: Client, quarantined: OpenedSession, opened: Callable[..., OpenedSession]
) -> None:
    assert "This session is quarantined" in words(shown(reader, quarantined))
    assert "Session opened" in words(shown(reader, quarantined))
    other = opened()
    services.record_event(other.session_id, kind="cart.viewed")
    Tamper(other.session_id).event(2, canonical=b"{not json")
    page = shown(reader, other)
    assert "The event itself cannot be read" in words(page)
    assert event_hash(b"{not json") in record(page, 2)
    assert "<pre>" not in record(page, 2)


def test_the_picture_leads_to_the_entries_and_says_itself_in_words(staff: Client, bought: Bought) -> None:
    page = shown(staff, bought)
    told = words(page)
    assert "14 events in 13 min, 1 refused or failed" in told
    assert "Waiting for approval 2 min" in told
    drawn = page.split("<svg class=")[1].split("</figure>")[0]
    for seq in re.findall(r'<a href="\?after=\d+#e(\d+)" class="ags-dot', drawn):
        assert f'id="e{seq}"' in page
    assert drawn.count('class="ags-wrong"') == 1


def outlined(*cells: Cell, gaps: tuple[Gap, ...] = (), turnings: tuple[Turning, ...] = ()) -> Picture:
    whole = Outline(cells[0].first_at, cells[-1].last_at, cells, gaps, turnings, False)
    return picture_of(whole, until=None, link=lambda seq, version: f"{seq}/{version}")


def cell(seq: int, seconds: float, family: str = "shopping", version: int | None = None) -> Cell:
    at = NINE + timedelta(seconds=seconds)
    return Cell(family, False, 1, seq, at, at, version, "cart.viewed")


def test_a_long_idle_time_is_folded_so_that_the_rest_has_room() -> None:
    gap = Gap(3, NINE + timedelta(seconds=10), NINE + timedelta(hours=5))
    drawn = outlined(cell(1, 0), cell(2, 10), cell(3, 18000), cell(4, 18010), gaps=(gap,))
    at = [float(mark.x.rstrip("%")) for mark in drawn.marks]
    assert [fold.name for fold in drawn.folds] == ["4 h 59 min"]
    assert at[1] - at[0] > 40
    assert at[2] - at[1] < 6
    assert at == sorted(at)


def test_marks_that_would_lie_upon_one_another_are_one() -> None:
    drawn = outlined(*(cell(seq, seq / 1000) for seq in range(1, 40)), cell(40, 1000))
    assert [mark.told.startswith("39 events") for mark in drawn.marks] == [True, False]


def test_events_of_one_moment_are_drawn_too() -> None:
    assert [mark.x for mark in outlined(cell(1, 0), cell(2, 0, "stock")).marks] == ["50.00%", "50.00%"]


def test_phases_follow_one_another_and_what_interrupts_is_drawn() -> None:
    def turn(seq: int, kind: str) -> Turning:
        return Turning(seq, NINE + timedelta(minutes=seq), kind, seq)

    turnings = (
        turn(1, "approval.requested"), turn(2, "session.paused"), turn(3, "session.resumed"),
        turn(4, "approval.granted"), turn(5, "checkout.handed_over"), turn(6, "session.ended"),
    )  # fmt: skip
    drawn = outlined(cell(1, 0), cell(6, 360), turnings=turnings)
    assert [(bar.phase, bar.href) for bar in drawn.bars] == [
        ("shopping", "1/1"), ("waiting", "1/1"), ("paused", "2/2"), ("waiting", "3/3"), ("shopping", "4/4"),
        ("checkout", "5/5"), ("ended", "6/6"),
    ]  # fmt: skip
    assert ("waiting", "Waiting for approval", "2 min") in drawn.legend


def test_a_bar_is_named_only_if_its_name_fits() -> None:
    def named(asked: float) -> dict[str, bool]:
        turnings = tuple(
            Turning(seq, NINE + timedelta(seconds=seconds), kind, seq)
            for seq, seconds, kind in ((1, 0, "approval.requested"), (2, asked, "approval.granted"))
        )
        return {bar.phase: bar.roomy for bar in outlined(cell(1, 0), cell(2, 100), turnings=turnings).bars}

    assert named(16) == {"waiting": False, "shopping": True}
    assert named(30) == {"waiting": True, "shopping": True}
    assert named(92) == {"waiting": True, "shopping": False}


def test_a_mark_knows_the_version_that_held() -> None:
    drawn = outlined(cell(1, 0, version=1), cell(2, 100, "stock"), cell(3, 200, version=2))
    assert sorted(mark.href for mark in drawn.marks) == ["1/1", "2/1", "3/2"]
