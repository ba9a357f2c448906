"""A customer signs in, lets agents act for them, answers what they ask, and lets another one take over."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import TransferGrant
from shop_demo.models import Order, Variant
from tests.shop_demo.people import ADDRESS, CHECKOUT, HIDDEN, PAYS, Human, ShoppingAgent

pytestmark = pytest.mark.django_db
PAGE = "/account/agents"
LET_ACT = "/account/agents/assertion"


class Customer:
    """A person's browser, signed in; its forms are checked for forgery as everybody's are."""

    def __init__(self, user: User | None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        if user is not None:
            self.client.force_login(user)
        self.reference = "" if user is None else f"customer-{user.pk}"
        self.page: Any = None

    def look(self, path: str = PAGE) -> str:
        self.page = self.client.get(path)
        return self.text

    def press(self, path: str, **form: str) -> str:
        """Send a form of the page that was looked at last, and follow where it leads."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.page.content.decode())
        assert token is not None, self.text
        self.page = self.client.post(path, {**form, "csrfmiddlewaretoken": token[1]}, follow=True)
        return self.text

    @property
    def text(self) -> str:
        """What the page says, without its tags, on one line."""
        main = self.page.content.decode().partition("<main")[2].partition("</main>")[0]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())

    def shown(self, name: str) -> str:
        """The secret that the page shows."""
        found = re.search(rf'<code id="{name}">([^<]+)</code>', self.page.content.decode())
        assert found is not None, self.text
        return found[1]


class ActingAgent(ShoppingAgent):
    """An agent that acts for whom an assertion speaks for."""

    def __init__(self, name: str, assertion: str) -> None:
        self.client = Client(headers={"X-Agent-Consumer": assertion})
        self.token = ""
        opened = self.send("POST", "/session", {"agent_name": name})
        self.token, self.session_id = opened["session_token"], opened["session_id"]


Send = Callable[..., ActingAgent]


@pytest.fixture(autouse=True)
def _as_in_the_demo(shop: None, settings: Any) -> None:
    """A session goes on when it has handed its cart over."""
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "END_ON_HANDOFF": False}


@pytest.fixture
def anna() -> Customer:
    return Customer(User.objects.create_user(username="anna", password="tea-for-two"))


@pytest.fixture
def ben() -> Customer:
    return Customer(User.objects.create_user(username="ben", password="tea-for-two"))


@pytest.fixture
def send(anna: Customer, tea: Variant) -> Send:
    """Send an agent for a customer, anna if no other is named, with so much tea in its cart."""

    def one(name: str, pieces: int = 1, *, customer: Customer = anna) -> ActingAgent:
        agent = ActingAgent(name, services.assert_consumer(customer.reference).text)
        if pieces:
            agent.add("TEA", pieces)
        return agent

    return one


def path_of(agent: ShoppingAgent, what: str) -> str:
    return f"{PAGE}/{agent.session_id}/{what}"


# Signing in


def test_a_customer_signs_in_and_comes_to_their_agents(anna: Customer) -> None:
    guest = Customer(None)
    answer = guest.client.get(PAGE)
    assert answer.status_code == 302
    assert answer["Location"] == f"/account/sign-in?next={PAGE}"
    guest.look(answer["Location"])
    assert "correct username and password" in guest.press(
        "/account/sign-in", username="anna", password="wrong", next=PAGE
    )
    assert "Signed in as anna" in guest.press("/account/sign-in", username="anna", password="tea-for-two", next=PAGE)
    assert guest.page.redirect_chain == [(PAGE, 302)]


def test_signing_in_leads_to_no_other_site(anna: Customer) -> None:
    guest = Customer(None)
    guest.look("/account/sign-in")
    form = {"username": "anna", "password": "tea-for-two", "next": "https://evil.example/"}
    guest.press("/account/sign-in", **form)
    assert guest.page.redirect_chain == [(PAGE, 302)]


def test_signing_out_takes_a_form_and_ends_it(anna: Customer) -> None:
    anna.look()
    assert anna.client.get("/account/sign-out").status_code == 405
    anna.press("/account/sign-out")
    assert anna.client.get(PAGE).status_code == 302


NOBODY = uuid.UUID(int=7)
DEEDS = [LET_ACT, *(f"{PAGE}/{NOBODY}/{what}" for what in ("grant", "answer", "pay", "give-up"))]
APPROVAL = f"/account/approvals/{NOBODY}"


@pytest.mark.parametrize("path", [*DEEDS, APPROVAL])
def test_who_is_not_signed_in_is_sent_to_do_so_and_does_nothing(path: str) -> None:
    guest = Client()
    answer = guest.post(path, {"answer": "confirm"})
    assert answer.status_code == 302
    assert answer["Location"] == f"/account/sign-in?next={PAGE}"


@pytest.mark.parametrize("path", [*DEEDS, APPROVAL])
def test_a_form_that_was_forged_is_refused(anna: Customer, path: str) -> None:
    assert anna.client.post(path, {"answer": "confirm"}).status_code == 403


@pytest.mark.parametrize("path", DEEDS)
def test_looking_does_nothing(anna: Customer, path: str) -> None:
    answer = anna.client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)


@pytest.mark.parametrize("path", ["/account/sign-in", PAGE])
def test_the_pages_are_kept_nowhere_and_have_nothing_inline(anna: Customer, path: str) -> None:
    guest = anna if path == PAGE else Customer(None)
    guest.look(path)
    assert guest.page.status_code == 200
    assert "no-store" in guest.page["Cache-Control"]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script", guest.page.content.decode())
    assert guest.page.content.decode().count("<h1") == 1


# Letting an agent act


def test_an_assertion_makes_an_agent_the_customers(anna: Customer, ben: Customer, tea: Variant) -> None:
    """C1: what the page shows is what an agent sends; its session is then on the page, and on nobody else's."""
    assert "No agent is busy for you" in anna.look()
    told = anna.press(LET_ACT)
    assertion = anna.shown("assertion")
    assert assertion.startswith("agc_")
    assert "holds for 1 day" in told
    assert f"-H 'X-Agent-Consumer: {assertion}'" in told
    assert "no-store" in anna.page["Cache-Control"]

    agent = ActingAgent("Phone", assertion)
    agent.add("TEA", 2)
    page = anna.look()
    assert "1 agent is busy for you here." in page
    assert re.search(r"Phone Shopping Since .* 2 × Sencha 29.00 EUR Total with delivery 33.90 EUR", page)
    assert assertion not in anna.page.content.decode(), "it is shown once"
    assert "No agent is busy for you" in ben.look()


def test_asked_twice_both_texts_speak_for_the_same_customer(anna: Customer, tea: Variant) -> None:
    for name in ("Phone", "Voice"):
        anna.look()
        anna.press(LET_ACT)
        ActingAgent(name, anna.shown("assertion"))
    assert "2 agents are busy for you here." in anna.look()


def test_the_page_shows_names_as_they_are_and_obeys_none(anna: Customer, send: Send) -> None:
    send("<b>Phone</b>", 0)
    page = anna.look()
    assert "&lt;b&gt;Phone" in anna.page.content.decode()
    assert "Nothing is in its cart yet." in page


@pytest.mark.parametrize(("kind", "told"), [("staff", "With the shop’s staff"), ("consumer", "With you")])
def test_who_has_a_session_is_said(anna: Customer, send: Send, kind: str, told: str) -> None:
    services.hand_over(uuid.UUID(send("Phone").session_id), to=Actor(kind))
    assert told in anna.look()


def test_a_paused_session_is_said_to_be(anna: Customer, send: Send) -> None:
    services.pause_session(uuid.UUID(send("Phone").session_id))
    assert "Phone Paused" in anna.look()


# Taking over


def test_another_agent_takes_over_with_the_code(anna: Customer, send: Send) -> None:
    """T4: the code that the page shows works once, and shuts the first agent out."""
    first = send("Phone", 2)
    anna.look()
    told = anna.press(path_of(first, "grant"))
    code = anna.shown("grant")
    assert "works once, and holds for 5 minutes" in told
    assert f'"grant": "{code}"' in told

    second = ShoppingAgent()
    taken = second.answer("POST", "/session/transfer", {"grant": code, "agent_name": "Tea expert"})
    assert taken.status_code == 201, taken.content
    assert taken.json()["data"]["cart"]["cart_size"] == 2
    assert first.answer("GET", "/session").status_code == 401
    assert second.answer("POST", "/session/transfer", {"grant": code}).status_code == 403
    page = anna.look()
    assert "Tea expert" in page
    assert "Phone" not in page


def test_a_second_code_replaces_the_first(anna: Customer, send: Send) -> None:
    first = send("Phone")
    codes = []
    for _ in range(2):
        anna.look()
        anna.press(path_of(first, "grant"))
        codes.append(anna.shown("grant"))
    answers = [
        ShoppingAgent().answer("POST", "/session/transfer", {"grant": code, "agent_name": "Expert"}) for code in codes
    ]
    assert [answer.status_code for answer in answers] == [403, 201]


def test_a_session_that_is_over_or_with_the_staff_is_not_given_away(anna: Customer, send: Send) -> None:
    over, held = send("Phone"), send("Voice")
    over.send("DELETE", "/session")
    services.hand_over(uuid.UUID(held.session_id), to=Actor("staff"))
    anna.look()
    assert "Phone is done here already" in anna.press(path_of(over, "grant"))
    assert "Somebody of the shop looks after the cart of Voice" in anna.press(path_of(held, "grant"))
    assert not TransferGrant.objects.exists()


@pytest.mark.parametrize("what", ["grant", "answer", "pay", "give-up"])
def test_a_session_of_somebody_else_is_not_there(anna: Customer, ben: Customer, send: Send, what: str) -> None:
    """C1, T4: ben does nothing with anna's session, nor with one that is nobody's, nor with one that there is not."""
    hers, nobodys = send("Phone"), ShoppingAgent()
    send("Voice")
    hers.hand_over()
    for session_id in (hers.session_id, nobodys.session_id, NOBODY):
        ben.look()
        ben.press(f"{PAGE}/{session_id}/{what}", answer="decline")
        assert ben.page.status_code == 404
    assert not TransferGrant.objects.exists()
    assert [one.answer for one in asked_on(anna)] == [""]
    assert "Waits for you to pay" in anna.look()
    assert ben.client.get(CHECKOUT).status_code == 404, "and its payment page is not his"


def asked_on(customer: Customer) -> list[selectors.AskedConfirmation]:
    consumer = services.consumer_pseudonym(customer.reference)
    found = selectors.in_progress("default", consumer)
    return [one for each in found for one in selectors.confirmations_asked(each.head)]


# Answering for the devices


def test_a_checkout_is_confirmed_for_all_devices_and_paid(anna: Customer, send: Send) -> None:
    """C2: one yes on the page speaks for all other agents; then the payment asks no more."""
    phone, _, _ = send("Phone"), send("Voice"), send("Web")
    phone.hand_over()
    page = anna.look()
    assert "Is it you who buys with Phone ? It wants to check out a cart of 19.40 EUR." in page
    assert "Web , Voice" in page
    told = anna.press(path_of(phone, "answer"), answer="confirm")
    assert "You have confirmed it: the cart of Phone can be paid now." in told
    assert [one.answer for one in asked_on(anna)] == ["confirmed", "confirmed"]
    assert "Is it you" not in anna.look()

    anna.press(path_of(phone, "pay"))
    assert anna.page.redirect_chain == [(CHECKOUT, 302)]
    assert "Other agents of yours" not in anna.text
    hidden = {name: html.unescape(value) for name, value in HIDDEN.findall(anna.page.content.decode())}
    assert "Thank you, Mira Holm." in anna.press(CHECKOUT, **hidden, **ADDRESS, token=PAYS)
    assert Order.objects.get().total == 1940
    assert "already ordered" in anna.look(CHECKOUT)


def test_this_was_not_me_gives_the_checkout_up(anna: Customer, send: Send) -> None:
    """C2: a no closes the checkout, so that its link is worth nothing; another agent may check out then."""
    phone, voice = send("Phone"), send("Voice")
    human = Human(phone.hand_over())
    anna.look()
    told = anna.press(path_of(phone, "answer"), answer="decline")
    assert "The checkout of Phone is given up. Nobody can pay it, and nothing was charged." in told
    assert not human.look().form_is_shown
    assert voice.hand_over()


def test_an_answer_twice_says_that_it_is_over(anna: Customer, send: Send) -> None:
    phone, _ = send("Phone"), send("Voice")
    phone.hand_over()
    anna.look()
    anna.press(path_of(phone, "answer"), answer="decline")
    for answer in ("decline", "confirm"):
        assert "The checkout of Phone is over already" in anna.press(path_of(phone, "answer"), answer=answer)
    assert "Nothing was done" in anna.press(path_of(phone, "answer"), answer="perhaps")


def test_a_checkout_is_given_up_once(anna: Customer, send: Send) -> None:
    phone = send("Phone")
    phone.hand_over()
    assert "Phone Checking out" in anna.look()
    assert "is given up" in anna.press(path_of(phone, "give-up"))
    assert "is over already" in anna.press(path_of(phone, "give-up"))
    assert "is over already" in anna.press(path_of(phone, "pay"))
    assert "Phone Shopping" in anna.look()


def test_a_session_that_ended_with_its_checkout_is_still_to_be_paid(anna: Customer, send: Send, settings: Any) -> None:
    """C1: with END_ON_HANDOFF there is nothing to take over any more, but the cart waits."""
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "END_ON_HANDOFF": True}
    phone = send("Phone")
    phone.hand_over()
    page = anna.look()
    assert "Phone Done shopping" in page
    assert "take over" not in page
    assert "Check and pay" in anna.press(path_of(phone, "pay"))


# Approvals


def ask(agent: ShoppingAgent) -> str:
    return str(services.request_approval(uuid.UUID(agent.session_id), reason="Is it too much?").approval_id)


def test_a_customer_approves_what_their_agent_asks(anna: Customer, send: Send) -> None:
    """L5: without the agent's link, by typing the total."""
    approval = ask(send("Phone", 2))
    assert "Phone asks for your approval For a cart of 33.90 EUR" in anna.look()
    path = reverse("shop:approval", args=[approval])
    page = anna.look(path)
    assert "Is it too much?" in page
    assert "2 × Sencha 29.00 EUR Subtotal 29.00 EUR Delivery 4.90 EUR" in page
    told = anna.press(path, answer="grant", total="39.30")
    assert "You can try 4 more times" in told
    assert anna.page.status_code == 400
    assert "Approved" in anna.press(path, answer="grant", total="33,90")
    found = selectors.get_approval(uuid.UUID(approval))
    assert (found.status, found.decided_by, found.attempts_left) == ("granted", "consumer", 4)
    assert found.opened_at is not None
    assert "asks for your approval" not in anna.look()


def test_a_customer_says_no_once(anna: Customer, send: Send) -> None:
    agent = send("Phone")
    approval = ask(agent)
    path = reverse("shop:approval", args=[approval])
    anna.look(path)
    assert "press one of the two buttons" in anna.press(path, answer="")
    assert "at most 1000" in anna.press(path, answer="reject", reason="no" * 501)
    form = {"answer": "reject", "reason": "I have tea"}
    token = anna.client.cookies["csrftoken"].value
    assert "Rejected" in anna.press(path, **form)
    assert selectors.get_approval(uuid.UUID(approval)).answer == "I have tea"
    again = anna.client.post(path, {"answer": "grant", "total": "19.40", "csrfmiddlewaretoken": token})
    assert again.status_code == 409
    assert selectors.get_approval(uuid.UUID(approval)).status == "rejected"


def test_a_total_that_fits_five_times_not_counts_as_a_no(anna: Customer, send: Send) -> None:
    approval = ask(send("Phone"))
    path = reverse("shop:approval", args=[approval])
    anna.look(path)
    for _ in range(5):
        told = anna.press(path, answer="grant", total="1")
    assert "It counts as a no now." in told
    assert "Rejected" in told


def test_an_approval_of_somebody_else_is_not_there(anna: Customer, ben: Customer, send: Send) -> None:
    """L5: neither on a page of the account, nor by the agent's link."""
    agent = send("Phone")
    requested = services.request_approval(uuid.UUID(agent.session_id), reason="Is it too much?")
    path = reverse("shop:approval", args=[requested.approval_id])
    ben.look()
    ben.press(path, answer="grant", total="19.40")
    assert ben.page.status_code == 404
    ben.look(path)
    assert ben.page.status_code == 404
    link = requested.url.removeprefix("https://shop.example")
    assert "for another customer" in ben.client.get(link).content.decode()
    assert "Sign in to the shop" in Client().get(link).content.decode()
    assert "asks for your approval" in anna.client.get(link).content.decode()
    assert selectors.get_approval(requested.approval_id).status == "pending"
