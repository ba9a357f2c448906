"""What two views of the same thing come to."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import check_whole
from tests.domain.merging import disputed, raced
from tests.shopping import basket, variables

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
