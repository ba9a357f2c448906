"""Every page of a session that was erased, closed, damaged, or cannot be read opens and says why (A5, R5)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from agent_sessions import services
from agent_sessions.admin.routes import PAGES
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import Session, SessionKey, SessionVersion
from agent_sessions.selectors import _cache, verify_session
from agent_sessions.services import OpenedSession
from tests.admin.conftest import person, url
from tests.admin.test_erased import purge
from tests.shopping import line
from tests.tampering import Tamper, flipped, guards_off

pytestmark = pytest.mark.django_db
_APART = ("at", "act", "artifact", "live", "reveal")
SHOWN = [page for page in PAGES if "approval_id" not in page.route and page.name not in _APART]
"""Pages that show something of every session: not what leads on, downloads, or is about one approval."""


def _closed(one: OpenedSession) -> None:
    Tamper(one.session_id).session(merchant="elsewhere")
    assert services.quarantine_damaged(verify_session(one.session_id))


def _without_content(one: OpenedSession) -> None:
    services.end_session(one.session_id, reason=EndReason.COMPLETED)
    purge(one, "content", "decision_log")


def _without_people(one: OpenedSession) -> None:
    services.end_session(one.session_id, reason=EndReason.COMPLETED)
    purge(one, "personal", "personal")


def _damaged_version(one: OpenedSession) -> None:
    tamper = Tamper(one.session_id)
    tamper.version(2, patch=flipped(tamper.versions.get(number=2).patch))


def _damaged_event(one: OpenedSession) -> None:
    Tamper(one.session_id).event(3, canonical=b"{not json")


def _no_events(one: OpenedSession) -> None:
    Tamper(one.session_id).delete(Tamper(one.session_id).events)


def _no_versions(one: OpenedSession) -> None:
    Tamper(one.session_id).delete(Tamper(one.session_id).versions)


def _no_key(one: OpenedSession) -> None:
    SessionKey.objects.filter(pk=one.session_id).delete()


def _altered_key(one: OpenedSession) -> None:
    key = SessionKey.objects.get(pk=one.session_id)
    SessionKey.objects.filter(pk=one.session_id).update(wrapped=flipped(key.wrapped))


def _lost_master_key(one: OpenedSession) -> None:
    SessionKey.objects.filter(pk=one.session_id).update(master_key_id="lost")


def _newer_schema(one: OpenedSession) -> None:
    Session.objects.filter(pk=one.session_id).update(schema=999)
    with guards_off(SessionVersion._meta.db_table):
        SessionVersion.objects.filter(session_id=one.session_id).update(schema=999)


STATES: dict[str, tuple[Callable[[OpenedSession], None], str]] = {
    "quarantined": (_closed, "This session is quarantined"),
    "content erased": (_without_content, "The content of this session was erased"),
    "personal erased": (_without_people, "What this session said of people was erased"),
    "damaged version": (_damaged_version, "damaged"),
    "damaged event": (_damaged_event, ""),
    "no events": (_no_events, ""),
    "no versions": (_no_versions, "damaged"),
    "no data key": (_no_key, "erased"),
    "altered data key": (_altered_key, ""),
    "lost master key": (_lost_master_key, "The content cannot be opened now"),
    "newer schema": (_newer_schema, "This installation is too old for this session"),
}
OF_CONTENT = ("change", "version_at")
"""Pages that cannot be shown whole without the content, and say so whatever is wrong with it."""
TELL_ALL = ("quarantined", "content erased", "personal erased")
"""States of the session itself, which every page of it says."""


@pytest.fixture
def everything(db: None) -> Client:
    """Somebody who may see all there is."""
    return person(
        "eva", "view_session", "view_session_content", "view_session_evidence", "export_session_evidence",
        "decide_approval",
    )  # fmt: skip


@pytest.fixture
def troubled(request: Any, clock: Any, shopped: OpenedSession) -> OpenedSession:
    STATES[request.param][0](shopped)
    _cache.local.clear()
    return shopped


@pytest.mark.parametrize("troubled", STATES, indirect=True)
@pytest.mark.parametrize("page", SHOWN, ids=[page.name for page in SHOWN])
def test_every_page_opens(everything: Client, troubled: OpenedSession, page: Any, request: Any) -> None:
    state = request.node.callspec.params["troubled"]
    args = (troubled.session_id, 2) if "number" in page.route else (troubled.session_id,)
    response = everything.get(url(page.name, *args))
    assert response.status_code in (200, 409), response.status_code
    told = _words(response.content.decode())
    if state in TELL_ALL or page.name in OF_CONTENT:
        assert STATES[state][1] in told, told
    assert str(troubled.session_id)[:13] in told


@pytest.mark.parametrize("troubled", ["no events", "no versions"], indirect=True)
def test_a_history_whose_end_is_gone_takes_nothing_more_and_is_closed(troubled: OpenedSession) -> None:
    ender, form = person("endo", "view_session", "end_session"), {"version": "4", "reason": "She called"}
    answer = ender.post(url("act", troubled.session_id, "end"), form)
    assert "is damaged: the end of its history is missing" in _words(answer.content.decode())
    assert Session.objects.get(pk=troubled.session_id).status == "quarantined"


@pytest.mark.parametrize("troubled", STATES, indirect=True)
def test_the_proof_says_what_is_left_of_the_chain(everything: Client, troubled: OpenedSession, request: Any) -> None:
    state = request.node.callspec.params["troubled"]
    told = _words(everything.get(url("proof", troubled.session_id)).content.decode())
    assert ("The chain is broken" in told) == (state in ("damaged event", "no events"))
    checked = _words(everything.get(url("proof", troubled.session_id) + "?content=1").content.decode())
    sound = ("content erased", "personal erased")
    assert ("Something is wrong" in checked) == (state not in (*sound, "lost master key", "newer schema"))
    if state in sound:
        assert "What was erased cannot be compared any more" in checked


def _words(page: str) -> str:
    own = page.split('id="content-main"')[0].split("<h1")[-1] + page.split('id="content-main"')[1].split("<footer")[0]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", own)))


def test_hostile_words_in_what_is_stored_stay_words(everything: Client, opened: Any) -> None:
    hostile = "<script>alert(1)</script>"
    one = opened(parent_request="req<b>", merchant=hostile)
    patch = {"shopping": {"lines": {"l1": line(title=hostile)}}}
    services.change_session(one.session_id, expected_version=1, patch=patch)
    page = everything.get(url("proof", one.session_id)).content.decode()
    assert "<script>alert" not in page
