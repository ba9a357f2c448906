"""Who sees what, and that nobody changes anything."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.contrib.admin import site
from django.test import Client
from django.urls import NoReverseMatch, reverse

from agent_sessions import selectors, services
from agent_sessions.admin.acts import ACTIONS
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import (
    Approval,
    AuditEvent,
    CheckoutHandoff,
    LegalHold,
    Message,
    Session,
    SessionVersion,
    SiteEvent,
)
from agent_sessions.services import OpenedSession
from tests.admin.conftest import SECRET, person, reveal, text, url
from tests.services.asking import ask, cart_of
from tests.store.calling import shop

__all__ = ["shop"]

pytestmark = pytest.mark.django_db
PAGES = ("change", "versions", "events", "conversation", "artifact")


def addresses(session_id: object) -> list[str]:
    return [url("changelist"), url("version_at", session_id, 1), *(url(page, session_id) for page in PAGES)]


def test_strangers_are_sent_to_log_in(client: Client, shopped: OpenedSession) -> None:
    for address in addresses(shopped.session_id):
        response = client.get(address)
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")


def test_staff_without_the_permission_see_nothing(shopped: OpenedSession) -> None:
    client = person("no")
    for address in addresses(shopped.session_id):
        assert client.get(address).status_code == 403
    assert "agent_sessions" not in text(client, "/admin/")


def test_the_permission_for_content_alone_opens_nothing(shopped: OpenedSession) -> None:
    client = person("odd", "view_session_content")
    for address in addresses(shopped.session_id):
        assert client.get(address).status_code == 403


def test_the_permissions_to_change_and_delete_give_no_access(shopped: OpenedSession) -> None:
    client = person("eager", "change_session", "delete_session", "add_session")
    assert client.get(url("changelist")).status_code == 403


def test_nothing_can_be_written_even_by_a_superuser(admin_client: Client, shopped: OpenedSession) -> None:
    before = Session.objects.values().get()
    for address in addresses(shopped.session_id):
        for method in (admin_client.post, admin_client.put, admin_client.patch, admin_client.delete):
            assert method(address, {"status": "ended", "action": "delete_selected"}).status_code == 405
    for form in ("add/", f"{shopped.session_id}/delete/", f"{shopped.session_id}/change/"):
        assert admin_client.post(url("changelist") + form).status_code == 404
    for name in ("add", "delete"):
        with pytest.raises(NoReverseMatch):
            url(name)
    assert Session.objects.values().get() == before


def test_the_index_offers_no_form_to_add_a_session(admin_client: Client) -> None:
    page = text(admin_client, "/admin/")
    assert url("changelist") in page
    assert url("changelist") + "add/" not in page


def test_token_digests_are_on_no_page(admin_client: Client, shopped: OpenedSession) -> None:
    digest = bytes(Session.objects.get().token_digest)
    for address in addresses(shopped.session_id)[:-1]:
        page = text(admin_client, address)
        assert digest.hex() not in page
        assert shopped.token not in page


@pytest.mark.parametrize(
    "lookup", ["token_digest__gt=0", "caller=x", "bound_to=x", "token_key__secret=x", "status__startswith=a", "id=1"]
)
def test_the_list_cannot_be_probed_by_columns_that_it_does_not_show(staff: Client, lookup: str) -> None:
    assert staff.get(f"{url('changelist')}?{lookup}").status_code == 400


@pytest.mark.parametrize("page", ["change", "versions", "conversation", "version_at"])
def test_what_people_said_is_masked_with_the_permission_and_without(
    staff: Client, reader: Client, shopped: OpenedSession, page: str
) -> None:
    for client, said in ((staff, "People with the permission"), (reader, "Why you need to see it")):
        told = text(client, url(page, shopped.session_id, *([4] if page == "version_at" else [])))
        for private in (SECRET, "Anna", "my mother", "teapot", "hurried"):
            assert private not in told
        assert said in told


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("change", [SECRET, "a gift for Anna", "hurried"]),
        ("versions", [SECRET]),
        ("conversation", ["It is for my mother", "How about a teapot?"]),
    ],
)
def test_what_people_said_is_shown_once_it_is_revealed(
    reader: Client, shopped: OpenedSession, page: str, said: list[str]
) -> None:
    reveal(reader, shopped.session_id)
    told = text(reader, url(page, shopped.session_id))
    for words in said:
        assert words in told


def test_of_what_is_masked_it_is_told_that_it_changed(staff: Client, shopped: OpenedSession) -> None:
    page = text(staff, url("version_at", shopped.session_id, 4))
    assert "Instructions changed" in page
    assert "variables changed" in page
    assert "Instructions changed" not in text(staff, url("version_at", shopped.session_id, 3))


def test_details_kept_beside_a_line_are_private_too(staff: Client, reader: Client, shopped: OpenedSession) -> None:
    patch = {"shopping": {"lines": {"l1": {"extra": {"engraving": "For Anna"}}}}}
    services.change_session(shopped.session_id, expected_version=4, patch=patch)
    address = url("version_at", shopped.session_id, 5)
    assert "Further details of the cart changed" in text(staff, address)
    assert "For Anna" not in text(staff, address)
    reveal(reader, shopped.session_id, "customer")
    assert "For Anna" in text(reader, address)


NOON = "2026-05-01T12:00:00Z"
DECIDED = {
    "decisions": {
        "payments": {"p": {"method": "card", "outcome": "declined", "code": "insufficient_funds", "last4": "4242"}},
        "approvals": {"a": {"status": "pending", "amount": 12000, "currency": "EUR", "reason": "Anna waits"}},
        "fallbacks": {"f": {"tried": "Grandmother pays"}},
    },
    "inventory": {"holds": {"h": {"item": "tea-1", "quantity": 2, "held_at": NOON, "until": "2026-05-01T12:15:00Z"}}},
    "stale": {"parts": {"item:tea-1": {"kind": "item", "ref": "tea-1", "what": "price", "since": NOON}}},
    "customer": {"preferences": {"milk": "Oat, says her doctor"}},
    "recovery": {"steps": {"call Anna": {"outcome": "failed", "code": "busy"}}},
    "facts": {"known": {"allergy": {"value": "nuts", "source": "crm", "fetched_at": NOON}}},
    "checkout": {"method": "card"},
}
SAID = (
    "Payment card declined (insufficient_funds)",
    "Approval pending: 120.00 EUR",
    "Holding 2 × tea-1 until 12:15 UTC",
    "Stale: item tea-1 (price) since 2026-05-01 12:00 UTC",
)
KEPT = ("4242", "Anna waits", "Grandmother pays", "Oat, says her doctor", "call Anna", "nuts")


@pytest.mark.parametrize("page", ["change", "versions", "version_at"])
def test_what_was_decided_is_shown_to_all_and_what_was_said_about_it_is_masked(
    staff: Client, reader: Client, shopped: OpenedSession, page: str
) -> None:
    """S2, X1: payments, approvals, holds and what is stale; not the agent's reasons, nor what is known of a person."""
    services.change_session(shopped.session_id, expected_version=4, patch=DECIDED)
    address = url(page, shopped.session_id, *([5] if page == "version_at" else []))
    reveal(reader, shopped.session_id)
    told, opened = text(staff, address), text(reader, address)
    for sentence in SAID:
        assert sentence in told
        assert sentence in opened
    for private in KEPT:
        assert private not in told
        if page != "versions":  # where an entry is one sentence, which leaves its details out
            assert private in opened
    if page == "version_at":  # the others tell the first few changes
        assert "What is known of the customer changed" in told
        assert "Steps and failures changed" in told


def test_the_artifact_is_opened_only_while_all_is_revealed(
    staff: Client, reader: Client, shopped: OpenedSession
) -> None:
    services.end_session(shopped.session_id, reason=EndReason.COMPLETED)
    address = url("artifact", shopped.session_id)
    reveal(reader, shopped.session_id, "words", "customer")
    for client in (staff, reader):
        assert json.loads(client.get(address).content)["openings"] == []
    reveal(reader, shopped.session_id, "agent")
    sealed, opened = staff.get(address), reader.get(address)
    assert sealed.headers["Content-Disposition"] == f'attachment; filename="agent-session-{shopped.session_id}.json"'
    assert sealed.headers["Content-Type"] == "application/json"
    assert json.loads(sealed.content)["openings"] == []
    assert "a gift for Anna" not in sealed.content.decode()
    assert {opening["value"] for opening in json.loads(opened.content)["openings"] if opening["path"] == "purpose"} == {
        "a gift for Anna"
    }
    assert json.loads(sealed.content)["root_hash"] == json.loads(opened.content)["root_hash"]


def test_pages_are_kept_by_no_cache(staff: Client, shopped: OpenedSession) -> None:
    for address in addresses(shopped.session_id):
        assert "no-store" in staff.get(address).headers["Cache-Control"]


NEEDED = {
    "evidence": "view_session_evidence",
    "export": "export_session_evidence",
    **{f"act {action.name}": action.permission.partition(".")[2] for action in ACTIONS if action.do is not None},
}
"""What a page needs beside the permission to look, by its name; an action's by that too."""
ANSWERS = {
    "approval": "decide_approval",
    "reveal": "view_session_content",
    "customer": "view_session",
    **{name: needed for name, needed in NEEDED.items() if name != "evidence"},
}
"""The same for a POST; any other page takes none."""
OF_NO_SESSION = ("customer", "export")
"""Pages that are not about one session: what they refuse is in the site's history. The first takes a POST only."""
CHANGED_BY_RECORDS = ("head_seq", "head_hash", "updated_at")


def every_address(session_id: uuid.UUID, approval_id: uuid.UUID) -> dict[str, str]:
    """Every address that the package adds to the admin, by what ``NEEDED`` calls it."""
    given = {"session_id": session_id, "number": 1, "approval_id": approval_id}
    found = {}
    for pattern in site._registry[Session].get_urls():
        page = str(pattern.name).removeprefix("agent_sessions_session_")
        facts = {name: given[name] for name in pattern.pattern.converters if name in given}
        if facts.keys() == pattern.pattern.converters.keys():
            found[page] = reverse(f"admin:{pattern.name}", kwargs=facts)
        for action in ACTIONS if page == "act" else ():
            if action.do is not None:
                found[f"act {action.name}"] = reverse(f"admin:{pattern.name}", kwargs={**facts, "name": action.name})
    return found


def standing() -> object:
    """What no refusal changes: the session, and all that there is about it."""
    row = {name: value for name, value in Session.objects.values().get().items() if name not in CHANGED_BY_RECORDS}
    others = (Approval, CheckoutHandoff, LegalHold, Message, SessionVersion)
    events = AuditEvent.objects.exclude(kind="action.refused").order_by("seq").values_list("seq", "kind")
    return row, [list(model.objects.order_by("pk").values()) for model in others], list(events)


@pytest.mark.parametrize("looks", [True, False], ids=["and to look", "alone"])
@pytest.mark.parametrize(
    "permission", ["", *(codename for codename, _ in Session._meta.permissions), "decide_approval"]
)
def test_one_permission_opens_what_it_is_for_and_nothing_else(
    shop: Any, opened: Any, permission: str, looks: bool
) -> None:
    """Every address, by GET and POST; a POST that is refused changes nothing and is recorded."""
    one = cart_of(opened)
    asked = ask(one)
    codenames = {permission, "view_session" if looks else permission} - {""}
    client = person("sam", *codenames)
    before = standing()
    every = every_address(one.session_id, asked.approval_id)
    assert len(every) > len(ACTIONS) + 10
    for page, address in every.items():
        opens = looks and NEEDED.get(page, permission) == permission
        seen = client.get(address).status_code
        assert seen == 405 if page == "customer" else (seen != 403) is opens, page
        status = client.post(address, {"status": "ended", "action": "delete_selected"}).status_code
        if page not in ANSWERS:
            assert status == 405, page
        elif looks and ANSWERS[page] in (permission, "view_session"):
            assert status in (302, 409, 422), page
        else:
            assert status == 403, page
    assert standing() == before
    refused: list[Any] = [one for one in selectors.events(one.session_id) if one["kind"] == "action.refused"]  # type: ignore[index,call-overload]
    told = sorted(event["params"]["action"] for event in refused)
    may_not = {page for page, needed in ANSWERS.items() if not looks or needed not in (permission, "view_session")}
    assert told == sorted(page.removeprefix("act ") for page in may_not - {*OF_NO_SESSION})
    assert SiteEvent.objects.filter(kind="action.refused").count() == len(may_not & {*OF_NO_SESSION})
