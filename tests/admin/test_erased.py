"""What staff see of a session after an erasure: where something was, by which rule and when it was erased (A5, A7)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.models import SessionKey
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase
from tests.admin.conftest import SECRET, text, url
from tests.admin.test_pages import words
from tests.services.asking import ask, cart_of
from tests.store.calling import shop

__all__ = ["shop"]
PAGES = ("change", "versions", "events", "conversation", "approvals")
PERSONAL = "erased under rule &#x27;personal&#x27; on 2026-03-02"
CONTENT = "erased under rule &#x27;decision_log&#x27; on 2026-03-02"


def purge(one: OpenedSession, data_class: Any, rule: str) -> None:
    grounds = Grounds(rule, "GDPR Art. 5(1)(e)", "retention")
    erase(selectors.read_head(one.session_id), frozenset({data_class}), grounds, actor=SYSTEM)


@pytest.fixture
def closed(clock: Any, shopped: OpenedSession) -> OpenedSession:
    services.end_session(shopped.session_id)
    return shopped


def test_without_what_people_said_the_pages_show_the_rest(reader: Client, closed: OpenedSession) -> None:
    """A7: the cart, the history and the chain stay."""
    purge(closed, "personal", "personal")
    pages = {page: text(reader, url(page, closed.session_id)) for page in PAGES}
    for page in pages.values():
        assert "What this session said of people was erased" in page
        assert "No backup gives it back after" in page
        assert "The content of this session was erased" not in page
        for gone in (SECRET, "Anna", "hurried", "mother", "teapot", "pseudonym-1"):
            assert gone not in page
    assert "Blue mug" in pages["change"]
    assert f"What people and agents wrote was {PERSONAL}" in pages["change"]
    assert pages["conversation"].count(f'<p class="quiet">{PERSONAL}</p>') == 2
    assert "pii.purged" in pages["events"]
    version = text(reader, url("version_at", closed.session_id, 4))
    assert f"Nothing that is left; what it said of people was {PERSONAL}" in version
    assert "personal data erased" in text(reader, url("changelist"))


def test_without_the_content_the_pages_say_why(reader: Client, staff: Client, closed: OpenedSession) -> None:
    purge(closed, "content", "decision_log")
    for page in PAGES:
        told = text(reader, url(page, closed.session_id))
        assert "The content of this session was erased" in told
        assert "Blue mug" not in told
    assert f"The cart cannot be shown: {CONTENT}" in text(staff, url("change", closed.session_id))
    assert f"What it changed cannot be shown: {CONTENT}" in text(staff, url("versions", closed.session_id))
    assert f"The cart cannot be shown: {CONTENT}" in text(staff, url("version_at", closed.session_id, 2))
    assert "content erased" in text(staff, url("changelist"))
    assert reader.get(url("artifact", closed.session_id)).status_code == 200


def test_approvals_without_their_words(reader: Client, opened: Any, shop: Any, clock: Any) -> None:
    """L5, A7: what was asked, how much it was about and what was decided stay."""
    one = cart_of(opened)
    asked = ask(one, "Anna wants both")
    services.reject_approval(asked.approval_id, reason="too dear for Anna")
    services.end_session(one.session_id)
    purge(one, "personal", "personal")
    listed = text(reader, url("approvals", one.session_id))
    assert f"Its words were {PERSONAL}" in listed
    page = text(reader, url("approval", one.session_id, asked.approval_id))
    assert f'<span class="quiet">{PERSONAL}</span>' in page
    assert "rejected" in page
    assert "mug" in page.lower()
    assert "Anna" not in listed + page
    purge(one, "content", "decision_log")
    page = text(reader, url("approval", one.session_id, asked.approval_id))
    assert f"The cart cannot be shown: {CONTENT}" in page
    assert "rejected" in page


def test_what_remains_and_why_stands_in_one_place(staff: Client, closed: OpenedSession) -> None:
    """A5, A6: what is gone, by which rule and when; what is left, until when; what holds it."""
    assert "What remains, and why" not in text(staff, url("change", closed.session_id))
    purge(closed, "personal", "personal")
    link = f"{url('change', closed.session_id)}#ags-remains"
    for page in PAGES:
        assert link in text(staff, url(page, closed.session_id))
    told = words(text(staff, url("change", closed.session_id)))
    for said in (
        "What it said of people erased 2 Mar 2026, 04:00:00 , under the rule personal : its time was over. It rests "
        "on GDPR Art. 5(1)(e). No backup gives it back after 2026-04-01.",
        "Goods, prices and decisions kept Until 2 Apr 2027, 05:00:00 , under the rule decision_log . It rests on PCI",
        "Legal holds none",
        "Chain and record kept for good The chain of 9 events",
    ):
        assert said in told, told

    services.place_legal_hold(
        scope="session", session_id=closed.session_id, matter="Case <12>", actor=Actor("staff", "7")
    )
    told = words(text(staff, url("change", closed.session_id)))
    assert (
        "Legal holds in force Case <12>, placed 2 Mar 2026, 04:00:00 by Staff 7, to be reviewed 29 Aug 2026" in told
    ), told
    assert "What is left is not erased before all of them are lifted." in told


def test_of_what_is_all_erased_the_chain_remains(staff: Client, closed: OpenedSession) -> None:
    grounds = Grounds("request", "GDPR Art. 17", "erasure")
    erase(selectors.read_head(closed.session_id), frozenset({"content"}), grounds, actor=SYSTEM)
    told = words(text(staff, url("change", closed.session_id)))
    assert told.count("under the rule request : a person asked for it. It rests on GDPR Art. 17.") == 2
    assert "kept Until" not in told


def test_what_no_event_explains_is_said_to_be_so(staff: Client, closed: OpenedSession) -> None:
    SessionKey.objects.filter(pk=closed.session_id).delete()
    told = words(text(staff, url("change", closed.session_id)))
    assert told.count("erased Its history does not say when or why.") == 2
