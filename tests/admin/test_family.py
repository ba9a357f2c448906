"""A session's family, errand and devices, drawn and in words (L2 to L4, C2, T6)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.models import Session
from agent_sessions.selectors import read_head, relations
from agent_sessions.selectors.relations import relations_of
from agent_sessions.services import OpenedSession
from tests.admin.conftest import text, url
from tests.services.succeeding import renew

pytestmark = pytest.mark.django_db
Opens = Callable[..., OpenedSession]


def family(client: Client, one: OpenedSession) -> str:
    page = text(client, url("change", one.session_id))
    return page.partition('<h2 id="ags-family">')[2].partition("</section>")[0]


def rows(part: str) -> list[str]:
    """The words of each row, one after another."""
    found = part.split('<div class="ags-relative')[1:]
    return [html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", row.partition(">")[2]))).strip() for row in found]


def links(part: str) -> list[str]:
    return re.findall(r'<p><a href="\.\./([^/]*)/"', part)


def test_who_stands_alone_has_no_family(staff: Client, opened: Opens) -> None:
    opened(consumer="another")
    assert family(staff, opened(consumer="pseudonym-1", parent_request="req-1")) == ""


def test_the_graph_says_how_each_came_and_marks_the_present_one(staff: Client, opened: Opens, clock: Any) -> None:
    one = opened()
    clock.shift(1)
    branch = services.fork_session(one.session_id)
    clock.shift(1)
    again = renew(one).opened
    clock.shift(1)
    given = services.grant_transfer(again.session_id, actor=Actor("consumer"))
    taken = services.accept_transfer(given.code, agent=Agent("<b>Wine expert")).opened

    part = family(staff, again)
    told = rows(part)
    assert [str(made.session_id)[:13] in row for made, row in zip((one, branch, again, taken), told, strict=True)]
    assert links(part) == [str(made.session_id) for made in (one, branch, taken)]
    assert ["this session" in row for row in told] == [False, False, True, False]
    for said, row in zip(
        ("ended", "Branch from version 1", "Renewal from version 1", "<b>Wine expert"), told, strict=True
    ):
        assert said in row
    assert "Taken over from version" in told[3]
    assert f'href="../{one.session_id}/at/1/"' in part
    assert "<b>" not in part
    assert len(re.findall(r"<circle class=\"ags-knot", part)) == 4
    assert part.count('class="ags-by-fork"') == part.count('class="ags-by-transfer"') == 2
    assert " style=" not in part


def test_a_parent_that_is_not_stored_any_more_says_so(staff: Client, opened: Opens) -> None:
    one = opened()
    branch, other = services.fork_session(one.session_id), services.fork_session(one.session_id)
    Session.objects.filter(pk=one.session_id).update(merchant="another")
    (first, second) = rows(family(staff, branch))
    for row in (first, second):
        assert "Branch of a session that is no longer stored here, version 1" in row
    assert links(family(staff, branch)) == [str(other.session_id)]


def test_a_ring_of_damaged_rows_is_shown_all_the_same(staff: Client, opened: Opens) -> None:
    one = opened()
    branch = services.fork_session(one.session_id)
    Session.objects.filter(pk=one.session_id).update(parent=branch.session_id, parent_version=1, origin="fork")
    assert len(rows(family(staff, one))) == 2


def test_the_errand_and_other_devices(staff: Client, opened: Opens) -> None:
    one = opened(consumer="pseudonym-1", parent_request="req-77")
    wine = opened(parent_request="req-77", merchant="wine.example", agent=Agent("Sommelier"))
    phone = renew(opened(consumer="pseudonym-1", agent=Agent("Phone"))).opened
    gone = opened(consumer="pseudonym-1")
    services.end_session(gone.session_id)
    opened(consumer="another", parent_request="req-78")

    part = family(staff, one)
    told = rows(part)
    assert told[0].startswith("Parent request req-77")
    assert "this session" in told[1]
    assert "at wine.example" in told[2]
    assert "Sommelier" in told[2]
    assert told[3].startswith("The same shopper, now on other devices")
    assert "Renewal from version 1" in told[4]
    assert "Phone" in told[4]
    assert not re.search(r'class="ags-by-(?!common)', part)
    assert len(told) == 5
    assert links(part) == [str(wine.session_id), str(phone.session_id)]
    for query in ("?parent_request=req-77", "?consumer=pseudonym-1"):
        assert f'{url("changelist")}{query}"' in part


def test_a_deep_family_leaves_its_words_room(staff: Client, opened: Opens, configure: Any) -> None:
    configure(MAX_SESSIONS_PER_CALLER=None)
    one = opened()
    for _ in range(15):
        one = services.fork_session(one.session_id)
    part = family(staff, one)
    assert len(rows(part)) == 16
    assert {int(width) for width in re.findall(r'<svg[^>]* width="(\d+)"', part)} == {144}
    assert max(int(x) for x in re.findall(r' cx="(\d+)"', part)) == 132


def test_of_many_the_nearest_are_shown_and_the_rest_listed(
    staff: Client, opened: Opens, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(MAX_SESSIONS_PER_CALLER=None)
    one = opened()
    family(staff, one)
    with CaptureQueriesContext(connection) as few:
        text(staff, url("change", one.session_id))
    branches = [services.fork_session(one.session_id) for _ in range(30)]
    with CaptureQueriesContext(connection) as many:
        part = family(staff, one)
    assert len(many) <= len(few)
    assert len(rows(part)) == 16
    assert "15 more came from it" in part
    assert "15 more of this family are not shown." in html.unescape(part)
    (address,) = re.findall(r'href="([^"]*\?family=[^"]*)"', part)
    listed = text(staff, address)
    assert all(str(made.session_id) in listed for made in (one, branches[0], branches[-1]))
    assert len(rows(family(staff, branches[3]))) == 16
    assert "No session matches" in text(staff, url("changelist") + "?family=x")

    monkeypatch.setattr(relations, "MOST_READ", 10)
    found = relations_of(read_head(branches[20].session_id))
    ids = [str(member.session_id) for member in found.family]
    assert found.clipped
    assert ids == [str(made.session_id) for made in branches[16:26]]
    assert "More of this family are not shown." in family(staff, branches[20])
