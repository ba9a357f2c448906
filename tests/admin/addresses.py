"""Every page of the package in the admin, found in the URLs themselves, so that a new one is tested like the others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import product

from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, reverse

from agent_sessions.admin.acts import ACTIONS
from agent_sessions.models import Approval, Session


def addresses(session_id: uuid.UUID) -> Iterator[tuple[str, str]]:
    """Names and addresses: of its latest version, its approvals and all actions, where a page shows one of those."""
    facts = {
        "session_id": [session_id],
        "number": [Session.objects.get(pk=session_id).version],
        "approval_id": Approval.objects.filter(session_id=session_id).order_by("pk").values_list("pk", flat=True),
        "name": [action.name for action in ACTIONS],
    }
    for one in admin.site._registry[Session].get_urls():
        assert isinstance(one, URLPattern)
        needed = one.pattern.converters
        for values in product(*(facts[fact] for fact in needed)):
            given = dict(zip(needed, values, strict=True))
            name = str(one.name).removeprefix("agent_sessions_session_")
            yield f"{name} {given.get('name', '')}".strip(), reverse(f"admin:{one.name}", kwargs=given)


def readable(client: Client, session_id: uuid.UUID) -> dict[str, str]:
    """The addresses by name of all pages to read: no files, no signposts, and no actions that are not possible now."""
    found = {}
    for name, address in addresses(session_id):
        answer = client.get(address)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            found[name] = address
    return found
