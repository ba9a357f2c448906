"""The checkout page: what it shows, takes and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from agent_sessions import selectors
from shop_demo.models import Order, Payment, Voucher
from tests.shop_demo.people import Human, ShoppingAgent, charged, fresh_link, stock

pytestmark = pytest.mark.django_db


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


def test_an_expired_link_takes_no_money(human: Human, clock: Any) -> None:
    late = Human(fresh_link())
    form = late.form()
    clock.shift(10801)
    late.send(form)

    assert "This link has expired" in late.text
    assert charged() == []
    assert "This link has expired" in Human(late.link).text


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


def test_who_bought_is_kept_by_the_order_only(human: Human) -> None:
    human.pay("tok_declined").pay()

    assert list(Payment.objects.values_list("buyer", flat=True)) == [{}, {}]


def test_an_order_is_found_by_its_whole_reference_only(human: Human, client: Any) -> None:
    human.pay()
    ref = Order.objects.get().ref

    assert client.get(f"/orders/{ref}").status_code == 200
    assert client.get(f"/orders/{ref[:-1]}").status_code == 404
    assert len(ref.replace("-", "")) == 16
