"""What an agent may write itself (S2, S6), and that nothing else is in its reach."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import AGENT_WRITABLE, LOCAL, check_agent_patch
from agent_sessions.exceptions import InvalidValue
from tests.domain.strategies import changes, states


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"agent": {"plan": 1}, "conversation": {"summary": "x"}, "customer": {"preferences": {"a": None}}},
        {"conversation": None, "customer": None},
        {"decisions": {"recommendations": {"r": {"item": "mug-1"}}, "fallbacks": None}},
        {"decisions": {}},
    ],
)
def test_an_agent_writes_what_is_its_own(patch):
    """S6: the conversation, what it knows of the customer, its variables, why it recommended and what it tried."""
    check_agent_patch(patch)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"decisions": None}, "/decisions"),
        ({"decisions": "gone"}, "/decisions"),
        ({"decisions": []}, "/decisions"),
        ({"decisions": {"payments": None}}, "/decisions/payments"),
        ({"decisions": {"fallbacks": {}, "approvals": {"a": {"status": "granted"}}}}, "/decisions/approvals"),
        ({"decisions": {"policies": {}}}, "/decisions/policies"),
        ({"decisions": {"fallbacks/x": {}}}, "/decisions/fallbacks~1x"),
        ({"agent": {"plan": 1}, "shopping": {"lines": {"1": {"unit_price": 1}}}}, "/shopping"),
        ({"shopping": {}}, "/shopping"),
        *(({name: None}, f"/{name}") for name in ("shopping", "checkout", "inventory", "recovery", "facts", "stale")),
        ({"agent/x": {}}, "/agent~1x"),
        ({"basket": {}}, "/basket"),
        ({"agent": None}, "/agent"),
        ({"agent": {"local": None}}, "/agent/local"),
        ({"agent": {"local": {"another": {}}}}, "/agent/local"),
    ],
)
def test_an_agent_writes_nothing_else_and_deletes_nothing_else(patch, path):
    """No approval, price, hold or outcome is the agent's to set, nor to delete with the slice that it stands in."""
    with pytest.raises(InvalidValue) as refused:
        check_agent_patch(patch)
    assert refused.value.path == path


def test_the_refusal_says_what_an_agent_may_write():
    with pytest.raises(InvalidValue) as refused:
        check_agent_patch({"decisions": {"approvals": {}}})
    for pointer in AGENT_WRITABLE:
        assert pointer in refused.value.problem
    with pytest.raises(InvalidValue, match="There is no such slice"):
        check_agent_patch({"basket": {}})


@settings(max_examples=50)
@given(states(), changes())
def test_what_an_agent_may_write_leaves_the_rest_as_it_is(state, change):
    """Whatever patch passes, everything but the agent's own parts is the same after it."""
    patch = change[1]
    own = {name: patch[name] for name in ("conversation", "customer") if name in patch}
    if isinstance(patch.get("agent"), dict):  # a null would delete what other agents keep there
        own["agent"] = {name: value for name, value in patch["agent"].items() if name != LOCAL}
    if isinstance(patch.get("decisions"), dict):
        names = ("fallbacks", "recommendations")
        own["decisions"] = {name: patch["decisions"][name] for name in names if name in patch["decisions"]}
    check_agent_patch(own)
    assert others(apply_patch(state, own)) == others(state)
    if own != patch:
        with pytest.raises(InvalidValue):
            check_agent_patch(patch)


def others(state) -> dict:
    rest = {name: value for name, value in state.items() if name not in ("agent", "conversation", "customer")}
    kept = {
        name: value for name, value in rest.pop("decisions", {}).items() if name not in ("fallbacks", "recommendations")
    }
    return {**rest, "decisions": kept}
