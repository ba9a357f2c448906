"""What agents hold is kept from other shoppers, agents and humans alike, until it is bought (X1)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.models import Hold
from agent_sessions.store import StoreContext
from shop_demo.models import Order, Variant
from shop_demo.store import DemoStore
from tests.faults.support import at_once
from tests.services.holding import held
from tests.shop_demo.factories import VariantFactory
from tests.shop_demo.people import Human, ShoppingAgent, charged, fresh_link, stock

pytestmark = pytest.mark.django_db


def hold(agent: ShoppingAgent, quantity: int, sku: str = "TEA") -> dict[str, Any]:
    made: dict[str, Any] = agent.send("POST", "/session/holds", {"item_id": sku, "quantity": quantity})
    return made


def test_the_shop_says_how_many_it_has_with_one_query(tea: Variant, django_assert_num_queries: Any) -> None:
    VariantFactory(sku="POT", stock=0, product__slug="pot")
    with django_assert_num_queries(1):
        assert DemoStore().stock(["TEA", "POT", "sofa", "pot"], ctx=StoreContext()) == {"TEA": 5, "POT": 0}


@pytest.mark.parametrize("ends", [True, False])
def test_the_order_takes_what_was_held(agent: ShoppingAgent, configure: Any, ends: bool) -> None:
    """X1, L6: in one transaction with the stock."""
    configure(END_ON_HANDOFF=ends)
    assert hold(agent, 2)["free"] == 3

    Human(agent.hand_over()).pay()

    assert Order.objects.count() == 1
    assert (stock(), held(), Hold.objects.get().released_because) == (3, {}, "ordered")


def test_another_agent_sees_and_buys_what_is_left(agent: ShoppingAgent) -> None:
    """X1"""
    hold(agent, 4)
    other = ShoppingAgent()
    assert other.send("GET", "/detail/TEA")["available"] == 1
    refused = other.answer("POST", "/cart", {"item_id": "TEA", "quantity": 2})
    assert (refused.status_code, refused.json()["details"]["problems"][0]["available"]) == (400, 1)
    Human(fresh_link()).pay()
    assert (Order.objects.count(), stock(), held()) == (1, 4, {"TEA": 4})


def test_a_human_who_has_a_link_already_does_not_get_what_was_held_since(agent: ShoppingAgent) -> None:
    """X1: the page tells, and nothing is paid."""
    link = fresh_link()
    hold(agent, 5)

    human = Human(link)

    assert "All of Sencha that are left are held for other shoppers." in human.text
    assert not human.form_is_shown
    assert charged() == []


def test_what_is_held_between_the_page_and_the_button_is_not_paid(agent: ShoppingAgent) -> None:
    human = Human(fresh_link())
    form = human.form()
    hold(agent, 5)
    human.send(form)
    assert human.page.status_code == 409
    assert (charged(), stock()) == ([], 5)


def test_what_is_held_while_the_card_is_charged_goes_to_who_holds_it(
    agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X1: the money goes back."""
    from shop_demo.payments import TestProvider

    real = TestProvider.charge

    def slow(*args: Any, **facts: Any) -> Any:
        hold(agent, 5)
        return real(*args, **facts)

    human = Human(fresh_link())
    with monkeypatch.context() as patched:
        patched.setattr(TestProvider, "charge", slow)
        human.pay()
    assert not Order.objects.exists()
    assert [outcome for _, outcome in charged()] == ["refunded"]
    assert (stock(), held()) == (5, {"TEA": 5})
    Human(agent.hand_over()).pay()
    assert Order.objects.count() == 1


def test_a_hold_whose_time_has_passed_keeps_nothing(agent: ShoppingAgent, clock: Any) -> None:
    holder = ShoppingAgent()
    hold(holder, 5)
    clock.shift(timedelta(minutes=10))
    Human(fresh_link()).pay()
    assert Order.objects.count() == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_orders_and_holds_that_meet_never_sell_what_is_held(tea: Variant) -> None:
    """X1: three pieces, four who want one each, in both ways."""
    Variant.objects.update(stock=3)
    humans = [Human(fresh_link()) for _ in range(2)]
    agents = [ShoppingAgent() for _ in range(3)]

    def place(agent: ShoppingAgent) -> Any:
        return agent.answer("POST", "/session/holds", {"item_id": "TEA", "quantity": 1})

    jobs: list[Any] = [human.pay for human in humans]
    jobs += [lambda agent=agent: place(agent) for agent in agents]
    results = at_once(jobs)

    assert not [result for result in results if isinstance(result, Exception)], results
    placed = sum(result.status_code == 201 for result in results[2:])  # type: ignore[union-attr]
    assert held().get("TEA", 0) == placed
    assert stock() == 3 - Order.objects.count()
    assert placed <= stock(), "what is held is there"
    assert placed + Order.objects.count() == 3
    kept = [outcome for _, outcome in charged() if outcome == "succeeded"]
    assert len(kept) == Order.objects.count()


def test_a_session_that_ends_gives_back_what_it_held(agent: ShoppingAgent) -> None:
    """L6"""
    hold(agent, 5)
    services.end_session(uuid.UUID(agent.session_id))
    Human(fresh_link()).pay()
    assert Order.objects.count() == 1
