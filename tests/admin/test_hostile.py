"""Whatever strangers wrote into a session is text on every page of it, and not too much of that (O1)."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agent_sessions.services import OpenedSession
from tests.admin.addresses import readable
from tests.admin.conftest import reveal
from tests.hostile import ATTACK, MARK, UNSEEN, hostile_session
from tests.store.calling import shop

__all__ = ["shop"]
pytestmark = pytest.mark.django_db
LARGEST = 150_000
"""Characters that a page has at most."""


class _Reader(HTMLParser):
    """Notes elements and attributes that no template of ours has written."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {tag, *(name for name, _ in attrs)}
        told = dict(attrs)
        inline = tag in ("script", "style") and not told.get("src") and told.get("type") != "application/json"
        leads = (told.get("href") or told.get("src") or "").strip().lower()
        if inline or any(MARK in name or name.startswith("on") for name in names) or leads.startswith("javascript:"):
            self.foreign.append(self.get_starttag_text() or tag)


def foreign(page: str) -> list[str]:
    reader = _Reader()
    reader.feed(page)
    return reader.foreign


def test_the_reader_sees_an_attack() -> None:
    assert len(foreign(f'<p title="{ATTACK}">{ATTACK}</p>')) > 2
    assert foreign("<p>ours</p>") == []


QUERY = "?" + urlencode(dict.fromkeys(("after", "before", "compare", "family", "actor", "payment"), ATTACK))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("query", "revealed"), [("", False), ("", True), (QUERY, False)])
def test_what_strangers_wrote_is_text_on_every_page(opened: Callable[..., Any], query: str, revealed: bool) -> None:
    one: OpenedSession = hostile_session(opened, "mug")
    client = Client()
    client.force_login(User.objects.create_superuser("eva"))
    if revealed:
        reveal(client, one.session_id, reason=ATTACK)
    found, attacked = {}, set()
    for name, where in readable(client, one.session_id).items():
        answer = client.get(where + query)
        page = answer.content.decode()
        found[name] = [*foreign(page), *(f"U+{ord(one):04X}" for one in UNSEEN if one in page)]
        if len(page) > LARGEST:
            found[name].append(f"{len(page)} characters")
        attacked |= {name} if MARK in page else set()
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert {"change", "timeline", "version_at", "events", "approvals", "approval"} <= attacked
