"""The overview of all sessions: what it counts, where its numbers lead, and what it costs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine as clocks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.admin.charts import Series, columns_chart, nice_step
from agent_sessions.admin.dashboard import edges_of
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import Approval, Session
from agent_sessions.selectors import activity
from agent_sessions.services import OpenedSession
from tests.admin.conftest import person, text, url
from tests.admin.test_finding import fail, refuse, stepping
from tests.admin.test_list import listed, order
from tests.admin.test_pages import words

__all__ = ["stepping"]
pytestmark = pytest.mark.django_db
Opens = Callable[..., OpenedSession]


def shown(client: Client, query: str = "") -> str:
    return text(client, url("dashboard") + query)


def figures(page: str) -> dict[str, str]:
    """The numbers on top by their names."""
    return {
        html.unescape(name): " ".join(re.sub(r"<[^>]+>", " ", value).split())
        for name, value in re.findall(r"<dt>([^<]+)</dt><dd>(.*?)</dd>", page)
    }


def test_it_counts_what_was_opened_ordered_and_failed(staff: Client, opened: Opens) -> None:
    order(opened(), "A-1")
    fail(opened(kind="quote"))
    ended = opened()
    services.end_session(ended.session_id, reason=EndReason.DELETED)
    opened()
    page = shown(staff)
    found = figures(page)
    assert found["Opened"] == "4"
    assert found["Led to an order"] == "1 25.0 %"
    assert found["With a failure"] == "1"
    told = words(page)
    for said in (
        "Ended without an order 1",
        "Active 2",
        "standard 3",
        "quote 1",
        "card_declined 1",
        "Checkout begun 1",
    ):
        assert said in told


def test_what_its_family_has_ordered_began_a_checkout_too(staff: Client, opened: Opens) -> None:
    first = opened()
    services.fork_session(first.session_id)
    order(first, "A-1")
    told = words(shown(staff))
    assert "Checkout begun 2" in told
    assert "Led to an order 2" in told


def test_numbers_lead_to_the_sessions_that_they_count(staff: Client, opened: Opens) -> None:
    bought, failed = opened(), opened(kind="quote")
    order(bought, "A-1")
    refuse(failed, "spend_cap")
    page = shown(staff)

    def behind(pattern: str) -> list[str]:
        found = re.search(pattern, page)
        assert found is not None
        return listed(staff, "?" + html.unescape(found[1]).partition("?")[2])

    assert behind(r'<a href="([^"]+)">Led to an order') == [str(bought.session_id)]
    assert behind(r'<a href="([^"]+)">quote') == [str(failed.session_id)]
    assert behind(r'<a href="([^"]+)">refused by spend_cap') == [str(failed.session_id)]
    assert behind(r'<dt>Opened</dt><dd><a href="([^"]+)"') == [str(failed.session_id), str(bought.session_id)]
    assert behind(r'<td class="ags-amount"><a href="([^"]+ordered=yes)">1') == [str(bought.session_id)]


@pytest.mark.parametrize(("period", "parts", "count"), [("day", 24, 1), ("week", 28, 2), ("month", 30, 3)])
def test_a_period_can_be_chosen(staff: Client, opened: Opens, period: str, parts: int, count: int) -> None:
    for days in (40, 20, 3):
        with clocks.travel(datetime.now(UTC) - timedelta(days=days), tick=False):
            opened()
    opened()
    page = shown(staff, f"?period={period}")
    assert figures(page)["Opened"] == str(count)
    assert page.count('class="ags-column"') == 2 * parts
    assert f'href="?period={period}" aria-current="page"' in page


def test_another_period_is_a_day(staff: Client) -> None:
    assert 'href="?period=day" aria-current="page"' in shown(staff, "?period=century")


def test_days_begin_at_the_viewers_midnight_also_where_the_clocks_are_set(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    edges = edges_of("month", datetime(2026, 4, 2, 23, 0, tzinfo=UTC))
    assert len(edges) == 31
    assert {edge.strftime("%H:%M") for edge in edges} == {"00:00"}
    assert edges[-1].isoformat() == "2026-04-04T00:00:00+02:00"
    assert min(later - edge for edge, later in pairwise(edges)) == timedelta(days=1)
    assert (edges[-1].astimezone(UTC) - edges[0].astimezone(UTC)) == timedelta(days=30, hours=-1)


def test_a_period_with_too_many_sessions_says_from_when_on_it_counts(
    staff: Client, opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        opened()
    assert "Only the newest" not in shown(staff)
    monkeypatch.setattr(activity, "MOST", 2)
    page = shown(staff)
    assert "Only the newest 2 sessions are counted" in page
    assert figures(page)["Opened"] == "2"


def test_failures_that_are_too_many_to_read_say_so(
    staff: Client, opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        refuse(opened(), f"rule-{number}")
    monkeypatch.setattr(activity, "MOST_ROWS", 2)
    page = shown(staff)
    assert figures(page)["With a failure"] == "2+"
    assert "There were too many to read" in page


def test_how_long_people_take_to_answer(staff: Client, opened: Opens) -> None:
    asked = datetime.now(UTC)
    for minutes, status in ((0.5, "granted"), (3, "rejected"), (10, "used"), (None, "expired"), (None, "escalated")):
        one = opened()
        Approval.objects.create(
            session_id=one.session_id, status=status, capability="checkout", version=1, fingerprint="", amount=1,
            currency="EUR", token_digest=one.session_id.bytes * 2, requested_at=asked,
            expires_at=asked + timedelta(minutes=30),
            decided_at=None if minutes is None else asked + timedelta(minutes=minutes),
        )  # fmt: skip
    page = shown(staff)
    assert figures(page)["Answer takes, median"] == "3 min"
    assert figures(page)["Waiting for a person"] == "1"
    told = words(page)
    assert "under 1 min 1 1 to 5 min 1 5 to 15 min 1 15 min to 1 h 0 over 1 h 0" in told
    assert "Nine in ten within 10 min; 1 rejected, 1 not answered in time." in told


def test_alarms_are_on_top_and_lead_to_what_is_quarantined(
    staff: Client, opened: Opens, clock: clocks.Traveller
) -> None:
    assert "Somebody has to look" not in shown(staff)
    damaged = opened()
    opened()
    Session.objects.filter(pk=damaged.session_id).update(
        status="quarantined", quarantined_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    clock.shift(timedelta(minutes=40))
    page = shown(staff)
    assert "1 quarantined" in words(page)
    assert "1 past the deadline and not ended by a job" in words(page)
    assert f'href="{url("changelist")}?status=quarantined"' in page


def test_the_backlog_of_the_purge_is_told_by_rule(staff: Client, opened: Opens) -> None:
    with clocks.travel(datetime.now(UTC) - timedelta(days=60), tick=False):
        old = opened()
        services.end_session(old.session_id, reason=EndReason.DELETED)
    assert re.search(r"personal personal 1 ", words(shown(staff)))


def test_without_a_session_it_says_so(staff: Client) -> None:
    told = words(shown(staff))
    for said in ("No session was opened in this time.", "Nothing failed in this time.", "Nobody has answered"):
        assert said in told


def test_it_costs_the_same_for_few_sessions_as_for_many(staff: Client, opened: Opens) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            shown(staff)
        return len(found)

    fail(opened())
    order(opened(), "A-0")
    one = queries()
    for number in range(1, 8):
        fail(opened())
        order(opened(consumer=f"c{number}"), f"A-{number}")
    assert queries() == one <= 20


def test_it_needs_the_permission_and_takes_no_form(staff: Client) -> None:
    assert person("no").get(url("dashboard")).status_code == 403
    assert Client().get(url("dashboard")).status_code == 302
    assert staff.post(url("dashboard")).status_code == 405
    assert f'<a href="{url("dashboard")}">Overview</a>' in text(staff, url("changelist"))


def test_hostile_names_are_text_and_nothing_is_inline(staff: Client, opened: Opens) -> None:
    refuse(opened(), "<script>alert(1)</script>")
    page = shown(staff)
    assert "<script>alert" not in page
    assert "refused by &lt;script&gt;" in page
    main = page.split('id="content-main"')[1]
    assert not re.search(r"\sstyle=|<style|<script|\son\w+=", main)


def test_columns_stand_upon_one_another_and_end_at_the_axis() -> None:
    series = [Series(name, name, 0, "", name) for name in ("a", "b")]
    chart = columns_chart(
        "", series, [("one", "", {"a": (10, ""), "b": (30, "")}), ("two", "", {"a": (0, ""), "b": (0, "")})]
    )
    first, second = chart.columns[0].segments
    assert (first.y + first.height, second.y + second.height) == (chart.bottom, first.y)
    assert second.height == 3 * first.height
    assert chart.columns[1].segments == ()
    assert chart.columns[0].told == "one: 40 (a 10, b 30)"


@pytest.mark.parametrize(("largest", "step"), [(0, 1), (5, 1), (6, 2), (24, 5), (26, 10), (100, 20), (4711, 1000)])
def test_lines_stand_at_round_numbers(largest: int, step: int) -> None:
    assert nice_step(largest) == step
