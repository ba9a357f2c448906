"""What two changes of a basket come to, rule by rule."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from agent_sessions.domain.merge import RULES, Conflict, How, Merged, MergeRule, merge
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import check_shape
from agent_sessions.domain.values import MAX_INTEGER
from agent_sessions.exceptions import InvalidValue
from tests.domain.merging import BASE, disputed, lines_after, raced
from tests.shopping import basket, line, variables

# The basket, rule by rule


def test_changes_of_different_things_merge():
    first = {"shopping": {"lines": {"l1": {"quantity": 4}}}, "conversation": {"summary": "Wants tea."}}
    second = {"shopping": {"lines": {"l2": None, "l3": line("Tray", item="sku-3")}}, "agent": {"mood": "calm"}}
    merged, state = raced(first, second)
    assert sorted(state["shopping"]["lines"]) == ["l1", "l3"]
    assert state["shopping"]["lines"]["l1"]["quantity"] == 4
    assert state["conversation"] == {"summary": "Wants tea."}
    assert state["agent"] == {"plan": {"step": 1, "goal": "tea"}, "mood": "calm"}
    assert merged.conflicts == ()


@pytest.mark.parametrize(
    ("theirs", "ours", "total"), [(4, 6, 7), (4, 4, 5), (1, 5, 3), (2, 2, 1), (9, 999_994, 1_000_000)]
)
def test_quantities_add_up(theirs, ours, total):
    """Both differences to the base, 3; two who both say 4 have each added one."""
    lines = lines_after(basket(l1={"quantity": theirs}), basket(l1={"quantity": ours}))
    assert lines["l1"] == line(quantity=total)


def test_what_a_patch_says_again_is_no_change_of_it():
    first = {
        "shopping": {"instructions": "Leave it", "lines": {"l1": {"quantity": 4}, "l2": None}},
        **variables(plan=None),
    }
    again = {"shopping": {"instructions": "Ring twice", "lines": {"l1": {"quantity": 3}, "l9": None}}}
    assert raced(first, {**again, **variables(plan={"step": 1})})[0] == Merged({})


def test_a_line_that_both_added_adds_up():
    added = basket(l3=line("Tray", 2, item="sku-3"))
    again = basket(l3=line("Tray, oak", 3, item="sku-3"))
    assert lines_after(added, again)["l3"] == line("Tray, oak", 5, item="sku-3")


@pytest.mark.parametrize(("theirs", "ours"), [(1, 2), (1, 1), (3 + MAX_INTEGER // 2, MAX_INTEGER), (1_000_000, 4)])
def test_a_sum_that_no_line_can_hold_is_a_conflict(theirs, ours):
    """Nobody asked for the line to go, so it does not: 3 less 2 less 1."""
    assert disputed(basket(l1={"quantity": theirs}), basket(l1={"quantity": ours})) == ["/shopping/lines/l1/quantity"]


def test_the_bounds_of_a_sum_are_those_of_a_line():
    (rule,) = (rule for rule in RULES if rule.how is How.ADD)
    for quantity in (rule.least, rule.most):
        check_shape(basket(l1={"quantity": 1}), {"shopping": {"lines": {"l1": line(quantity=quantity)}}})
    for quantity in (rule.least - 1, rule.most + 1):
        with pytest.raises(InvalidValue):
            check_shape(basket(l1={"quantity": 1}), {"shopping": {"lines": {"l1": line(quantity=quantity)}}})


def test_what_is_not_a_number_is_not_added():
    rules = [MergeRule("agent/*", How.ADD)]
    for odd in (True, "2", [1], {"n": 1}):
        assert disputed({"agent": {"n": 5}}, {"agent": {"n": odd}}, {"agent": {"n": 1}}, rules) == ["/agent/n"]
    for odd in (False, "1", [1]):
        assert disputed({"agent": {"n": 5}}, {"agent": {"n": 6}}, {"agent": {"n": odd}}, rules) == ["/agent/n"]


def test_a_line_removed_by_one_and_changed_by_the_other_is_a_conflict():
    first, second = basket(l1=None), basket(l1={"quantity": 4})
    assert disputed(first, second) == ["/shopping/lines/l1"]
    merged, _ = raced(first, second)
    assert merged.conflicts == (Conflict("/shopping/lines/l1", line(quantity=3), None, line(quantity=4)),)


def test_a_line_that_both_removed_is_gone():
    assert list(lines_after(basket(l1=None), basket(l1=None))) == ["l2"]


@pytest.mark.parametrize(
    "other",
    [{"item": "sku-9"}, {"variant": "large"}, {"options": {"engraving": "A"}}, {"currency": "USD", "unit_price": 1400}],
)
def test_pieces_of_one_thing_are_not_added_to_another(other):
    """More of what one side has meanwhile made something else; or two that came under the same line id."""
    (name, *_) = other
    assert disputed(basket(l1=other), basket(l1={"quantity": 4})) == [f"/shopping/lines/l1/{name}"]
    assert disputed(basket(l3=line(**other)), basket(l3=line())) == [f"/shopping/lines/l3/{name}"]
    assert disputed(basket(l1=other), basket(l2={"quantity": 4})) == []


def test_what_comes_together_is_not_mixed():
    first = {"shopping": {"delivery": {"method": "bike", "label": "Bike"}}}
    second = {"shopping": {"delivery": {"amount": 490, "currency": "EUR"}}}
    assert disputed(first, second) == ["/shopping/delivery"]
    assert disputed(first, {"shopping": {"delivery": None}}) == ["/shopping/delivery"]
    assert disputed(first, first) == []


def test_conflicts_are_told_by_their_paths():
    first = {"shopping": {"instructions": "a", "lines": {"l2": None, "l1": {"variant": "b"}}}}
    second = {"shopping": {"lines": {"l2": {"quantity": 2}, "l1": {"variant": "c"}}, "instructions": "d"}}
    assert disputed(first, second) == ["/shopping/instructions", "/shopping/lines/l1/variant", "/shopping/lines/l2"]


# Prices are the store's


def priced(total: int, **lines: Any) -> Any:
    return {"shopping": {"lines": lines, "quote": {"total": total}, "discounts": {"d1": {"amount": -total}}}}


def test_a_merged_basket_has_no_price_until_the_store_gives_one():
    first = priced(7000, l1={"quantity": 4, "unit_price": 1200, "extra": {"total": 4700}})
    second = priced(9000, l1={"quantity": 5, "unit_price": 1100, "extra": {"total": 5400}})
    merged, state = raced(first, second)
    assert merged.needs_repricing
    assert not state["shopping"].keys() & {"quote", "discounts"}
    assert state["shopping"]["lines"]["l1"]["quantity"] == 6
    assert state["shopping"]["lines"]["l1"]["unit_price"] == 1100  # one that a store gave, no mean of two
    assert state["shopping"]["lines"]["l2"] == BASE["shopping"]["lines"]["l2"]


@pytest.mark.parametrize(
    "second",
    [
        basket(l2=None),
        {"shopping": {"vouchers": {"TEA": {}}}},
        {"shopping": {"delivery": None}},
        {"shopping": {"quote": None, "discounts": None}},
    ],
)
def test_the_quote_goes_whichever_part_of_the_basket_each_side_changed(second):
    for one, other in permutations([priced(7000, l1={"quantity": 4}), second]):
        merged, state = raced(one, other)
        assert merged.needs_repricing
        assert not state["shopping"].keys() & {"quote", "discounts"}


def test_a_quote_that_was_asked_for_by_both_for_the_first_time_goes_too():
    base: Any = {"shopping": {"lines": {"l1": line()}}}
    theirs = apply_patch(base, basket(l1={"quantity": 2}))
    merged = merge(base, theirs, {"shopping": {"vouchers": {"TEA": {}}, "quote": {"total": 1, "currency": "EUR"}}})
    assert merged == Merged({"shopping": {"vouchers": {"TEA": {}}}}, needs_repricing=True)


@pytest.mark.parametrize("other", [{"shopping": {"instructions": "Leave it"}}, {"agent": {"mood": "calm"}}])
def test_who_alone_changed_the_basket_keeps_its_price(other):
    change = priced(7000, l1={"quantity": 4})
    for one, two in permutations([change, other]):
        merged, state = raced(one, two)
        assert not merged.needs_repricing
        assert state["shopping"]["quote"] == {"total": 7000, "currency": "EUR"}
        assert state["shopping"]["discounts"] == {"d1": {"amount": -7000, "currency": "EUR"}}


def test_baskets_that_both_emptied():
    merged, state = raced({"shopping": None}, {"shopping": None})
    assert not merged.conflicts
    assert "shopping" not in state
