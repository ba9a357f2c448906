"""The list of sessions: what it shows, finds and costs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine as clocks
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.admin.sessions import SessionAdmin
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import CheckoutHandoff
from agent_sessions.selectors import read_head
from agent_sessions.services import OpenedSession
from agent_sessions.services.handoffs import complete_handoff, make_link
from tests.admin.conftest import text, url

pytestmark = pytest.mark.django_db


def listed(client: Client, query: str = "") -> list[str]:
    """The ids on the page, in its order."""
    page = text(client, url("changelist") + query)
    return re.findall(r'class="ags-id" title="([0-9a-f-]{36})"', page)


def order(session: OpenedSession, ref: str) -> None:
    with transaction.atomic():
        make_link(read_head(session.session_id), version=1)
    handoff = CheckoutHandoff.objects.get(session_id=session.session_id)
    complete_handoff(handoff.pk, version=1, order_ref=ref)


def test_it_shows_what_support_asks_for(
    staff: Client, opened: Callable[..., OpenedSession], clock: clocks.Traveller, settings: Any
) -> None:
    settings.TIME_ZONE = "UTC"
    session = opened(consumer="pseudonym-1", merchant="Fern")
    clock.shift(timedelta(minutes=18))
    page = text(staff, url("changelist"))
    for said in ("active", "12 min left", "Shopping helper", "version 2.1", "pseudonym-1"[:8], "Fern", "standard"):
        assert said in page
    assert url("change", session.session_id) in page
    assert 'title="2026-03-02 10:00:00 UTC">2 Mar, 10:00<' in page


def test_an_ended_session_says_how_it_ended_and_what_was_ordered(
    staff: Client, opened: Callable[..., OpenedSession]
) -> None:
    order(opened(), "FK-1042")
    page = text(staff, url("changelist"))
    assert "completed" in page
    assert "checked out" in page
    assert "order <code>FK-1042</code>" in page


def test_a_session_past_its_deadline_that_no_job_has_ended_yet_is_overdue(
    staff: Client, opened: Callable[..., OpenedSession], clock: clocks.Traveller
) -> None:
    opened()
    clock.shift(timedelta(minutes=31))
    page = text(staff, url("changelist"))
    assert "overdue" in page
    assert "left" not in re.sub(r"<[^>]*>", "", page.split('id="result_list"')[1].split("</table>")[0])


def test_times_are_in_the_viewers_zone(
    staff: Client, opened: Callable[..., OpenedSession], clock: clocks.Traveller, settings: Any
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    opened()
    assert 'title="2026-03-02 10:00:00 UTC">2 Mar, 19:00<' in text(staff, url("changelist"))


def test_the_newest_session_comes_first(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    with clocks.travel("2026-03-02T10:00:00Z") as clock:
        ids = []
        for _ in range(3):
            ids.append(str(opened().session_id))
            clock.shift(timedelta(seconds=1))
        assert listed(staff) == ids[::-1]
        assert listed(staff, "?o=3.-5") == ids[::-1]


def test_hostile_names_are_text(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    opened(agent=Agent(hostile, hostile), merchant="<i>m</i>")
    page = text(staff, url("changelist"))
    assert "<script>alert" not in page
    assert "<i>m" not in page
    assert html.escape(hostile) in page


def test_it_is_found_by_its_id_whole_or_in_part(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    with clocks.travel("2026-03-02T10:00:00Z", tick=False) as clock:
        one = str(opened().session_id)
        clock.shift(timedelta(hours=1))
        opened()
        for term in (one, one.upper(), one.replace("-", ""), one[:13], f" {one} "):
            assert listed(staff, f"?q={term}") == [one]


def test_it_is_found_by_order_parent_request_and_beginning_of_the_agents_name(
    staff: Client, opened: Callable[..., OpenedSession]
) -> None:
    by_order, by_request = opened(), opened(parent_request="req-77")
    by_name = opened(agent=Agent("Basil of Acme"))
    order(by_order, "FK-1042")
    assert listed(staff, "?q=FK-1042") == [str(by_order.session_id)]
    assert listed(staff, "?q=req-77") == [str(by_request.session_id)]
    assert listed(staff, "?q=Basil+of") == [str(by_name.session_id)]
    for term in ("FK-104", "req", "of Acme", "%", "_"):
        assert listed(staff, f"?q={term}") == []


def test_nothing_found_says_so(staff: Client) -> None:
    assert "No session matches" in text(staff, url("changelist") + "?q=nobody")


def test_filters_narrow_the_list(staff: Client, opened: Callable[..., OpenedSession], clock: clocks.Traveller) -> None:
    old = opened(consumer="one")
    services.end_session(old.session_id, reason=EndReason.DELETED)
    clock.shift(timedelta(hours=2))
    revoked, live = opened(consumer="one", merchant="Fern"), opened(parent_request="req-7")
    services.end_session(revoked.session_id, reason=EndReason.REVOKED, actor=Actor("staff", "1"))
    for query, found in {
        "status=active": {live},
        "status=ended": {old, revoked},
        "status=quarantined": set(),
        "end_reason=revoked": {revoked},
        "opened=hour": {revoked, live},
        "opened=day": {old, revoked, live},
        "kind=standard": {old, revoked, live},
        "consumer=one": {old, revoked},
        "consumer=one&merchant=Fern": {revoked},
        "parent_request=req-7": {live},
        "status=ended&opened=hour": {revoked},
        "status=nonsense": set(),
        "opened=nonsense": {old, revoked, live},
    }.items():
        assert set(listed(staff, f"?{query}")) == {str(one.session_id) for one in found}, query


def test_opened_in_the_past_hour_ends_at_the_hour(
    staff: Client, opened: Callable[..., OpenedSession], clock: clocks.Traveller
) -> None:
    opened()
    clock.shift(timedelta(minutes=60))
    assert len(listed(staff, "?opened=hour")) == 1
    clock.shift(timedelta(seconds=1))
    assert listed(staff, "?opened=hour") == []


def test_pages_lead_to_every_session_and_back(
    staff: Client, opened: Callable[..., OpenedSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionAdmin, "list_per_page", 2)
    with clocks.travel("2026-03-02T10:00:00Z") as clock:
        ids = []
        for _ in range(5):
            ids.insert(0, str(opened().session_id))
            clock.shift(timedelta(seconds=1))
    seen, address = [], url("changelist") + "?status=active"
    visited = [address]
    while True:
        page = text(staff, address)
        seen += re.findall(r'class="ags-id" title="([0-9a-f-]{36})"', page)
        older = re.search(r'href="([^"]*)">Older', page)
        if older is None:
            break
        assert "status=active" in older[1]
        address = url("changelist") + html.unescape(older[1])
        visited.append(address)
    assert seen == ids
    assert len(visited) == 3
    newer = re.search(r'href="([^"]*)">← Newer', page)
    assert newer is not None
    assert listed(staff, html.unescape(newer[1])) == ids[2:4]
    first = text(staff, visited[0])
    assert "Newer" not in first


@pytest.mark.parametrize("name", ["consumer", "merchant", "parent_request", "status", "agent", "kind", "failure"])
def test_what_no_text_can_have_in_it_is_no_error(staff: Client, name: str) -> None:
    answer = staff.get(url("changelist"), {name: "step:\0"})
    assert (answer.status_code, answer.headers["Location"]) == (302, url("changelist") + "?e=1")
    assert staff.get(answer.headers["Location"]).status_code == 200


def test_a_place_in_the_list_that_is_none_shows_the_newest(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    one = str(opened().session_id)
    for place in ("7", "x", "newer-x", "newer-"):
        assert listed(staff, f"?p={place}") == [one]


def test_the_list_costs_the_same_for_one_session_as_for_many_and_counts_none(
    staff: Client, opened: Callable[..., OpenedSession]
) -> None:
    order(opened(), "FK-1")
    with CaptureQueriesContext(
        connection,
    ) as few:
        text(staff, url("changelist"))
    for number in range(12):
        order(opened(consumer=f"c{number}"), f"FK-2{number}")
    with CaptureQueriesContext(connection) as many:
        text(staff, url("changelist"))
    assert len(many) == len(few) <= 10
    assert not any("COUNT(" in query["sql"].upper() for query in many)
