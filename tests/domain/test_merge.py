"""V5: a change is merged into what others have made of the state meanwhile, the same way everywhere, or not at all."""

from __future__ import annotations

import copy
from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_sessions.domain.merge import RULES, Conflict, How, Merged, MergeRule, merge
from agent_sessions.domain.patch import apply_patch, diff, same
from agent_sessions.domain.state import check_shape, check_whole
from agent_sessions.domain.values import MAX_INTEGER
from agent_sessions.exceptions import InvalidValue
from tests.domain.strategies import changes, json_maps, patches, races, states
from tests.shopping import basket, line, variables

TIMELESS = (MergeRule("a/**", How.ADD), MergeRule("b/*", How.CONFLICT), MergeRule("c", How.KEYS, same=("a",)))
"""Rules of every kind whose result does not depend on who came first, for places that the strategies visit."""

BASE: Any = {
    "shopping": {
        "lines": {"l1": line(quantity=3), "l2": line("Teapot", item="sku-2")},
        "discounts": {"d1": {"amount": -100, "currency": "EUR"}},
        "delivery": {"method": "parcel", "label": "Parcel"},
        "quote": {"total": 5000, "currency": "EUR"},
        "instructions": "Ring twice",
    },
    "agent": {"plan": {"step": 1, "goal": "tea"}},
}


def merged_state(theirs, merged: Merged):
    assert not merged.conflicts
    return apply_patch(theirs, merged.patch)


def raced(first, second, base=BASE, rules=RULES):
    """Merge ``second`` after ``first``, both made for ``base``."""
    theirs = apply_patch(base, first)
    merged = merge(base, theirs, second, rules)
    return merged, apply_patch(theirs, merged.patch)


def lines_after(first, second) -> Any:
    merged, state = raced(first, second)
    assert not merged.conflicts
    return state["shopping"]["lines"]


def disputed(first, second, base=BASE, rules=RULES) -> list[str]:
    """The paths of the conflicts, which must be the same whoever comes first, and leave nothing to be written."""
    (one, after_first), (other, after_second) = raced(first, second, base, rules), raced(second, first, base, rules)
    assert {(c.path, c.theirs is None, c.ours is None) for c in one.conflicts} == {
        (c.path, c.ours is None, c.theirs is None) for c in other.conflicts
    }
    if one.conflicts:
        assert one.patch == other.patch == {}
        assert not one.needs_repricing
        assert (after_first, after_second) == (apply_patch(base, first), apply_patch(base, second))
    return [conflict.path for conflict in one.conflicts]


# Whatever the states and patches are


@given(json_maps(), patches(), st.booleans())
def test_onto_an_unmoved_base_a_merge_is_the_patch(base, patch, shared):
    theirs = base if shared else copy.deepcopy(base)
    assert same(merged_state(theirs, merge(base, theirs, patch)), apply_patch(base, patch))


@given(changes())
def test_states_of_the_right_shape_onto_an_unmoved_base(change):
    base, patch = change
    merged = merge(base, copy.deepcopy(base), patch)
    assert same(merged_state(base, merged), apply_patch(base, patch))
    assert not merged.needs_repricing


@given(json_maps(), json_maps())
def test_an_empty_patch_changes_nothing(base, theirs):
    assert merge(base, theirs, {}) == Merged({})


@given(json_maps(), json_maps(), patches())
def test_no_input_is_changed_and_key_order_does_not_matter(base, theirs, patch):
    def turned(value):
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    given_ones = copy.deepcopy((base, theirs, patch))
    merged = merge(base, theirs, patch, TIMELESS)
    assert (base, theirs, patch) == given_ones
    again = merge(turned(base), turned(theirs), turned(patch), TIMELESS)
    assert again.conflicts == merged.conflicts
    assert [conflict.path for conflict in merged.conflicts] == sorted(conflict.path for conflict in merged.conflicts)
    assert same(again.patch, merged.patch)


@given(json_maps(), patches(6), patches(6))
def test_without_rules_neither_side_loses_a_change(base, first, second):
    theirs, ours = apply_patch(base, first), apply_patch(base, second)
    merged = merge(base, theirs, second, ())
    assume(not merged.conflicts)
    after = apply_patch(theirs, merged.patch)
    assert same(apply_patch(after, diff(base, theirs)), after)
    assert same(apply_patch(after, diff(base, ours)), after)


@given(json_maps(), patches(6), patches(6))
def test_without_rules_what_both_changed_alike_is_no_conflict(base, first, second):
    """A conflict names two values that differ from the base and from one another, at a place that both changed."""
    theirs, ours = apply_patch(base, first), apply_patch(base, second)
    for conflict in merge(base, theirs, second, ()).conflicts:
        values = (conflict.base, conflict.theirs, conflict.ours)
        assert values == tuple(value_at(tree, conflict.path) for tree in (base, theirs, ours))
        assert all(not same(one, other) for one, other in ((values[0], values[1]), (values[0], values[2]), values[1:]))
    assert merge(base, theirs, first, ()) == Merged({})


def value_at(tree: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        tree = tree.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(tree, dict) else None
    return tree


@given(json_maps(), patches(6), patches(6))
def test_who_comes_first_does_not_matter(base, first, second):
    one, after_one = raced(first, second, base, TIMELESS)
    other, after_other = raced(second, first, base, TIMELESS)
    mirrored = {(c.path, repr(c.base), repr(c.ours), repr(c.theirs)) for c in other.conflicts}
    assert {(c.path, repr(c.base), repr(c.theirs), repr(c.ours)) for c in one.conflicts} == mirrored
    if not mirrored:
        assert same(after_one, after_other)


@given(races(3))
def test_three_baskets_come_to_the_same_in_any_order(race):
    base, changes = race
    # The agent's variables follow the history's order by their rule; here they are to be disputed instead.
    rules = (*RULES, MergeRule("agent/**", How.CONFLICT))
    results = []
    for order in permutations(changes):
        state = base
        for patch in order:
            merged = merge(base, state, patch, rules)
            assume(not merged.conflicts)
            state = apply_patch(state, merged.patch)
        results.append(state)
    assert all(same(results[0], result) for result in results)
    check_whole(results[0])


@given(races(2))
def test_two_baskets_add_up(race):
    base, (first, second) = race
    merged, after = raced(first, second, base)
    assume(not merged.conflicts)
    check_shape(merged.patch, after)
    begun, one, other = (
        {key: line["quantity"] for key, line in state["shopping"]["lines"].items()}
        for state in (base, apply_patch(base, first), apply_patch(base, second))
    )
    for key in begun.keys() | one.keys() | other.keys():
        expected = one.get(key, 0) + other.get(key, 0) - begun.get(key, 0)
        found = after["shopping"]["lines"].get(key, {"quantity": 0})["quantity"]
        removed = key in begun and not (key in one and key in other)
        assert found == (0 if removed else expected)


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


# Views

NOON, LATER = "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"


def test_the_later_view_of_the_talk_and_of_variables_wins():
    first = {"conversation": {"products": {"1": "Mug", "2": "Pot"}}, "agent": {"plan": {"step": 2}}}
    second = {"conversation": {"products": {"1": "Blue mug"}}, "agent": {"plan": {"step": 3, "goal": None}}}
    _, state = raced(first, second)
    assert state["conversation"]["products"] == {"1": "Blue mug", "2": "Pot"}
    assert state["agent"] == {"plan": {"step": 3}}
    _, state = raced(second, first)
    assert state["conversation"]["products"] == {"1": "Mug", "2": "Pot"}
    assert state["agent"] == {"plan": {"step": 2}}


def test_a_variable_removed_by_one_and_changed_by_the_other_follows_the_later():
    removed, changed = variables(plan=None), variables(plan={"step": 2})
    assert raced(changed, removed)[1]["agent"] == {}
    assert raced(removed, changed)[1]["agent"] == {"plan": {"step": 2, "goal": "tea"}}


def test_a_map_and_a_leaf_are_a_conflict_even_where_the_later_wins():
    assert disputed(variables(plan="tea"), variables(plan={"step": 2})) == ["/agent/plan"]
    assert disputed(variables(new=[1]), variables(new={"a": 1})) == ["/agent/new"]
    assert disputed({"shopping": {"lines": 1}}, basket(l1={"quantity": 2})) == ["/shopping/lines"]
    assert disputed(variables(plan="tea"), variables(plan="coffee")) == []


def seen(at: str, available: int = 1) -> Any:
    return {"inventory": {"stock": {"sku-1": {"available": available, "at": at}}}}


@pytest.mark.parametrize("base", [{}, seen("2026-03-01T10:00:00Z", 9)])
def test_of_two_views_that_tell_their_time_the_newer_stands_whoever_comes_first(base):
    older, newer = seen("2026-03-01T14:02:00+02:00", 2), seen("2026-03-01T13:19:00Z", 5)
    assert raced(older, newer, base)[1] == newer
    assert raced(newer, older, base)[1] == newer


def test_a_view_is_never_mixed_from_two():
    base = {"facts": {"known": {"size": {"value": 1, "source": "a", "fetched_at": "2026-03-01T10:00:00Z"}}}}
    refreshed = {"facts": {"known": {"size": {"fetched_at": NOON}}}}
    replaced = {"facts": {"known": {"size": {"value": 2, "source": "b", "fetched_at": "2026-03-01T11:00:00Z"}}}}
    for one, other in permutations([refreshed, replaced]):
        assert raced(one, other, base)[1] == apply_patch(base, refreshed)


def entry(path: str, value: Any) -> Any:
    for key in reversed(path.split("/")):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    ("path", "base", "one", "other"),
    [
        ("customer/addresses/home", {"label": "Home"}, {"country": "DE"}, {"address_ref": "a1"}),
        (
            "decisions/payments/p1",
            {"method": "card", "outcome": "started"},
            {"outcome": "failed"},
            {"code": "no_funds"},
        ),
        ("decisions/approvals/a1", {"status": "pending"}, {"status": "granted"}, {"decided_at": NOON}),
        ("decisions/fallbacks/f1", {"tried": "card"}, {"tried": "invoice"}, {"confidence": 40}),
        ("decisions/recommendations/r1", {"item": "sku-1"}, {"item": "sku-2"}, {"reason": "Keeps warm."}),
        ("checkout", {"method": "card"}, {"method": "invoice"}, {"approval": "a1"}),
        ("inventory/holds/h1", {"item": "sku-1", "quantity": 2, "held_at": NOON}, {"quantity": 3}, {"until": LATER}),
        ("recovery/steps/pay", {"outcome": "started"}, {"outcome": "done"}, {"attempt": 2}),
        ("recovery/interventions/i1", {"kind": "call", "since": NOON}, {"kind": "mail"}, {"reason": "Declined."}),
        ("recovery/retry", {"rule": "backoff"}, {"attempts_left": 1}, {"not_before": NOON}),
    ],
)
def test_what_is_one_thing_is_not_mixed_from_two_sides(path, base, one, other):
    begun, first, second = entry(path, base), entry(path, one), entry(path, other)
    check_whole(apply_patch(apply_patch(begun, first), second))
    assert disputed(first, second, begun) == [f"/{path}"]
    assert disputed(first, first, begun) == []


@pytest.mark.parametrize(
    ("path", "older", "newer"),
    [
        ("decisions/policies/spend-cap", {"result": "allow", "at": NOON}, {"result": "deny", "at": LATER}),
        ("inventory/stock/sku-1", {"available": 3, "at": NOON}, {"available": 1, "at": LATER}),
        ("recovery/endpoints/psp", {"failures": 4, "last_at": NOON}, {"failures": 1, "last_at": LATER}),
        (
            "stale/parts/item:1",
            {"kind": "item", "ref": "1", "since": NOON},
            {"kind": "item", "ref": "1", "since": LATER},
        ),
    ],
)
def test_what_tells_its_time_follows_it(path, older, newer):
    check_whole(entry(path, newer))
    for one, other in permutations([entry(path, older), entry(path, newer)]):
        assert raced(one, other, {})[1] == entry(path, newer)


@pytest.mark.parametrize(
    "path", ["conversation/products/1", "conversation/questions/1", "conversation/files/1", "customer/preferences/size"]
)
def test_what_was_said_last_stands(path):
    check_whole(entry(path, "b"))
    assert raced(entry(path, "a"), entry(path, "b"), {})[1] == entry(path, "b")


@pytest.mark.parametrize("at", ["2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00", "noon", "", 7, None])
def test_views_whose_times_tell_nothing_are_a_conflict(at):
    other = seen(NOON, 2)
    odd = {"inventory": {"stock": {"sku-1": {"available": 3} | ({} if at is None else {"at": at})}}}
    assert disputed(odd, other, {}) == ["/inventory/stock/sku-1"]
    assert disputed({"inventory": {"stock": {"sku-1": None}}}, other, seen("2026-03-01T10:00:00Z")) == [
        "/inventory/stock/sku-1"
    ]


# Rules


def test_of_several_rules_the_last_decides():
    first, second = {"shopping": {"instructions": "a"}}, {"shopping": {"instructions": "b"}}
    assert disputed(first, second) == ["/shopping/instructions"]
    _, state = raced(first, second, rules=(*RULES, MergeRule("shopping/instructions", How.LATEST)))
    assert state["shopping"]["instructions"] == "b"
    strict = (*RULES, MergeRule("agent/**", How.CONFLICT), MergeRule("shopping/delivery", How.KEYS))
    assert disputed(variables(plan={"step": 2}), variables(plan={"step": 3}), rules=strict) == ["/agent/plan/step"]
    parts = ({"method": "bike"}, {"label": "By bike"})
    one, other = ({"shopping": {"delivery": part}} for part in parts)
    assert raced(one, other, rules=strict)[1]["shopping"]["delivery"] == {**parts[0], **parts[1]}


def test_paths_of_rules_are_spelled_like_pointers():
    rules = [MergeRule("agent/a~1b/*", How.ADD), MergeRule("agent/~0", How.LATEST)]
    base: Any = {"agent": {"a/b": {"*": 1, "**": 1}, "~": 1, "a": {"b": {"c": 1}}}}
    first = variables(**{"a/b": {"*": 2, "**": 3}, "~": 2})
    second = variables(**{"a/b": {"*": 3, "**": 3}, "~": 3})
    assert raced(first, second, base, rules)[1]["agent"] == {
        "a/b": {"*": 4, "**": 5},
        "~": 3,
        "a": {"b": {"c": 1}},
    }
    deeper = [variables(a={"b": {"c": number}}) for number in (2, 3)]
    assert disputed(*deeper, base, rules) == ["/agent/a/b/c"]


@given(states(), states(), states())
def test_every_state_can_be_merged_with_every_other(base, theirs, ours):
    merged = merge(base, theirs, diff(base, ours))
    after = apply_patch(theirs, merged.patch)
    assert not (merged.conflicts and merged.patch)
    if not merged.conflicts:
        assert diff(theirs, after) == merged.patch  # it says nothing that is so already


# Cost


class Unread:
    """A value that must not be looked at."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("read")

    __hash__ = None  # type: ignore[assignment]


def test_what_the_patch_does_not_name_is_not_read():
    def state(**more: Any) -> Any:
        return {"shopping": {"lines": {}}, "agent": {"a": 1, "b": Unread(), **more}, "facts": {"known": Unread()}}

    merged = merge(state(), state(c=1), variables(a=2))
    assert merged == Merged({"agent": {"a": 2}})


def test_what_the_two_states_share_is_not_read():
    base: Any = {"shopping": {"lines": {"l1": Unread()}}, "agent": {"a": {"b": Unread()}, "n": 1}}
    theirs = apply_patch(base, variables(n=2))
    assert merge(base, theirs, variables(a=None)) == Merged({"agent": {"a": None}})
    assert merge(base, theirs, {"shopping": {"lines": {"l1": None}}}) == Merged({"shopping": {"lines": {"l1": None}}})
