"""Every page of the package in the admin, found in the URLs themselves, so that a new one is tested like the others."""

from __future__ import annotations

import uuid

from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, reverse

from agent_sessions.models import Approval, Session

DOWNLOADS = {"artifact"}
"""What answers with a file."""


def _patterns() -> dict[str, URLPattern]:
    found = [one for one in admin.site._registry[Session].get_urls() if isinstance(one, URLPattern)]
    return {str(one.name).removeprefix("agent_sessions_session_"): one for one in found}


NAMES = tuple(_patterns())
"""The names of all pages: ``changelist``, ``change``, ``timeline``, …"""


def address(name: str, session_id: uuid.UUID) -> str:
    """The address of a page for a session that has an approval; of its latest version, where a page shows one."""
    facts = {"session_id": session_id, "number": Session.objects.get(pk=session_id).version}
    if "approval_id" in (needed := _patterns()[name].pattern.converters):
        facts["approval_id"] = Approval.objects.filter(session_id=session_id).order_by("pk")[0].pk
    return reverse(f"admin:agent_sessions_session_{name}", kwargs={one: facts[one] for one in needed})


def readable(client: Client, session_id: uuid.UUID) -> dict[str, str]:
    """The addresses by name of all pages that can be read as a page: neither forms alone nor files nor signposts."""
    found = {name: address(name, session_id) for name in NAMES if name not in DOWNLOADS}
    return {name: one for name, one in found.items() if client.get(one).status_code not in (302, 405)}
