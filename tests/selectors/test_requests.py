"""What serves one request of a consumer is listed together, over all merchants (T6)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import Session, SessionKey
from tests.store.calling import call

pytestmark = pytest.mark.django_db


def test_an_auditor_sees_the_sessions_of_a_request_together(shop: Any, opened: Any, clock: Any) -> None:
    """T6"""
    tea = opened(merchant="Tea & Co", parent_request="req-7")
    call("cart.add", tea, item_id="mug", quantity=2)
    clock.shift(1)
    wine = opened(merchant="Cellar", parent_request="req-7", kind="quote")
    call("cart.add", wine, item_id="pot")
    clock.shift(1)
    bread = opened(merchant="Bakery", parent_request="req-7")
    opened(merchant="Tea & Co", parent_request="req-8")
    opened(merchant="Tea & Co")
    token = call("checkout", tea).data["handoff_url"].rsplit("/", 1)[1]
    handoff = selectors.handoff_by_token(token)
    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
    services.end_session(bread.session_id, reason=EndReason.DELETED)
    Session.objects.filter(pk=bread.session_id).update(sealed_at=None)

    listed = selectors.sessions_of_request("req-7")

    assert [one.session_id for one in listed] == [tea.session_id, wine.session_id, bread.session_id]
    told = [(one.merchant, one.kind, one.status.value, one.end_reason, one.total, one.order_ref) for one in listed]
    assert told == [
        ("Tea & Co", "standard", "ended", "completed", (2500, "EUR"), "A-1"),
        ("Cellar", "quote", "active", "", (4000, "EUR"), ""),
        ("Bakery", "standard", "ended", "deleted", None, ""),
    ]
    assert [one.artifact for one in listed] == ["signed", "none yet", "to be signed"]


def test_renewals_and_branches_are_of_the_same_request(opened: Any) -> None:
    one = opened(parent_request="req-7")
    branch = services.fork_session(one.session_id)
    assert {each.session_id for each in selectors.sessions_of_request("req-7")} == {one.session_id, branch.session_id}


def test_what_was_erased_is_listed_too(shop: Any, opened: Any) -> None:
    one = opened(parent_request="req-7")
    call("cart.add", one, item_id="mug")
    services.end_session(one.session_id)
    SessionKey.objects.all().delete()
    (listed,) = selectors.sessions_of_request("req-7")
    assert (listed.total, listed.artifact) == (None, "signed")


def test_sessions_without_a_request_do_not_belong_together(opened: Any) -> None:
    opened()
    assert selectors.sessions_of_request("") == []
    assert selectors.sessions_of_request("unknown") == []


def test_no_more_than_was_asked_for(opened: Any, clock: Any) -> None:
    first = opened(parent_request="req-7")
    clock.shift(1)
    opened(parent_request="req-7")
    assert [one.session_id for one in selectors.sessions_of_request("req-7", limit=1)] == [first.session_id]
    with pytest.raises(InvalidValue):
        selectors.sessions_of_request("req-7", limit=-1)
