"""Paying exactly once: other windows, lost answers, crashes, and money that has to go back."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from shop_demo import checkout
from shop_demo.models import Order, Payment, Variant
from shop_demo.payments import TestProvider
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import Human, ShoppingAgent, charged, fresh_link, stock

pytestmark = pytest.mark.django_db


class Dies(Exception):
    """Stands for the end of the process."""


def test_a_declined_card_charges_nothing_and_another_can_be_tried(human: Human) -> None:
    human.pay("tok_declined")
    assert "not enough money" in human.text
    assert "Nothing was charged" in human.text
    assert human.page.status_code == 402
    assert not Order.objects.exists()
    assert stock() == 5

    human.pay("tok_success")
    assert Order.objects.get().total == 3390
    assert charged() == [(3390, "declined"), (3390, "succeeded")]


def test_a_declined_form_sent_twice_tries_the_card_once(human: Human) -> None:
    form = human.form("tok_declined")
    human.send(form)
    human.send(form)

    assert "not enough money" in human.text
    assert charged() == [(3390, "declined")]


def test_a_lost_answer_is_said_to_be_unknown_and_asked_for_again(human: Human) -> None:
    human.pay("tok_timeout")
    assert "do not know yet" in human.text
    assert not human.form_is_shown
    assert not Order.objects.exists()
    human.look()
    assert "do not know yet" in human.text

    human.check_again()
    assert Order.objects.get().total == 3390
    assert charged() == [(3390, "succeeded")]


def test_a_lost_answer_may_turn_out_to_be_a_no(human: Human) -> None:
    human.pay("tok_timeout_declined").check_again()
    assert "it has expired" in human.text

    human.pay("tok_success")
    assert Order.objects.count() == 1
    assert [outcome for _, outcome in charged()] == ["declined", "succeeded"]


def test_while_the_outcome_is_unknown_another_window_cannot_charge_again(human: Human) -> None:
    other = Human(human.link)
    form = other.form("tok_success")
    human.pay("tok_timeout")
    other.send(form)

    assert "do not know yet" in other.text
    assert len(charged()) == 1


def test_two_windows_make_one_order_and_one_charge(human: Human) -> None:
    other = Human(human.link)
    forms = human.form(), other.form()
    human.send(forms[0])
    other.send(forms[1])

    order = Order.objects.get()
    assert other.page.redirect_chain[-1][0] == f"/orders/{order.ref}"
    assert charged() == [(3390, "succeeded")]
    assert stock() == 3


def test_a_window_that_pays_while_another_is_being_charged_joins_it(
    human: Human, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Human(human.link)
    waiting = [other.form()]
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        if waiting:
            other.send(waiting.pop())
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    human.pay()

    order = Order.objects.get()
    assert human.page.redirect_chain[-1][0] == other.page.redirect_chain[-1][0] == f"/orders/{order.ref}"
    assert (charged(), stock()) == ([(3390, "succeeded")], 3)


def test_the_same_form_sent_twice_makes_one_order(human: Human) -> None:
    form = human.form()
    human.send(form).send(form)

    assert human.page.redirect_chain[-1][0] == f"/orders/{Order.objects.get().ref}"
    assert charged() == [(3390, "succeeded")]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("windows", [2, 5])
def test_windows_that_pay_at_the_same_moment_make_one_order(agent: ShoppingAgent, windows: int) -> None:
    link = agent.hand_over()
    people = [Human(link) for _ in range(windows)]
    forms = [human.form() for human in people]
    start = threading.Barrier(windows)
    failures: list[Exception] = []

    def pay(human: Human, form: dict[str, str]) -> None:
        try:
            start.wait(30)
            human.send(form)
        except Exception as failure:  # noqa: BLE001 - told below, by the test's own thread
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=pay, args=pair) for pair in zip(people, forms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    order = Order.objects.get()
    assert [human.page.redirect_chain[-1][0] for human in people] == [f"/orders/{order.ref}"] * windows
    assert charged() == [(3390, "succeeded")]
    assert stock() == 3


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_two_carts_with_the_last_piece_one_gets_it_and_the_other_its_money(tea: Variant) -> None:
    Variant.objects.update(stock=1)
    people = []
    for _ in range(2):
        agent = ShoppingAgent()
        agent.add("TEA")
        people.append(Human(agent.hand_over()))
    forms = [human.form() for human in people]
    start = threading.Barrier(2)

    def pay(human: Human, form: dict[str, str]) -> None:
        start.wait(30)
        human.send(form)
        connection.close()

    threads = [threading.Thread(target=pay, args=pair) for pair in zip(people, forms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert Order.objects.count() == 1
    assert stock() == 0
    assert [outcome for _, outcome in charged()].count("succeeded") == 1


def test_the_last_piece_gone_while_the_card_is_charged_gives_the_money_back(
    human: Human, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        Variant.objects.update(stock=1)
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    human.pay()

    assert "All of €33.90 was returned" in human.text
    assert charged() == [(3390, "refunded")]
    assert not Order.objects.exists()
    assert (stock(), Payment.objects.get().code) == (1, "sold_out")


def test_stock_is_taken_of_all_lines_or_of_none(agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    VariantFactory(sku="ZPOT", price_minor=6000)
    agent.add("ZPOT")
    human = Human(agent.hand_over())
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        Variant.objects.filter(sku="ZPOT").update(stock=0)
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    human.pay()

    assert (stock("TEA"), charged()) == (5, [(8900, "refunded")])


def test_a_cart_that_the_agent_changes_while_the_card_is_charged_gives_the_money_back(
    agent: ShoppingAgent, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        agent.add("TEA")
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    human.pay()

    assert "The cart was changed or closed while you paid" in human.text
    assert charged() == [(3390, "refunded")]
    assert not Order.objects.exists()
    assert stock() == 5


def test_a_payment_that_turns_out_after_the_link_expired_is_given_back(tea: Variant, clock: Any) -> None:
    human = Human(fresh_link())
    human.pay("tok_timeout")
    clock.shift(10801)
    human.check_again()

    assert "the cart had been closed" in human.text
    assert charged() == [(1940, "refunded")]
    assert not Order.objects.exists()


def test_a_crash_before_the_charge_leaves_nothing_to_pay_for(human: Human, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*facts: Any) -> None:
        raise Dies

    with monkeypatch.context() as broken:
        broken.setattr(TestProvider, "charge", dies)
        with pytest.raises(Dies):
            human.pay()
    human.look()
    assert "do not know yet" in human.text

    human.check_again()
    assert "never reached the payment provider" in human.text
    human.pay()
    assert Order.objects.count() == 1
    assert [outcome for _, outcome in charged()] == ["declined", "succeeded"]


def test_a_crash_after_the_charge_is_finished_by_asking(human: Human, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*facts: Any) -> None:
        raise Dies

    with monkeypatch.context() as broken:
        broken.setattr(checkout, "_settle", dies)
        with pytest.raises(Dies):
            human.pay()
    assert not Order.objects.exists()
    Variant.objects.update(price_minor=9999)

    human.look().check_again()
    assert (Order.objects.get().total, charged()) == (3390, [(3390, "succeeded")])


def test_a_crash_before_the_refund_is_finished_by_asking(human: Human, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        Variant.objects.update(stock=0)
        return charge(self, *facts)

    def dies(*facts: Any) -> None:
        raise Dies

    with monkeypatch.context() as broken:
        broken.setattr(TestProvider, "charge", slow)
        broken.setattr(TestProvider, "refund", dies)
        with pytest.raises(Dies):
            human.pay()
    Variant.objects.update(stock=5)
    human.look()
    assert "on its way back" in human.text

    human.check_again()
    assert charged() == [(3390, "refunded")]
    assert not Order.objects.exists()
