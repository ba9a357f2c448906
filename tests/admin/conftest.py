"""People who look at sessions, and what they look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.models import Session
from agent_sessions.services import OpenedSession
from tests.shopping import line

SECRET = "Leave it with Mrs Brown"


def person(name: str, *codenames: str) -> Client:
    """The browser of somebody on the staff with these permissions."""
    user = User.objects.create_user(name, is_staff=True)  # without a password, which takes long to hash
    for codename in codenames:
        permission, _ = Permission.objects.get_or_create(
            codename=codename, content_type=ContentType.objects.get_for_model(Session), defaults={"name": codename}
        )
        user.user_permissions.add(permission)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(db: None) -> Client:
    """Somebody who may see sessions, and nothing of what people said in them."""
    return person("sam", "view_session")


@pytest.fixture
def reader(db: None) -> Client:
    """Somebody who may see sessions and have their content revealed, see ``reveal``."""
    return person("ada", "view_session", "view_session_content")


@pytest.fixture
def shopped(opened: Callable[..., OpenedSession]) -> OpenedSession:
    """A session with two teas, a discount, words of the shopper, a refusal and a conversation: version 4, event 7."""
    one = opened(purpose="a gift for Anna", consumer="pseudonym-1", parent_request="req-77")
    total = {"total": 2990, "currency": "EUR", "extra": {"subtotal": 2500, "shipping": 490}}
    patches: list[Any] = [
        {"shopping": {"lines": {"l1": line()}}},
        {"shopping": {"lines": {"l1": {"quantity": 2}}, "quote": total}},
        {"shopping": {"instructions": SECRET}, "agent": {"mood": "hurried"}},
    ]
    for number, patch in enumerate(patches, 1):
        call = Call("cart.update", "PATCH", params={"item_id": "l1"}, policy_rule="default")
        services.change_session(
            one.session_id, expected_version=number, patch=patch, kind="cart.item_changed", call=call
        )
    refusal = Call("checkout", "POST", policy_result="deny", policy_rule="spend_cap", response_status=403)
    services.record_event(one.session_id, kind="capability.refused", call=refusal)
    services.add_message(one.session_id, role="user", content="It is for my mother")
    services.add_message(one.session_id, role="agent", content="How about a teapot?")
    return one


def reveal(client: Client, one: object, *groups: str, reason: str = "Case 4") -> None:
    """Have groups of a session revealed to whose browser it is; all without any."""
    form = {"group": groups or GROUPS, "reason": reason}
    assert client.post(url("reveal", one), form).status_code == 302


def url(page: str, *args: object) -> str:
    """The address of a page: ``changelist``, ``change`` (the overview), ``versions``, …"""
    return reverse(f"admin:agent_sessions_session_{page}", args=args)


def text(client: Client, address: str, status: int = 200) -> str:
    """What a page says, having answered with ``status``."""
    response = client.get(address)
    assert response.status_code == status
    return response.content.decode()
