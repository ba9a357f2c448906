"""A cart is what the store said last: adding adds up, what goes wrong on one line holds up no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.exceptions import CartProblem, ItemNotFound
from agent_sessions.models import CheckoutHandoff
from agent_sessions.store import CapabilityCall, Outcome, Quote, repriced
from agent_sessions.store.cart import MAX_LINES
from tests.store.calling import call, head, quantities, state
from tests.store.shop import Shop
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def vouchered(asked: CapabilityCall) -> Outcome:
    return Outcome({}, patch=repriced(asked, vouchers=["WELCOME", "GONE"][: asked.params.get("count", 1)]))


def bundled(asked: CapabilityCall) -> Outcome:
    return Outcome({}, patch=repriced(asked, lines={"mug": ("mug", 1), "pot": ("pot", 3)}))


def last_patch(session: Any) -> Any:
    """The change that the last version made, read from what its event committed to."""
    services.end_session(session.session_id)
    openings = json.loads(services.get_artifact(session.session_id, disclose="all"))["openings"]
    return [one["value"] for one in openings if one["path"] == "patch"][-1]


def test_adding_adds_up_and_the_answer_says_so_in_text_and_minor_units(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug")
    answer = call("cart.add", one, id="mug", quantity=2)

    assert (answer.status, answer.version) == (201, 3)
    assert quantities(one) == {"mug": 3}
    assert (answer.data["item_id"], answer.data["quantity"], answer.data["cart_size"]) == ("mug", 3, 3)
    cart = answer.data["cart"]
    assert (cart["total"], cart["total_minor"], cart["currency"]) == ("37.50", 3750, "EUR")
    line = cart["items"][0]
    assert (line["unit_price"], line["total"], line["total_minor"]) == ("12.50", "37.50", 3750)
    assert call("cart.view", one).data == cart


@pytest.mark.parametrize(("currency", "text"), [("JPY", "1250"), ("KWD", "1.250"), ("EUR", "12.50")])
def test_amounts_have_the_decimals_of_their_currency(shop: Any, opened: Any, currency: str, text: str) -> None:
    shop.currency = currency
    assert call("cart.add", opened(), item_id="mug").data["cart"]["total"] == text


def test_adding_finds_the_line_of_the_item_whatever_its_id(shop: Any, opened: Any) -> None:
    line = {"item": "mug", "quantity": 1, "unit_price": 1, "currency": "EUR"}
    one = opened(state={"shopping": {"lines": {"l1": line}}})
    call("cart.add", one, item_id="mug")
    assert quantities(one) == {"l1": 2}
    call("cart.update", one, item_id="l1", quantity=5)
    assert quantities(one) == {"l1": 5}


def test_an_update_sets_and_zero_removes(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug", quantity=4)
    assert call("cart.update", one, item_id="mug", quantity=2, method="PUT").data["quantity"] == 2
    assert quantities(one) == {"mug": 2}
    emptied = call("cart.update", one, item_id="mug", quantity=0)
    assert (emptied.data["quantity"], emptied.data["cart"]["items"], emptied.data["cart"]["total"]) == (0, [], "0.00")
    assert quantities(one) == {}


def test_what_is_not_in_the_cart_cannot_be_changed_or_removed(shop: Any, opened: Any) -> None:
    one = opened()
    for name, params in (("cart.update", {"quantity": 1}), ("cart.remove", {})):
        with pytest.raises(ItemNotFound, match="in the cart"):
            call(name, one, item_id="mug", **params)
    assert "shopping" not in state(one)


def test_the_store_is_asked_before_the_cart_grows(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="pot", quantity=2)
    with pytest.raises(CartProblem, match="Only 2 left") as refused:
        call("cart.add", one, item_id="pot")
    assert refused.value.problems == (
        {"code": "out_of_stock", "message": "Only 2 left.", "line": "pot", "available": 2},
    )
    assert refused.value.status == 400
    with pytest.raises(ItemNotFound):
        call("cart.add", one, item_id="unicorn")
    assert quantities(one) == {"pot": 2}


def test_a_problem_of_one_line_holds_up_no_other_but_the_checkout(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="pot", quantity=2)
    shop.stock["pot"] = 1
    answer = call("cart.add", one, item_id="mug")

    assert quantities(one) == {"mug": 1, "pot": 2}
    assert [problem["line"] for problem in answer.data["cart"]["problems"]] == ["pot"]
    with pytest.raises(CartProblem, match="Only 1 left"):
        call("checkout", one)
    assert not CheckoutHandoff.objects.exists()
    call("cart.update", one, item_id="pot", quantity=1)
    assert "problems" not in call("cart.view", one).data
    assert call("checkout", one).data["human_handoff"] is True


def test_what_is_not_sold_any_more_stays_until_it_is_taken_out(shop: Any, opened: Any) -> None:
    one = opened()
    for item in ("mug", "plate"):
        call("cart.add", one, item_id=item)
    del shop.prices["plate"]
    answer = call("cart.update", one, item_id="mug", quantity=2)
    assert quantities(one) == {"mug": 2, "plate": 1}
    assert (answer.data["cart"]["total_minor"], answer.data["cart"]["problems"][0]["code"]) == (2500, "unknown_item")
    with pytest.raises(ItemNotFound):
        call("cart.update", one, item_id="plate", quantity=2)
    call("cart.remove", one, item_id="plate")
    assert quantities(one) == {"mug": 2}
    assert "problems" not in call("cart.view", one).data


def test_a_voucher_takes_off_and_one_that_does_not_hold_is_refused_when_it_is_new(
    shop: Any, opened: Any, own: Any
) -> None:
    from agent_sessions.store import Param

    own("own.vouchers", vouchered, requires_session=True, params={"count": Param("integer")})
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    call("own.vouchers", one)
    cart = call("cart.view", one).data
    assert (cart["total"], cart["subtotal"], cart["vouchers"]) == ("20.00", "25.00", ["WELCOME"])
    assert cart["discounts"] == [{"code": "WELCOME", "label": "Welcome", "amount": "-5.00", "amount_minor": -500}]
    with pytest.raises(CartProblem, match="not known"):
        call("own.vouchers", one, count=2)
    shop.vouchers.clear()
    assert call("cart.add", one, item_id="mug").data["cart"]["problems"][0]["voucher"] == "WELCOME"
    with pytest.raises(CartProblem):
        call("checkout", one)


def test_an_own_capability_cannot_lose_a_line_that_the_store_refuses(shop: Any, opened: Any, own: Any) -> None:
    own("own.bundle", bundled, requires_session=True)
    one = opened()
    with pytest.raises(CartProblem, match="Only 2 left"):
        call("own.bundle", one)
    assert quantities(one) == {}


def test_what_the_shop_keeps_with_a_line_outlives_new_prices(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug")
    kept = {"lines": {"mug": {"extra": {"wrap": "gold"}}}, "vouchers": {"WELCOME": {"label": "From a friend"}}}
    services.change_session(one.session_id, expected_version=2, patch={"shopping": kept})
    call("cart.add", one, item_id="mug")
    assert state(one)["shopping"]["lines"]["mug"]["extra"] == {"wrap": "gold"}
    assert state(one)["shopping"]["vouchers"] == {"WELCOME": {"label": "From a friend"}}


def test_a_line_may_cost_other_than_pieces_times_price(shop: Any, opened: Any) -> None:
    one = opened()
    shop.overcharges["mug"] = -250
    line = call("cart.add", one, item_id="mug", quantity=3).data["cart"]["items"][0]
    assert (line["unit_price"], line["total"]) == ("12.50", "35.00")
    shop.overcharges.clear()
    assert call("cart.add", one, item_id="mug").data["cart"]["items"][0]["total"] == "50.00"
    assert "extra" not in state(one)["shopping"]["lines"]["mug"]


def test_a_cart_has_a_most_of_lines_and_a_line_a_most_of_pieces(shop: Any, opened: Any) -> None:
    line = {"quantity": 1, "unit_price": 1, "currency": "EUR"}
    for number in range(MAX_LINES):
        shop.prices[f"x{number}"], shop.stock[f"x{number}"] = 1, 9
    full = {f"x{number}": {**line, "item": f"x{number}"} for number in range(MAX_LINES)}
    one = opened(state={"shopping": {"lines": full}})
    with pytest.raises(CartProblem, match="at most 100 lines"):
        call("cart.add", one, item_id="mug")
    call("cart.add", one, item_id="x1")
    two = opened()
    call("cart.add", two, item_id="plate", quantity=10_000)
    with pytest.raises(CartProblem, match="at most 10000 pieces"):
        call("cart.add", two, item_id="plate")


def test_a_change_writes_what_is_different_and_nothing_else(shop: Any, opened: Any) -> None:
    one = opened()
    for item in ("plate", "mug"):
        call("cart.add", one, item_id=item)
    call("cart.add", one, item_id="mug")
    patch = last_patch(one)["shopping"]
    assert patch.pop("quote").keys() == {"total", "fingerprint", "extra"}
    assert patch == {"lines": {"mug": {"quantity": 2}}}


class Forgetful(Shop):
    """Prices less, more or other than it was asked for."""

    wrong = "less"

    def price(self, lines: Any, vouchers: Any, *, ctx: Any) -> Quote:
        quote = super().price(lines, vouchers, ctx=ctx)
        priced = {"less": quote.lines[:-1], "twice": [*quote.lines, *quote.lines[:1]]}.get(self.wrong)
        if self.wrong == "more":
            priced = [*quote.lines, *super().price([type(lines[0])("gift", "plate", 1)], [], ctx=ctx).lines]
        return Quote(quote.currency, priced or [], quote.total)


@pytest.mark.parametrize("wrong", ["less", "twice", "more"])
def test_a_store_that_prices_another_cart_than_it_was_asked_for_changes_nothing(
    shop: Any, opened: Any, configure: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    configure(STORE=f"{__name__}.Forgetful", AUDIT=False)
    monkeypatch.setattr(Forgetful, "wrong", wrong)
    one = opened()
    before = everything_stored()
    with pytest.raises(CartProblem, match="could not price the whole cart"):
        call("cart.add", one, item_id="mug")
    assert everything_stored() == before


def test_checkout_of_an_empty_cart_is_refused(shop: Any, opened: Any) -> None:
    with pytest.raises(CartProblem, match="The cart is empty"):
        call("checkout", opened())


def test_checkout_brings_prices_up_to_date_and_says_what_has_changed(shop: Any, opened: Any) -> None:
    one = opened()
    call("cart.add", one, item_id="mug")
    shop.prices["mug"] = 1300
    answer = call("checkout", one, instructions="ring twice")
    assert answer.data["cart"]["total"] == "13.00"
    assert any("12.50" in text and "13.00" in text for text in answer.data["changes"])
    assert state(one)["shopping"]["instructions"] == "ring twice"
    assert head(one).end_reason == "completed"
