"""What can come between an agent's handoff and the human's payment: never a wrong amount, never two orders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from agent_sessions import selectors
from shop_demo.agent import Agent, Refused
from shop_demo.human import Human
from shop_demo.models import Order, Payment, Variant
from shop_demo.payments import Charge, TestProvider
from tests.faults.support import PATIENCE, at_once
from tests.journeys.conftest import charged, hand_over, nothing_happened, reprice, restock

SENCHA, SHIPPING = 790, 490


@pytest.fixture(autouse=True)
def session_goes_on(configure: Callable[..., None]) -> None:
    """The agent keeps its session while the human pays."""
    configure(END_ON_HANDOFF=False)


def test_the_agent_changes_the_cart_while_the_human_pays(shop: str, agent: Agent, human: Human) -> None:
    page = human.open(hand_over(agent, "SENCHA-50G").url)
    agent.call("cart.add", item_id="SENCHA-50G", quantity=1)

    told = human.pay(page)

    assert told.status == 409
    assert "Sencha First Harvest (50 g): 1 before, 2 now." in told.text
    assert "The total was €12.80 and is €20.70 now." in told.text
    assert nothing_happened()
    paid = human.pay(told)
    assert paid.status == 200
    order = Order.objects.get()
    assert order.ref in paid.text
    assert order.total == charged() == 2 * SENCHA + SHIPPING
    assert not agent.is_live(), "the order has completed the session"


def test_an_agent_that_comes_after_the_payment_is_told_that_the_session_is_over(
    shop: str, agent: Agent, human: Human
) -> None:
    human.pay(human.open(hand_over(agent, "SENCHA-50G").url))

    with pytest.raises(Refused) as refusal:
        agent.call("cart.add", item_id="SENCHA-50G")

    assert refusal.value.status == 401
    assert Order.objects.get().total == charged() == SENCHA + SHIPPING


def test_two_tabs_one_after_the_other_make_one_order(shop: str, agent: Agent, human: Human) -> None:
    link = hand_over(agent, "SENCHA-50G").url
    first, second = human.open(link), human.open(link)

    paid, again = human.pay(first), human.pay(second)

    order = Order.objects.get()
    assert order.ref in paid.text
    assert order.ref in again.text, "the second tab leads to the order that there is"
    assert charged() == order.total == SENCHA + SHIPPING


def test_two_tabs_and_a_friend_at_the_same_moment_make_one_order(shop: str, agent: Agent) -> None:
    link = hand_over(agent, "SENCHA-50G").url
    people = [Human(), Human(), Human(), Human()]
    pages = [person.open(link) for person in people]

    answers = at_once([lambda p=p, page=page: p.pay(page) for p, page in zip(people, pages, strict=True)])

    order = Order.objects.get()
    assert charged() == order.total == SENCHA + SHIPPING
    assert [answer.status for answer in answers if not isinstance(answer, Exception)] != []
    for answer in answers:
        assert not isinstance(answer, Exception), answer
        assert answer.status < 500, answer.text
    for person in people:
        assert order.ref in person.open(link).text, "whoever comes back sees the order"


def test_the_link_has_expired(shop: str, agent: Agent, human: Human, configure: Callable[..., None]) -> None:
    configure(HANDOFF_TTL=3600, TTL={"standard": 24 * 3600})
    link = hand_over(agent, "SENCHA-50G").url
    page = human.open(link)

    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        told = human.pay(page)
        opened = human.open(link)

    for answer in (told, opened):
        assert answer.form_with("token") is None
        assert "expired" in answer.text.lower()
        assert "agent" in answer.text.lower(), "it says who can help: the agent makes a new link"
    assert nothing_happened()


def test_the_price_rose(shop: str, agent: Agent, human: Human) -> None:
    page = human.open(hand_over(agent, "SENCHA-50G").url)
    reprice("SENCHA-50G", 890)

    told = human.pay(page)

    assert told.status == 409
    assert "€7.90 each before, €8.90 now" in told.text
    assert nothing_happened()
    human.pay(told)
    assert Order.objects.get().total == charged() == 890 + SHIPPING


def test_who_opens_the_link_after_the_price_rose_is_told_before_paying(shop: str, agent: Agent, human: Human) -> None:
    link = hand_over(agent, "SENCHA-50G").url
    reprice("SENCHA-50G", 890)

    page = human.open(link)

    assert "€7.90 each before, €8.90 now" in page.text
    human.pay(page)
    assert Order.objects.get().total == charged() == 890 + SHIPPING


def test_the_last_piece_was_sold(shop: str, agent: Agent, human: Human) -> None:
    link = hand_over(agent, "TENMOKU-1").url
    page = human.open(link)
    restock("TENMOKU-1", 0)

    told = human.pay(page)

    assert told.status == 409
    assert "Tenmoku Tea Bowl is sold out" in told.text
    assert told.form_with("token") is None, "there is nothing left to pay for"
    assert nothing_happened()


def test_two_people_pay_for_the_last_piece_at_the_same_moment(
    shop: str, make_agent: Callable[[], Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, charge = threading.Barrier(2), TestProvider.charge

    def charge_both(*facts: Any) -> Charge:
        both.wait(PATIENCE)  # each has seen that there is one left
        return charge(*facts)

    monkeypatch.setattr(TestProvider, "charge", charge_both)
    links = [hand_over(make_agent(), "TENMOKU-1").url for _ in range(2)]
    people = [Human(), Human()]
    pages = [person.open(link) for person, link in zip(people, links, strict=True)]

    answers = at_once([lambda p=p, page=page: p.pay(page) for p, page in zip(people, pages, strict=True)])

    order = Order.objects.get()
    assert Variant.objects.get(sku="TENMOKU-1").stock == 0
    assert charged() == order.total, "whoever came second has the money back"
    assert sorted(Payment.objects.values_list("outcome", flat=True)) == ["refunded", "succeeded"]
    texts = [answer.text for answer in answers if not isinstance(answer, Exception)]
    assert len(texts) == 2, answers
    assert sum(order.ref in text for text in texts) == 1
    assert sum("Somebody else bought the last of it" in text and "was returned" in text for text in texts) == 1


def test_a_card_is_declined_and_another_one_pays(shop: str, agent: Agent, human: Human) -> None:
    page = human.open(hand_over(agent, "SENCHA-50G").url)

    declined = human.pay(page, token="tok_declined")

    assert declined.status == 402
    assert "not enough money" in declined.text
    assert nothing_happened()
    paid = human.pay(declined)
    assert Order.objects.get().ref in paid.text


def test_the_answer_of_the_payment_is_lost(shop: str, agent: Agent, human: Human) -> None:
    link = hand_over(agent, "SENCHA-50G").url
    waiting = human.pay(human.open(link), token="tok_timeout")
    assert Payment.objects.get().outcome == Payment.Outcome.UNKNOWN
    assert human.open(link).form_with("token") is None, "nobody pays twice because an answer is missing"

    check = next(form for form in waiting.forms if form.action.endswith("/check"))
    found = human.send(waiting, check)

    order = Order.objects.get()
    assert order.ref in found.text
    assert charged() == order.total == SENCHA + SHIPPING


def test_a_newer_link_replaces_the_older(shop: str, agent: Agent, human: Human) -> None:
    old = hand_over(agent, "SENCHA-50G").url
    new = hand_over(agent, "MUG-SEA").url

    told = human.open(old)

    assert told.form_with("token") is None
    assert "newer" in told.text
    human.pay(human.open(new))
    assert Order.objects.get().total == charged() == SENCHA + 1850 + SHIPPING


def test_two_agents_at_once_have_nothing_in_common(shop: str, make_agent: Callable[[], Agent]) -> None:
    goods = ("SENCHA-50G", "MUG-SEA")

    def buy(sku: str) -> tuple[str, str]:
        agent, human = make_agent(), Human()
        link = hand_over(agent, sku, sku).url
        return sku, human.pay(human.open(link)).answer.url

    bought = at_once([lambda sku=sku: buy(sku) for sku in goods])

    for result in bought:
        assert not isinstance(result, Exception), result
        sku, url = result
        order = Order.objects.get(ref=url.rpartition("/")[2])
        assert [(line.sku, line.quantity) for line in order.lines.all()] == [(sku, 2)]
    assert Order.objects.count() == 2


def test_the_link_and_the_order_are_for_those_who_have_them(shop: str, agent: Agent) -> None:
    hand_over(agent, "SENCHA-50G")
    stranger = Human()

    assert stranger.open(f"{shop}/agent-sessions/handoff/{'x' * 43}").status == 404
    assert stranger.open(f"{shop}/checkout/agent").status == 404
    assert stranger.open(f"{shop}/orders/2222-2222-2222-2222").status == 404


def test_a_host_that_wraps_every_request_in_a_transaction_sells_and_keeps_the_refusals(
    shop: str, agent: Agent, human: Human, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    with pytest.raises(Refused, match="Only 40"):
        agent.call("cart.add", item_id="SENCHA-50G", quantity=41)
    page = human.open(hand_over(agent, "SENCHA-50G").url)

    declined = human.pay(page, token="tok_declined")
    assert declined.status == 402
    assert Payment.objects.get().outcome == Payment.Outcome.DECLINED
    human.pay(declined)

    order = Order.objects.get()
    assert charged() == order.total == SENCHA + SHIPPING
    kinds = [event["kind"] for event in selectors.events(order.session_id)]
    assert "capability.refused" in kinds
