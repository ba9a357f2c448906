"""Who may call what: each rule, their order, the consumer's scope, and a limit that never holds up a cheaper cart."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.identity import Agent, Scope
from agent_sessions.store import (
    AllowOnly,
    Capability,
    CapabilityCall,
    Constrain,
    Deny,
    NeedsHuman,
    Outcome,
    SpendCap,
    StoreContext,
    Verdict,
)
from agent_sessions.store.capabilities import SessionFacts
from agent_sessions.store.policies import WithinScope, decide_after, decide_before

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def cart(total: int | None = None, currency: str = "EUR", **quantities: int) -> dict[str, Any]:
    lines = {
        item: {"item": item, "quantity": quantity, "unit_price": 100, "currency": currency}
        for item, quantity in quantities.items()
    }
    if total is None:
        total = 100 * sum(quantities.values())
    return {"shopping": {"lines": lines, "quote": {"total": total, "currency": currency}}}


def calling(name: str = "cart.add", *, agent: str = "Shopper", scope: Scope | None = None, **facts: Any) -> Any:
    capability = Capability(
        name, "POST", "/x", lambda _: Outcome({}), "x.called", requires_session=facts.pop("needs_session", True),
        human_handoff=facts.pop("human_handoff", False),
    )  # fmt: skip
    session = SessionFacts(uuid.UUID(int=1), 1, Agent(agent), "", "", scope or Scope(), NOW)
    given_facts = {"params": {}, "state": {}, "session": session, **facts}
    return CapabilityCall(capability, site_store=None, ctx=StoreContext(), now=NOW, **given_facts)


def denied(verdict: Verdict | None) -> str | None:
    """The rule that denied, or None."""
    return None if verdict is None or verdict.allowed else verdict.rule


def test_what_no_rule_decides_is_allowed_by_default() -> None:
    assert decide_before([], calling()) == Verdict(True, "default")
    assert decide_after([], calling(), {}) is None


@pytest.mark.parametrize(
    ("name", "agent", "result"),
    [
        ("cart.add", "Shopper", None), ("contact", "Shopper", "no-contact"), ("contact", "Friend", None),
        ("contacts", "Shopper", None), ("Contact", "Shopper", None),
    ],
)  # fmt: skip
def test_deny_is_about_the_capabilities_and_agents_that_it_names(name: str, agent: str, result: str | None) -> None:
    rule = Deny(name="no-contact", capabilities=("contact",), agents=("Shop*",))
    if name == "Contact":
        name = "contact.other"
    assert denied(rule.before(calling(name, agent=agent))) == result


@pytest.mark.parametrize(("name", "result"), [("cart.add", None), ("cart.view", None), ("checkout", "carts")])
def test_allow_only_denies_the_rest(name: str, result: str | None) -> None:
    rule = AllowOnly(name="carts", capabilities=("cart.*",), agents=("Shop*",))
    assert denied(rule.before(calling(name))) == result
    assert rule.before(calling(name, agent="Other")) is None


def test_allow_only_never_overrules_a_denial() -> None:
    deny, only = Deny(name="no", capabilities=("cart.add",)), AllowOnly(name="carts", capabilities=("cart.*",))
    for order in ([deny, only], [only, deny]):
        assert denied(decide_before(order, calling("cart.add"))) == "no"


def test_the_first_rule_that_decides_decides() -> None:
    rules = [Deny(name="first"), Deny(name="second")]
    assert decide_before(rules, calling()).rule == "first"
    assert decide_before(list(reversed(rules)), calling()).rule == "second"


@pytest.mark.parametrize(
    ("rule", "value", "ok"),
    [
        ({"maximum": 3}, 3, True), ({"maximum": 3}, 4, False), ({"minimum": 2}, 1, False), ({"minimum": 2}, 2, True),
        ({"allowed": ("a", "b")}, "a", True), ({"allowed": ("a", "b")}, "c", False),
    ],
)  # fmt: skip
def test_constrain_bounds_a_parameter(rule: dict[str, Any], value: object, ok: bool) -> None:
    verdict = Constrain(name="few", param="p", **rule).before(calling(params={"p": value}))
    assert (verdict is None) is ok
    assert verdict is None or verdict.rule == "few"
    assert Constrain(name="few", param="p", **rule).before(calling(params={})) is None


@pytest.mark.parametrize("field", ["capabilities", "agents"])
@pytest.mark.parametrize("rule", [Deny, AllowOnly, NeedsHuman])
def test_a_pattern_that_is_not_in_a_tuple_is_refused(rule: Any, field: str) -> None:
    """It would be taken for its letters, one of which is a star."""
    with pytest.raises(TypeError, match="as tuples of patterns"):
        rule(name="carts", **{field: "cart.*"})


def test_some_calls_are_kept_for_a_person() -> None:
    verdict = NeedsHuman(name="ask", capabilities=("checkout",)).before(calling("checkout"))
    assert verdict is not None
    assert (verdict.allowed, verdict.needs_human) == (False, True)
    assert NeedsHuman(name="ask", capabilities=("checkout",)).before(calling("cart.add")) is None


def test_a_person_is_needed_from_a_total_on_before_or_after_new_prices() -> None:
    rule = NeedsHuman(name="ask", over=500)
    assert rule.before(calling(state={})) is None
    assert rule.before(calling(state=cart(mug=5))) is None
    assert denied(rule.before(calling(state=cart(mug=6)))) == "ask"
    assert denied(rule.after(calling(state=cart(mug=5)), cart(total=501, mug=5))) == "ask"


def test_the_scope_bounds_what_needs_a_session_and_nothing_else() -> None:
    scope = Scope(capabilities=("cart.add",))
    rule = WithinScope()
    assert rule.before(calling("cart.add", scope=scope)) is None
    assert denied(rule.before(calling("cart.remove", scope=scope))) == "scope"
    assert rule.before(calling("search", scope=scope, needs_session=False)) is None
    assert rule.before(calling("cart.remove", scope=Scope())) is None
    assert rule.before(calling("search", session=None, needs_session=False)) is None


CAPS = [
    lambda amount: (SpendCap(name="cap", amount=amount, currency="EUR"), Scope()),
    lambda amount: (WithinScope(), Scope(spend_cap=amount, currency="EUR")),
]


@pytest.mark.parametrize("cap", CAPS, ids=["policy", "scope"])
def test_a_cart_may_cost_the_limit_and_no_more(cap: Any) -> None:
    rule, scope = cap(500)
    assert rule.after(calling(scope=scope), cart(mug=5)) is None
    verdict = rule.after(calling(scope=scope, state=cart(mug=5)), cart(mug=6))
    assert verdict is not None
    assert (verdict.allowed, verdict.needs_human) == (False, True)
    assert verdict.message == "The cart would cost 6.00 EUR; the limit is 5.00 EUR."
    assert denied(rule.after(calling(scope=scope), cart(currency="USD", mug=1))) is not None
    assert rule.after(calling(scope=scope), {}) is None


@pytest.mark.parametrize("cap", CAPS, ids=["policy", "scope"])
def test_after_prices_have_risen_there_is_a_way_back_but_none_to_checkout(cap: Any) -> None:
    """Each thing cost 1.00 and costs 3.00 now: taking one out leaves a cart above what it was."""
    rule, scope = cap(500)
    before, after = cart(total=500, mug=2, pot=3), cart(total=1200, mug=2, pot=2)
    assert rule.after(calling("cart.update", scope=scope, state=before), after) is None
    assert denied(rule.after(calling("cart.update", scope=scope, state=before), cart(total=1200, mug=3, pot=2)))
    for same in (before, after):
        verdict = rule.after(calling("checkout", human_handoff=True, scope=scope, state=after), same | after)
        assert denied(verdict) is not None


def test_a_cart_in_another_currency_can_be_emptied() -> None:
    rule = SpendCap(name="cap", amount=500, currency="EUR")
    before = cart(currency="USD", mug=2)
    assert rule.after(calling("cart.remove", state=before), cart(currency="USD", total=0)) is None
    assert denied(rule.after(calling(state=before), cart(currency="USD", mug=3))) == "cap"


carts = st.builds(
    lambda total, currency, lines: cart(total, currency, **lines),
    st.integers(0, 1000), st.sampled_from(["EUR", "USD"]),
    st.dictionaries(st.sampled_from(["mug", "pot", "cup"]), st.integers(1, 9)),
)  # fmt: skip


@given(carts, carts, st.integers(0, 1000), st.booleans())
def test_a_limit_refuses_what_costs_more_and_never_what_makes_a_cart_cheaper(
    before: dict[str, Any], after: dict[str, Any], amount: int, handoff: bool
) -> None:
    rule = SpendCap(name="cap", amount=amount, currency="EUR")
    was, now = before["shopping"]["quote"], after["shopping"]["quote"]
    within = now["currency"] == "EUR" and now["total"] <= amount
    cheaper = was["currency"] == now["currency"] and now["total"] <= was["total"]

    refused = denied(rule.after(calling(state=before, human_handoff=handoff), after)) is not None

    if within:
        assert not refused
    elif handoff:
        assert refused
    elif cheaper:
        assert not refused
    else:
        had, has = before["shopping"]["lines"], after["shopping"]["lines"]
        grows = any(key not in had or line["quantity"] > had[key]["quantity"] for key, line in has.items())
        shrinks = any(key not in has or has[key]["quantity"] < line["quantity"] for key, line in had.items())
        assert refused is (grows or not shrinks)


names = st.sampled_from(["search", "cart.add", "cart.view", "checkout", "contact"])
rules = st.lists(
    st.one_of(
        st.builds(Deny, name=st.uuids().map(str), capabilities=st.tuples(names)),
        st.builds(AllowOnly, name=st.uuids().map(str), capabilities=st.lists(names, min_size=1).map(tuple)),
        st.builds(NeedsHuman, name=st.uuids().map(str), capabilities=st.tuples(names)),
    ),
    max_size=5,
)


@given(rules, names)
def test_more_rules_never_allow_more(some: list[Any], name: str) -> None:
    """A list of the package's rules allows a call exactly if each of them does, in whatever order."""
    alone = all(denied(decide_before([rule], calling(name))) is None for rule in some)
    assert decide_before(some, calling(name)).allowed is alone
    assert decide_before(list(reversed(some)), calling(name)).allowed is alone


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_rule_has_a_name_that_the_history_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Deny(name=name)


def asked_for(state: dict[str, Any], status: str = "granted", capability: str = "checkout") -> dict[str, Any]:
    """The same state, after a human was asked about its cart."""
    note = {"status": status, "capability": capability, "expires_at": (NOW + timedelta(minutes=1)).isoformat()}
    return {**state, "checkout": {"approval": "a1"}, "decisions": {"approvals": {"a1": note}}}


RULE = NeedsHuman(name="large", capabilities=("checkout", "cart.*"), over=200)


def handing(state: dict[str, Any], **facts: Any) -> Any:
    return calling("checkout", human_handoff=True, state=state, **facts)


def test_a_granted_approval_of_the_cart_as_it_is_satisfies_a_rule_that_wants_a_human() -> None:
    """L5"""
    granted = asked_for(cart(mug=3))
    assert RULE.before(handing(granted)) is None
    assert RULE.after(handing(granted), granted) is None
    dearer = {**granted, **cart(total=301, mug=3)}
    verdict = RULE.after(handing(granted), dearer)
    assert verdict is not None
    assert (verdict.allowed, verdict.approval) == (False, "granted")
    assert verdict.message == "The cart is not the one that was asked about any more. The agent has to ask again."


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("pending", "has not answered yet"), ("escalated", "has not answered yet"), ("rejected", "has rejected"),
        ("expired", "Approval window expired. Consumer must re-authorize."), ("void", "any more"), ("used", "used"),
        ("made up", "any more"),
    ],
)  # fmt: skip
def test_any_other_answer_does_not(status: str, told: str) -> None:
    verdict = RULE.before(handing(asked_for(cart(mug=3), status)))
    assert verdict is not None
    assert (verdict.allowed, verdict.needs_human) == (False, True)
    assert told in verdict.message
    assert verdict.approval == ("void" if status == "made up" else status)


def test_nor_does_one_that_nobody_asked_for_or_for_another_call_or_too_late() -> None:
    for state in (cart(mug=3), asked_for(cart(mug=3), capability="order"), {**cart(mug=3), "checkout": {}}):
        verdict = RULE.before(handing(state))
        assert verdict is not None
        assert (verdict.approval, verdict.message) == ("none", RULE.message)
    late = RULE.before(replace(handing(asked_for(cart(mug=3))), now=NOW + timedelta(minutes=1)))
    assert late is not None
    assert late.approval == "expired"


def test_what_hands_nothing_over_cannot_be_approved() -> None:
    verdict = RULE.before(calling("cart.add", state=asked_for(cart(mug=3), capability="cart.add")))
    assert verdict is not None
    assert (verdict.needs_human, verdict.approval) == (True, "")


def test_below_its_limit_a_rule_asks_nobody() -> None:
    assert RULE.before(handing(asked_for(cart(mug=2), "rejected"))) is None
