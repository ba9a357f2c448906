"""What staff see of a session after an erasure: where something was, by which rule and when it was erased (A5, A7)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase
from tests.admin.conftest import SECRET, text, url
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
