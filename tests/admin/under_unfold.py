"""Every page of the package in django-unfold's admin. Run by test_unfold, in a process with settings of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.addresses import readable
from tests.admin.test_hostile import foreign
from tests.hostile import hostile_session
from tests.store.calling import shop

__all__ = ["shop"]


@pytest.mark.django_db
@pytest.mark.usefixtures("shop")
def test_every_page_opens(opened: Callable[..., Any]) -> None:
    one = hostile_session(opened, "mug")
    client = Client()
    client.force_login(User.objects.create_superuser("eva"))
    pages = readable(client, one.session_id)
    assert {"changelist", "export", "change", "timeline", "version_at", "approval", "evidence", "act end"} <= set(pages)
    for name, address in pages.items():
        page = client.get(address).content.decode()
        assert "unfold/css/styles.css" in page, name
        assert page.count('id="content-main"') == 1, name
        assert 'role="alert"' not in page, name
        assert str(one.session_id)[:13] in page or name in ("export", "dashboard"), name
        assert "agent_sessions/admin.css" in page, name
        assert not [tag for tag in foreign(page) if "zqx" in tag], name
        assert strays(page) == [], name


def strays(page: str) -> list[str]:
    """The items on a page that are in no list, for which screen readers have no number."""
    lists = re.compile(r"<(/?)(ul|ol|menu)\b[^>]*>|<li\b[^>]*>")
    depth, found = 0, []
    for tag in lists.finditer(page):
        if tag[2]:
            depth += -1 if tag[1] else 1
        elif not depth:
            found.append(page[tag.start() : tag.end() + 80])
    return found
