"""The human pays for exactly what they saw, exactly once."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from agent_sessions import selectors, services
from shop_demo import checkout
from shop_demo.models import Order, Payment, ProviderCharge, Variant, Voucher
from shop_demo.payments import TestProvider
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import Human, ShoppingAgent

pytestmark = pytest.mark.django_db


def charged() -> list[tuple[int, str]]:
    """What the provider's books say: amounts and outcomes, in order."""
    return list(ProviderCharge.objects.order_by("pk").values_list("amount", "outcome"))


def stock(sku: str = "TEA") -> int:
    return Variant.objects.get(sku=sku).stock


class Dies(Exception):
    """Stands for the end of the process."""


def test_the_human_sees_what_the_agent_put_together(human: Human) -> None:
    assert human.page.status_code == 200
    for part in ("Pocket Assistant", "Sencha", "2 × €14.50", "€29.00", "€4.90", "Pay €33.90"):
        assert part in human.text
    assert "Changed since" not in human.text


def test_paying_makes_an_order_with_what_was_paid(human: Human, agent: ShoppingAgent) -> None:
    human.pay()

    order = Order.objects.get()
    assert human.page.redirect_chain[-1][0] == f"/orders/{order.ref}"
    assert (order.total, order.shipping, order.subtotal) == (3390, 490, 2900)
    assert [(line.sku, line.quantity, line.unit_price) for line in order.lines.all()] == [("TEA", 2, 1450)]
    assert (order.email, order.payment.amount) == ("mira@example.com", 3390)
    assert "€33.90" in human.text
    assert "Mira Holm" in human.text
    assert charged() == [(3390, "succeeded")]
    assert stock() == 3
    assert str(order.session_id) == agent.session_id


def test_the_session_ends_with_the_order_and_names_it(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    Human(agent.hand_over()).pay()
    order = Order.objects.get()

    handoff = selectors.get_handoff(order.handoff_id)
    assert (handoff.status, handoff.order_ref) == ("ordered", order.ref)
    assert agent.answer("GET", "/cart").status_code == 401


def test_a_voucher_and_what_the_agent_said_are_in_the_order(agent: ShoppingAgent, voucher: Voucher) -> None:
    agent.send("POST", "/voucher/apply", {"code": "TENTH"})
    url = agent.send("POST", "/checkout", {"instructions": "Ring twice."})["checkout_url"]
    human = Human(url.removeprefix("https://shop.example"))
    assert "Ring twice." in human.text
    human.pay()

    order = Order.objects.get()
    assert (order.discount, order.total, order.instructions) == (290, 3100, "Ring twice.")
    assert order.vouchers == [{"code": "TENTH", "label": "Off", "amount": 290}]
    assert "−€2.90" in human.text


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


def test_a_price_that_rose_is_shown_before_anything_is_paid(human: Human) -> None:
    form = human.form()
    Variant.objects.update(price_minor=1600)
    human.send(form)

    assert human.page.status_code == 409
    assert "Sencha: €14.50 each before, €16.00 now." in human.text
    assert "The total was €33.90 and is €36.90 now." in human.text
    assert charged() == []
    assert 'value="mira@example.com"' in human.page.content.decode()

    human.pay()
    assert (Order.objects.get().total, charged()) == (3690, [(3690, "succeeded")])


def test_a_price_that_rose_before_the_human_came_is_shown_too(agent: ShoppingAgent) -> None:
    link = agent.hand_over()
    Variant.objects.update(price_minor=1600)

    human = Human(link)

    assert "Changed since your agent put it together" in human.text
    assert "€14.50 each before, €16.00 now" in human.text
    assert human.pay().page.status_code == 200
    assert Order.objects.get().total == 3690


def test_a_price_that_fell_is_not_charged_at_the_old_one(human: Human) -> None:
    form = human.form()
    Variant.objects.update(price_minor=1000)
    human.send(form)

    assert charged() == []
    assert "Pay €24.90" in human.text


def test_prices_that_changed_are_shown_even_if_the_total_is_the_same(agent: ShoppingAgent) -> None:
    VariantFactory(sku="POT", product__title="Pot", price_minor=6000)
    agent.add("POT")
    human = Human(agent.hand_over())
    form = human.form()
    Variant.objects.filter(sku="POT").update(price_minor=5800)
    Variant.objects.filter(sku="TEA").update(price_minor=1550)
    human.send(form)

    assert charged() == []
    assert "Pot: €60.00 each before, €58.00 now. Sencha: €14.50 each before, €15.50 now." in human.text


@pytest.mark.parametrize("left", [0, 1])
def test_goods_that_sold_out_meanwhile_are_not_paid(human: Human, left: int) -> None:
    form = human.form()
    Variant.objects.update(stock=left)
    human.send(form)

    assert ("Sencha is sold out." if left == 0 else "Only 1 of Sencha left; you asked for 2.") in human.text
    assert not human.form_is_shown
    assert charged() == []


def test_what_is_left_of_a_cart_can_still_be_paid(agent: ShoppingAgent) -> None:
    VariantFactory(sku="POT", product__title="Pot", price_minor=6000)
    agent.add("POT")
    human = Human(agent.hand_over())
    form = human.form()
    Variant.objects.filter(sku="POT").update(stock=0)
    human.send(form)
    assert "Pot is no longer in what you would pay for." in human.text
    assert "Shipping: free before, €4.90 now." in human.text

    human.pay()
    assert (Order.objects.get().total, charged()) == (3390, [(3390, "succeeded")])


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


def test_a_voucher_that_expired_meanwhile_takes_nothing_off(agent: ShoppingAgent, voucher: Voucher) -> None:
    agent.send("POST", "/voucher/apply", {"code": "TENTH"})
    human = Human(agent.hand_over())
    form = human.form()
    Voucher.objects.update(valid_until=voucher.valid_from)
    human.send(form)

    assert "The voucher TENTH has expired." in human.text
    assert "Voucher TENTH no longer takes €2.90 off." in human.text
    assert charged() == []
    human.pay()
    assert (Order.objects.get().total, Order.objects.get().vouchers) == (3390, [])


def test_an_agent_that_goes_on_shopping_is_told_on_and_never_paid_unseen(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    form = human.form()
    agent.add("TEA")
    human.send(form)
    assert charged() == []
    assert "Your agent has changed the cart" in human.text
    assert "Sencha: 2 before, 3 now." in human.text

    human.pay()
    assert (Order.objects.get().total, charged()) == (4840, [(4840, "succeeded")])


def test_other_goods_at_the_same_price_are_shown_before_they_are_paid(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    VariantFactory(sku="POT", product__title="Pot", price_minor=2900)
    human = Human(agent.hand_over())
    form = human.form()
    agent.send("DELETE", "/cart", {"item_id": "TEA"})
    agent.add("POT")
    human.send(form)

    assert charged() == []
    assert "Pot is new." in human.text
    assert "Sencha is no longer in what you would pay for." in human.text


def test_what_the_agent_says_later_is_shown_before_it_is_paid(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    form = human.form()
    session = selectors.read_head(uuid.UUID(agent.session_id))
    services.change_session(
        session, expected_version=session.version, patch={"shopping": {"instructions": "To the cellar."}}
    )
    human.send(form)

    assert charged() == []
    assert "To the cellar." in human.text
    human.pay()
    assert Order.objects.get().instructions == "To the cellar."


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


def test_an_expired_link_takes_no_money(human: Human, clock: Any) -> None:
    late = Human(_fresh_link())
    form = late.form()
    clock.shift(10801)
    late.send(form)

    assert "This link has expired" in late.text
    assert charged() == []
    assert "This link has expired" in Human(late.link).text


def _fresh_link() -> str:
    agent = ShoppingAgent()
    agent.add("TEA")
    return agent.hand_over()


def test_a_payment_that_turns_out_after_the_link_expired_is_given_back(tea: Variant, clock: Any) -> None:
    human = Human(_fresh_link())
    human.pay("tok_timeout")
    clock.shift(10801)
    human.check_again()

    assert "the cart had been closed" in human.text
    assert charged() == [(1940, "refunded")]
    assert not Order.objects.exists()


def test_a_link_that_was_paid_shows_the_order(human: Human) -> None:
    human.pay()
    again = Human(human.link)

    assert "already ordered" in again.text
    assert Order.objects.get().get_absolute_url() in again.page.content.decode()


def test_a_newer_link_takes_the_place_of_the_older(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    first, second = agent.hand_over(), agent.hand_over()
    assert "There is a newer link" in Human(first).text

    Human(second).pay()
    assert Order.objects.count() == 1


def test_a_session_that_its_agent_ended_cannot_be_paid(agent: ShoppingAgent, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    human = Human(agent.hand_over())
    form = human.form()
    agent.send("DELETE", "/session")
    human.send(form)

    assert "This cart is closed" in human.text
    assert charged() == []


@pytest.mark.parametrize("change", [{"seen": "forged"}, {"seen": ""}, {"submission": "1"}, {"token": "tok_free"}])
def test_a_form_that_was_tampered_with_charges_nothing(human: Human, change: dict[str, str]) -> None:
    human.pay(**change)

    assert human.page.status_code == 400
    assert charged() == []
    assert human.form_is_shown


def test_what_was_seen_of_one_cart_does_not_pay_another(human: Human) -> None:
    agent = ShoppingAgent()
    agent.add("TEA", 1)
    cheaper = Human(agent.hand_over()).form()
    human.pay(seen=cheaper["seen"])

    assert human.page.status_code == 409
    assert charged() == []


def test_errors_stand_beside_their_fields(human: Human) -> None:
    human.pay(email="mira", name="")

    page = human.page.content.decode()
    assert human.page.status_code == 400
    assert "Enter a valid email address." in human.text
    assert 'aria-invalid="true"' in page
    assert 'id="id_email_error"' in page
    assert 'aria-describedby="id_email_helptext id_email_error"' in page
    assert 'value="mira"' in page


def test_without_a_link_there_is_no_cart(client: Any, db: None) -> None:
    page = client.get(reverse("shop:checkout"))

    assert page.status_code == 404
    assert "There is no cart here" in page.content.decode()
    assert client.post(reverse("shop:check_again")).status_code == 302


def test_a_form_from_elsewhere_is_refused(human: Human) -> None:
    form = human.form()
    human.client.handler.enforce_csrf_checks = True
    human.send(form)

    assert human.page.status_code == 403
    assert charged() == []


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


def test_who_bought_is_kept_by_the_order_only(human: Human) -> None:
    human.pay("tok_declined").pay()

    assert list(Payment.objects.values_list("buyer", flat=True)) == [{}, {}]


def test_an_order_is_found_by_its_whole_reference_only(human: Human, client: Any) -> None:
    human.pay()
    ref = Order.objects.get().ref

    assert client.get(f"/orders/{ref}").status_code == 200
    assert client.get(f"/orders/{ref[:-1]}").status_code == 404
    assert len(ref.replace("-", "")) == 16
