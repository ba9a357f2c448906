"""A session's page says where it stands and leads to what it came from (L2 to L4)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client

from agent_sessions import services
from agent_sessions.admin import wording
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.domain.lifecycle import Origin
from agent_sessions.services import OpenedSession
from tests.admin.conftest import text, url
from tests.services.succeeding import renew

pytestmark = pytest.mark.django_db


def facts(client: Client, one: OpenedSession) -> dict[str, str]:
    """The facts of a session's page, with what they link to."""
    page = text(client, url("change", one.session_id))
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page, re.DOTALL)
    return {html.unescape(name): value for name, value in found}


def leads_to(fact: str) -> str:
    (address,) = re.findall(r'href="\.\./([^/]*)/"', fact)
    return str(address)


def test_who_has_it_and_since_when_it_is_paused(staff: Client, opened: Callable[..., OpenedSession]) -> None:
    one = opened()
    assert not {"Paused", "With", "Branch of"} & facts(staff, one).keys()
    services.pause_session(one.session_id)
    services.hand_over(one.session_id, to=Actor("staff", "17"), actor=Actor("staff", "17"))
    told = facts(staff, one)
    assert "Staff 17" in told["With"]
    assert "<time" in told["Paused"]


def test_a_session_leads_to_what_it_came_from(staff: Client, opened: Callable[..., OpenedSession], clock: Any) -> None:
    one = opened()
    clock.shift(1)
    branch = services.fork_session(one.session_id)
    again = renew(one).opened
    given = services.grant_transfer(again.session_id, actor=Actor("consumer"))
    taken = services.accept_transfer(given.code, agent=Agent("Wine expert")).opened

    second, third = facts(staff, again), facts(staff, taken)
    assert leads_to(third["Taken over from"]) == str(again.session_id)
    assert leads_to(second["Renewal of"]) == leads_to(facts(staff, branch)["Branch of"]) == str(one.session_id)
    assert "from version 1" in second["Renewal of"]
    address = urljoin(url("change", one.session_id), f"../{branch.session_id}/")
    assert address == url("change", branch.session_id)


def test_every_origin_has_its_words() -> None:
    assert wording.CAME_FROM.keys() == {one.value for one in Origin}
