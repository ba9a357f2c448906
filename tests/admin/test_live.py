"""What a running session's page asks for so as to follow along, and which pages do."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.models import Session
from agent_sessions.services import OpenedSession
from tests.admin.conftest import person, text, url
from tests.shopping import variables

pytestmark = pytest.mark.django_db


def asks(client: Client, one: OpenedSession, etag: str = "", **known: int) -> Any:
    headers = {"If-None-Match": etag} if etag else {}
    return client.get(url("live", one.session_id), known, headers=headers)


def etag_of(client: Client, page: str) -> str:
    (found,) = re.findall(r'data-etag="&quot;(.*?)&quot;"', text(client, page))
    return f'"{found}"'


def test_nothing_new_is_one_query_and_no_body(staff: Client, shopped: OpenedSession) -> None:
    etag = etag_of(staff, url("change", shopped.session_id))
    with CaptureQueriesContext(connection) as queries:
        response = asks(staff, shopped, etag, seq=7, version=4)
    assert (response.status_code, response.content) == (304, b"")
    assert len([query for query in queries if "agent_sessions_" in query["sql"]]) == 1
    assert asks(staff, shopped, f"W/{etag}").status_code == 304


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (1, "1 new event"), (3, "3 new events")], ids=["none", "one", "three"]
)
def test_what_is_new_is_said(staff: Client, shopped: OpenedSession, count: int, said: str) -> None:
    etag = etag_of(staff, url("timeline", shopped.session_id))
    for _ in range(count):
        services.record_event(shopped.session_id, kind="cart.viewed")
    services.record_event(shopped.session_id, kind="cart.viewed")
    response = asks(staff, shopped, etag, seq=8, version=4)
    assert response.json() == {"seq": 8 + count, "version": 4, "said": said, "version_said": "", "over": ""}
    assert asks(staff, shopped, response.headers["ETag"]).status_code == 304


def test_a_new_version_and_the_end_are_said(staff: Client, shopped: OpenedSession) -> None:
    services.change_session(shopped.session_id, expected_version=4, patch=variables(n=1))
    assert asks(staff, shopped, version=4).json()["version_said"] == "There is version 5 now"
    etag = asks(staff, shopped).headers["ETag"]
    Session.objects.filter(pk=shopped.session_id).update(status="quarantined")
    assert "found damaged" in asks(staff, shopped, etag).json()["over"]
    Session.objects.filter(pk=shopped.session_id).update(status="active")
    services.end_session(shopped.session_id)
    assert "has ended" in asks(staff, shopped, etag).json()["over"]


@pytest.mark.parametrize("known", [{}, {"seq": "x"}, {"seq": "-1"}, {"seq": "9" * 30}])
def test_a_number_that_is_none_counts_from_the_beginning(
    staff: Client, shopped: OpenedSession, known: dict[str, str]
) -> None:
    assert staff.get(url("live", shopped.session_id), known).json()["said"] == "7 new events"


def test_only_who_may_see_sessions_is_told(client: Client, staff: Client, shopped: OpenedSession) -> None:
    etag = asks(staff, shopped).headers["ETag"]
    assert asks(client, shopped, etag).status_code == 302
    assert asks(person("pat", "view_session_content"), shopped, etag).status_code == 403
    assert staff.post(url("live", shopped.session_id)).status_code == 405
    assert staff.get(url("live", uuid.uuid4())).status_code == 404


def test_only_pages_that_show_now_follow(
    staff: Client, shopped: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follows(page: str, *args: object, query: str = "") -> str:
        shown = text(staff, url(page, shopped.session_id, *args) + query)
        assert ("agent_sessions/live.js" in shown) == ('id="ags-live"' in shown)
        return "".join(re.findall(r'data-way="(\w*)"', shown))

    assert follows("change") == "view"
    assert follows("timeline") == "story"
    assert follows("version_at", 4) == "version"
    for page, *args in (("version_at", 3), ("versions",), ("events",), ("conversation",), ("approvals",), ("proof",)):
        assert follows(str(page), *args) == ""
    monkeypatch.setattr("agent_sessions.admin.timeline.SHOWN", 3)
    assert follows("timeline") == "story"
    assert follows("timeline", query="?after=0") == ""
    narrowed = text(staff, url("timeline", shopped.session_id) + "?family=shopping")
    assert f'data-page="{url("timeline", shopped.session_id)}?family=shopping"' in narrowed
    services.end_session(shopped.session_id)
    for page, *args in (("change",), ("timeline",), ("version_at", 5)):
        assert follows(str(page), *args) == ""


def test_the_latest_version_leads_on_to_the_one_after(staff: Client, shopped: OpenedSession) -> None:
    page = text(staff, url("version_at", shopped.session_id, 4) + "?compare=2")
    (address,) = re.findall(r'data-page="(.*?)"', page)
    services.change_session(shopped.session_id, expected_version=4, patch=variables(n=1))
    response = staff.get(address.replace("&amp;", "&"))
    assert response.headers["Location"] == url("version_at", shopped.session_id, 5) + "?compare=2"


@pytest.mark.parametrize("page", ["change", "timeline"])
def test_what_is_exchanged_has_the_same_names_on_every_page_of_now(
    staff: Client, opened: Callable[..., OpenedSession], shopped: OpenedSession, page: str
) -> None:
    names = [
        re.findall(r'data-live="(\w+)"', text(staff, url(page, one.session_id))) for one in (opened(), shopped)
    ]  # fmt: skip
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])
