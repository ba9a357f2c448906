"""Staff see what waits for an answer, and give it where they may (L5)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.models import Approval, Session
from agent_sessions.services import OpenedSession, Requested
from tests.admin.conftest import person, reveal, text, url
from tests.services.asking import REASON, kinds
from tests.store.calling import call, shop

pytestmark = pytest.mark.django_db
__all__ = ["shop"]


@pytest.fixture
def decider(db: None) -> Client:
    """Somebody who may see sessions and decide on approvals, and read nothing else of what people said."""
    return person("dora", "view_session", "decide_approval")


@pytest.fixture
def session(shop: Any, opened: Any, configure: Any) -> OpenedSession:
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    one: OpenedSession = opened(purpose="a gift for Anna")
    call("cart.add", one, item_id="mug", quantity=2)
    return one


@pytest.fixture
def asked(session: OpenedSession) -> Requested:
    """An approval that was left to the staff."""
    asked = services.request_approval(session.session_id, reason=REASON)
    services.escalate_approval(asked.approval_id, reason="Is this a scam?")
    return asked


def page_of(session: OpenedSession, asked: Requested) -> str:
    return url("approval", session.session_id, asked.approval_id)


def standing(asked: Requested) -> str:
    return selectors.get_approval(asked.approval_id).status.value


def test_the_list_finds_what_waits(staff: Client, session: OpenedSession, asked: Requested, opened: Any) -> None:
    other = opened()
    call("cart.add", other, item_id="mug", quantity=2)
    services.request_approval(other.session_id, reason=REASON)
    lists = {
        choice: text(staff, f"{url('changelist')}?approval={choice}") for choice in ("escalated", "waiting", "nonsense")
    }
    assert [str(session.session_id) in one for one in lists.values()] == [True, True, True]
    assert [str(other.session_id) in one for one in lists.values()] == [False, True, True]
    services.end_session(session.session_id)
    assert str(session.session_id) not in text(staff, f"{url('changelist')}?approval=escalated")


def test_who_may_decide_sees_what_is_asked_and_why(decider: Client, session: OpenedSession, asked: Requested) -> None:
    overview = text(decider, url("approvals", session.session_id))
    page = text(decider, page_of(session, asked))
    assert page_of(session, asked) in overview
    for said in ("25.00 EUR", "waits for staff", "large-orders", REASON):
        assert said in overview
        assert said in page
    for said in ("Mug", "12.50 EUR", "Is this a scam?", "Grant", "Reject"):
        assert said in page
    assert "Anna" not in page


def test_who_may_only_look_sees_neither_the_words_nor_the_form(
    staff: Client, reader: Client, session: OpenedSession, asked: Requested
) -> None:
    page = text(staff, page_of(session, asked))
    assert "25.00 EUR" in page
    for hidden in (REASON, "scam", "<textarea"):
        assert hidden not in page
        assert hidden not in text(staff, url("approvals", session.session_id))
    assert REASON not in text(reader, page_of(session, asked))
    reveal(reader, session.session_id, "agent")
    page = text(reader, page_of(session, asked))
    assert REASON in page
    assert "Is this a scam?" not in page, "that is of another group"
    assert "<textarea" not in page


def test_staff_grant_and_it_is_recorded_as_theirs(decider: Client, session: OpenedSession, asked: Requested) -> None:
    """L5"""
    done = decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"}, follow=True)
    assert done.redirect_chain == [(page_of(session, asked), 302)]
    assert "You have granted this approval." in done.content.decode()
    assert "<textarea" not in done.content.decode()
    seen = selectors.get_approval(asked.approval_id)
    assert (seen.status.value, seen.decided_by) == ("granted", f"staff:{User.objects.get(username='dora').pk}")
    assert call("checkout", session).status == 200
    assert selectors.verify_session(session.session_id).ok


def test_staff_reject_with_a_reason(decider: Client, session: OpenedSession, asked: Requested) -> None:
    decider.post(page_of(session, asked), {"answer": "reject", "reason": "Not\r\nthis one"})
    seen = selectors.get_approval(asked.approval_id)
    assert (seen.status.value, seen.answer) == ("rejected", "Not\nthis one")
    assert "this one" not in text(decider, page_of(session, asked)), "once it is decided nobody needs it to decide"


def test_staff_can_take_the_question_from_the_shopper(decider: Client, session: OpenedSession) -> None:
    asked = services.request_approval(session.session_id, reason=REASON)
    assert "waits for the shopper" in text(decider, page_of(session, asked))
    decider.post(page_of(session, asked), {"answer": "escalate"})
    assert standing(asked) == "escalated"
    assert "Leave it to staff only" not in text(decider, page_of(session, asked))


@pytest.mark.parametrize(
    ("posted", "told"),
    [
        ({"answer": "grant"}, "Confirm that you have looked"), ({"answer": "reject"}, "Say why"),
        ({"answer": "reject", "reason": "  "}, "Say why"), ({"answer": "maybe"}, "Choose one"), ({}, "Choose one"),
        ({"answer": "reject", "reason": "x" * 1001}, "at most 1000"),
    ],
)  # fmt: skip
def test_half_an_answer_decides_nothing(
    decider: Client, session: OpenedSession, asked: Requested, posted: Any, told: str
) -> None:
    page = decider.post(page_of(session, asked), posted)
    assert page.status_code == 422
    assert told in page.content.decode()
    assert f">{posted.get('reason', '')}</textarea>" in page.content.decode(), "nobody writes it twice"
    assert standing(asked) == "escalated"


def test_only_the_permission_to_decide_lets_one_answer(
    staff: Client, reader: Client, client: Client, session: OpenedSession, asked: Requested
) -> None:
    """Hiding the form is no control."""
    answer = {"answer": "grant", "confirmed": "yes"}
    blind = person("bo", "decide_approval")
    before = Approval.objects.values().get(), Session.objects.values_list("version", "status").get()
    assert client.post(page_of(session, asked), answer).status_code == 302, "to log in"
    for somebody in (staff, reader, blind):
        assert somebody.post(page_of(session, asked), answer).status_code == 403
    assert blind.get(page_of(session, asked)).status_code == 403
    assert (Approval.objects.values().get(), Session.objects.values_list("version", "status").get()) == before
    assert kinds(session)[-4:] == ["approval.escalated", *["action.refused"] * 3]


def test_a_form_of_another_site_decides_nothing(session: OpenedSession, asked: Requested, decider: Client) -> None:
    decider.handler.enforce_csrf_checks = True
    assert decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"}).status_code == 403
    assert standing(asked) == "escalated"


def test_who_comes_second_is_told_what_was_decided(decider: Client, session: OpenedSession, asked: Requested) -> None:
    decider.post(page_of(session, asked), {"answer": "reject", "reason": "No"})
    page = decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"})
    assert page.status_code == 409
    assert "Nothing was decided" in page.content.decode()
    assert standing(asked) == "rejected"


def test_who_answers_for_a_cart_that_has_changed_is_told_what_changed(
    decider: Client, session: OpenedSession, asked: Requested
) -> None:
    call("cart.add", session, item_id="plate")
    page = decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"})
    assert page.status_code == 409
    told = page.content.decode()
    for said in ("Nothing was decided", "What has changed since it was asked", "Item put in the cart", "Plate"):
        assert said in told
    assert "What has changed since" not in text(decider, page_of(session, asked))
    assert standing(asked) == "void"


def test_too_late_is_told_in_the_words_of_the_rule(
    clock: Any, decider: Client, session: OpenedSession, asked: Requested
) -> None:
    """L5"""
    clock.move_to(asked.expires_at)
    decider.force_login(User.objects.get(username="dora"))
    page = decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"})
    assert page.status_code == 409
    assert "Approval window expired. Consumer must re-authorize." in page.content.decode()


def test_approvals_are_found_below_their_own_session_only(
    decider: Client, session: OpenedSession, asked: Requested, opened: Any
) -> None:
    other = opened()
    for address in (
        url("approval", other.session_id, asked.approval_id),
        url("approval", session.session_id, uuid.uuid4()),
        url("approval", uuid.uuid4(), asked.approval_id),
    ):
        assert decider.get(address).status_code == 404
        assert decider.post(address, {"answer": "grant", "confirmed": "yes"}).status_code == 404
    assert standing(asked) == "escalated"


def test_hostile_words_do_no_harm(decider: Client, session: OpenedSession) -> None:
    script = "<script>alert(1)</script>\u202e"
    asked = services.request_approval(session.session_id, reason=script)
    services.escalate_approval(asked.approval_id, reason=script)
    for address in (page_of(session, asked), url("approvals", session.session_id)):
        page = text(decider, address)
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_links_and_digests_are_on_no_page(decider: Client, session: OpenedSession, asked: Requested) -> None:
    digest = bytes(Approval.objects.get().token_digest).hex()
    for address in (page_of(session, asked), url("approvals", session.session_id)):
        page = text(decider, address)
        assert asked.url.rpartition("/")[2] not in page
        assert digest not in page


def test_what_was_answered_is_in_the_history(decider: Client, session: OpenedSession, asked: Requested) -> None:
    decider.post(page_of(session, asked), {"answer": "grant", "confirmed": "yes"})
    call("checkout", session)
    assert kinds(session)[-4:] == [
        "approval.escalated", "approval.granted", "checkout.handed_over", "approval.used",
    ]  # fmt: skip
    events = text(decider, url("events", session.session_id))
    assert "Approval granted" in events
    assert "Staff" in events
