"""The page where a human answers: what it shows, who may answer, and that its address stays a secret (L5)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.models import Approval, SessionKey
from agent_sessions.services import OpenedSession, Requested
from agent_sessions.store.adapter import Item
from tests.api import store
from tests.api.store import Shelf
from tests.services.asking import WINDOW_EXPIRED, kinds
from tests.store.calling import call, head
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
POLICIES = "tests.api.test_approvals.POLICIES"
REASON = "It is more than you usually spend."


class Members(Shelf):
    """A store that knows who has signed in: by a cookie, here."""

    features = Shelf.features | {"customers"}

    def consumer_reference(self, request: HttpRequest) -> str:
        return request.COOKIES.get("customer", "")


@pytest.fixture
def session(opened: Any, configure: Any) -> OpenedSession:
    """A session with two mugs, at a shop that wants a person for that."""
    configure(POLICIES=POLICIES, END_ON_HANDOFF=False)
    return filled(opened())


@pytest.fixture
def asked(session: OpenedSession) -> Requested:
    return services.request_approval(session.session_id, reason=REASON)


def filled(session: OpenedSession) -> OpenedSession:
    call("cart.add", session, item_id="mug", quantity=2)
    return session


def path_of(asked: Requested) -> str:
    return asked.url.removeprefix("https://shop.example")


def shown(client: Client, asked: Requested, status: int = 200) -> str:
    """What the page says, without its tags."""
    page = client.get(path_of(asked))
    assert page.status_code == status
    return text_of(page)


def text_of(page: Any) -> str:
    body = page.content.decode().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def answer(client: Client, asked: Requested, choice: str = "grant", total: str = "56.00", **fields: str) -> Any:
    return client.post(path_of(asked), {"answer": choice, "total": total, **fields})


def standing(asked: Requested) -> str:
    return selectors.get_approval(asked.approval_id).status.value


def test_it_shows_what_is_asked(client: Client, asked: Requested) -> None:
    """L5: lines, amount, version, why the agent paused, what the policy asked, and how much time is left."""
    page = shown(client, asked)
    for said in (
        "Shopping helper asks for your approval", "56.00 EUR", REASON, "large-orders", "Ocean blue mug", "28.00 EUR",
        "Version 3 of the cart", "minutes left", "To approve, type the total: 56.00",
    ):  # fmt: skip
        assert said in page, said


def test_opening_it_changes_nothing_but_when_it_was_first_seen(client: Client, asked: Requested) -> None:
    before = everything_stored()
    assert client.head(path_of(asked)).status_code == 200
    assert everything_stored() == before, "a preview of the link is not the human"

    client.get(path_of(asked))
    seen = Approval.objects.values().get()
    client.get(path_of(asked), {"answer": "grant", "total": "56.00"})

    assert Approval.objects.values().get() == seen
    assert seen["opened_at"] is not None
    Approval.objects.update(opened_at=None)
    assert everything_stored() == before


def test_a_yes_with_the_total_is_a_yes(client: Client, asked: Requested) -> None:
    client.get(path_of(asked))
    done = answer(client, asked)
    assert (done.status_code, done.headers["Location"]) == (302, path_of(asked))
    assert standing(asked) == "granted"
    assert selectors.get_approval(asked.approval_id).decided_by == "consumer"
    page = shown(client, asked)
    assert "You have approved this cart." in page
    assert "Your answer" not in page, "the link is used up"
    assert answer(client, asked, "reject").status_code == 409
    assert standing(asked) == "granted"


def test_a_reason_with_a_card_number_is_refused_and_shown_nowhere(client: Client, asked: Requested) -> None:
    """S8: the human is told what to leave out; nothing is decided, and nothing of it kept."""
    before = everything_stored()
    refused = answer(client, asked, "reject", reason="take 4242 4242 4242 4242 instead")
    assert refused.status_code == 422
    assert "Do not write card numbers or security codes here." in refused.content.decode()
    assert "4242 4242" not in refused.content.decode()
    assert everything_stored() == before
    assert standing(asked) == "pending"


def test_a_no_with_a_reason(client: Client, asked: Requested) -> None:
    assert answer(client, asked, "reject", reason=" Blue,\r\nnot red ").status_code == 302
    assert selectors.get_approval(asked.approval_id).answer == "Blue,\nnot red"
    page = shown(client, asked)
    assert "It is not checked out" in page
    assert "Blue, not red" in page


def test_asking_the_shop_leaves_it_to_the_staff(client: Client, asked: Requested) -> None:
    answer(client, asked, "escalate", reason="Is this a scam?")
    assert standing(asked) == "escalated"
    assert "The shop decides" in shown(client, asked)
    assert answer(client, asked).status_code == 409
    assert "Is this a scam?" in shown(client, asked)
    services.grant_approval(asked.approval_id, actor=Actor("staff", "sam-4711"))
    page = shown(client, asked)
    assert "The shop has approved this cart." in page
    assert "4711" not in page, "who of the staff it was is the shop's business"


def test_another_total_is_no_yes_and_five_of_them_are_a_no(client: Client, asked: Requested) -> None:
    """L5: five failed attempts at most."""
    for typed, left in (("", 4), ("5600", 3), ("65.00", 2), ("yes", 1)):
        page = answer(client, asked, total=typed)
        assert page.status_code == 403
        assert f"You can try {left} more time" in text_of(page)
        assert standing(asked) == "pending"
    page = answer(client, asked, total="1")
    assert (page.status_code, standing(asked)) == (403, "rejected")
    assert "was rejected" in text_of(page)
    assert answer(client, asked).status_code == 409


@pytest.mark.parametrize("fields", [{"choice": "maybe"}, {"choice": ""}, {"choice": "reject", "reason": "x" * 1001}])
def test_what_is_no_answer_is_told_and_counts_as_none(client: Client, asked: Requested, fields: Any) -> None:
    page = answer(client, asked, **fields)
    assert page.status_code == 400
    assert 'role="alert"' in page.content.decode()
    assert (standing(asked), Approval.objects.get().attempts) == ("pending", 0)


def test_after_the_window_it_says_so_in_the_words_of_the_rule(clock: Any, client: Client, asked: Requested) -> None:
    """L5"""
    clock.move_to(asked.expires_at)
    assert WINDOW_EXPIRED in shown(client, asked)
    page = answer(client, asked)
    assert page.status_code == 409
    assert WINDOW_EXPIRED in text_of(page)
    assert standing(asked) == "expired"


def test_when_the_session_has_ended_it_says_so_in_the_same_words(
    client: Client, asked: Requested, session: OpenedSession
) -> None:
    services.end_session(session.session_id)
    assert WINDOW_EXPIRED in shown(client, asked)
    assert answer(client, asked).status_code == 409


def test_after_a_change_of_the_cart_it_shows_what_was_asked_and_takes_no_answer(
    client: Client, asked: Requested, session: OpenedSession
) -> None:
    call("cart.add", session, item_id="bowl")
    page = shown(client, asked)
    assert "The cart has changed" in page
    assert "Rice bowl" not in page
    assert answer(client, asked).status_code == 409
    assert standing(asked) == "void"


def test_once_used_it_says_so(client: Client, asked: Requested, session: OpenedSession) -> None:
    answer(client, asked)
    call("checkout", session)
    assert "Approved and checked out" in shown(client, asked)


def test_while_the_session_is_paused_it_takes_the_answer(
    client: Client, asked: Requested, session: OpenedSession
) -> None:
    services.pause_session(session.session_id)
    assert answer(client, asked).status_code == 302
    assert standing(asked) == "granted"


def test_erased_content_is_not_shown_and_the_page_still_says_what_was_decided(
    client: Client, asked: Requested, session: OpenedSession
) -> None:
    """A7"""
    answer(client, asked)
    services.end_session(session.session_id)
    SessionKey.objects.all().delete()
    page = shown(client, asked)
    assert "has been erased" in page
    assert "mug" not in page
    assert "56.00 EUR" in page


# Who may answer


@pytest.fixture
def members(configure: Any, opened: Any) -> Requested:
    """An approval of the customer ada, at a shop that knows its customers."""
    configure(STORE="tests.api.test_approval_page.Members", POLICIES=POLICIES)
    one = filled(opened(consumer=services.consumer_pseudonym("ada")))
    return services.request_approval(one.session_id, reason=REASON)


def test_only_the_customer_whose_session_it_is_sees_it_and_answers(client: Client, members: Requested) -> None:
    stranger, nobody = Client(), Client()
    stranger.cookies["customer"] = "bob"
    client.cookies["customer"] = "ada"

    for visitor, said in ((nobody, "Sign in first"), (stranger, "This is for somebody else")):
        page = shown(visitor, members)
        assert said in page
        for secret in ("mug", REASON, "56.00", "large-orders"):
            assert secret not in page
        assert answer(visitor, members).status_code == 403
    assert Approval.objects.get().opened_at is None
    assert (standing(members), Approval.objects.get().attempts) == ("pending", 1), "only a wrong customer counts"
    told: Any = selectors.events(Approval.objects.get().session_id)[-1]
    assert (told["kind"], told["params"]["cause"]) == ("approval.attempt_failed", "person")

    assert "56.00 EUR" in shown(client, members)
    assert answer(client, members).status_code == 302
    assert standing(members) == "granted"


def test_five_answers_of_others_close_the_link(members: Requested) -> None:
    stranger = Client()
    stranger.cookies["customer"] = "bob"
    for _ in range(6):
        answer(stranger, members)
    assert standing(members) == "rejected"


def test_a_session_of_nobody_known_is_answered_by_whoever_has_the_link(
    client: Client, configure: Any, session: OpenedSession
) -> None:
    configure(STORE="tests.api.test_approval_page.Members")
    asked = services.request_approval(session.session_id, reason=REASON)
    assert answer(client, asked).status_code == 302


# The address is a secret, and the page is safe


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_are_refused(
    client: Client, asked: Requested, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert getattr(client, method)(path_of(asked)).status_code == 405
    assert path_of(asked).rpartition("/")[2] not in caplog.text


def test_it_stays_out_of_caches_referrers_search_engines_frames_and_logs(
    client: Client, asked: Requested, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (path_of(asked), f"{path_of(asked)}x"):
        page = client.get(path)
        assert page.headers["Referrer-Policy"] == "strict-origin"
        assert "no-store" in page.headers["Cache-Control"]
        assert "noindex" in page.headers["X-Robots-Tag"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    for _ in range(6):
        answer(client, asked, total="1")
    assert path_of(asked).rpartition("/")[2] not in caplog.text


def test_the_style_sheet_may_come_from_where_the_site_serves_its_files(
    client: Client, asked: Requested, settings: Any
) -> None:
    settings.STATIC_URL = "https://static.example/v1/"
    policy = client.get(path_of(asked)).headers["Content-Security-Policy"]
    assert "style-src 'self' https://static.example;" in policy


@pytest.mark.parametrize("with_middleware", [False, True])
def test_a_form_of_another_site_decides_nothing(
    asked: Requested, settings: Any, with_middleware: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if with_middleware:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    else:
        settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if "Csrf" not in one]
    browser = Client(enforce_csrf_checks=True)
    page = browser.get(path_of(asked))
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert token is not None

    refused = answer(browser, asked)
    assert refused.status_code == 403
    assert "Open the link again" in text_of(refused)
    assert standing(asked) == "pending"
    assert path_of(asked).rpartition("/")[2] not in caplog.text
    assert answer(browser, asked, csrfmiddlewaretoken=token[1]).status_code == 302
    assert standing(asked) == "granted"


def test_an_unknown_link_is_a_page_for_people(client: Client) -> None:
    page = client.get("/agent-sessions/approve/unknown")
    assert page.status_code == 404
    assert "There is no such approval." in text_of(page)


def test_what_cannot_be_read_says_so(client: Client, asked: Requested, configure: Any, caplog: Any) -> None:
    configure(MASTER_KEYS={})
    page = client.get(path_of(asked))
    assert page.status_code == 503
    assert "cannot be shown right now" in text_of(page)
    assert path_of(asked).rpartition("/")[2] not in caplog.text


def test_hostile_words_do_no_harm(client: Client, opened: Any, monkeypatch: pytest.MonkeyPatch, configure: Any) -> None:
    """Scripts, and characters that turn the direction of text."""
    script = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7|add:7 }}'
    monkeypatch.setitem(store.ITEMS, "evil", Item("evil", f"{script}\u202egnirts", 5600, "EUR", options={"a": script}))
    configure(POLICIES=POLICIES)
    one = opened(agent=Agent(name=script))
    call("cart.add", one, item_id="evil")
    asked = services.request_approval(one.session_id, reason=f"{script}\u202e\u200b hidden\n second line")

    page = client.get(path_of(asked)).content.decode()
    services.reject_approval(asked.approval_id, reason=script)
    page += client.get(path_of(asked)).content.decode()

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7|add:7 }}" in page
    assert "\u202e" not in page
    assert "⟨U+202E⟩" in page
    assert not re.search(r"\s(on[a-z]+|style)=\S", re.sub(r"&lt;.*?&gt;", "", page)), "no inline script or style"


def test_answers_leave_the_session_sound(client: Client, asked: Requested, session: OpenedSession) -> None:
    answer(client, asked, total="1")
    answer(client, asked, "escalate")
    assert kinds(session)[-2:] == ["approval.attempt_failed", "approval.escalated"]
    assert selectors.verify_session(session.session_id).ok
    assert head(session).version == 4
