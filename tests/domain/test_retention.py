"""Retention rules are data: what a site sets is read strictly, and says where it is wrong (A5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.retention import DEFAULT_RULES, as_json, parse_rules
from agent_sessions.exceptions import InvalidValue

OWN = {"class": "content", "starts": "end", "maximum_days": 10, "basis": "Own"}


def test_without_a_setting_the_defaults_hold() -> None:
    """A5: 30 days, 13 months, 400 days."""
    assert parse_rules({}) == DEFAULT_RULES
    told = [(rule.name, rule.data_class, rule.starts, rule.minimum.days, rule.maximum.days) for rule in DEFAULT_RULES]
    assert told == [
        ("personal", "personal", "end", 0, 30),
        ("decision_log", "content", "end", 0, 396),
        ("order_evidence", "content", "order", 380, 400),
    ]


def test_a_default_is_changed_in_part() -> None:
    personal, *others = parse_rules({"personal": {"maximum_days": 7}})
    assert (personal.maximum, personal.basis) == (timedelta(days=7), "GDPR Art. 5(1)(e)")
    assert tuple(others) == DEFAULT_RULES[1:]


def test_a_default_is_switched_off() -> None:
    assert [rule.name for rule in parse_rules({"decision_log": None})] == ["personal", "order_evidence"]


def test_a_rule_of_ones_own() -> None:
    own = parse_rules({"fca": {**OWN, "starts": "order", "minimum_days": 5, "merchants": ["bank"], "kinds": ["quote"]}})
    assert as_json(own[-1]) == {
        "name": "fca", "class": "content", "starts": "order", "minimum_days": 5, "maximum_days": 10, "basis": "Own",
        "jurisdiction": "", "applies": "with_order", "merchants": ["bank"], "kinds": ["quote"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("configured", "pointer"),
    [
        (3, "/RETENTION"),
        ({"request": OWN}, "/RETENTION/request"),
        ({"Own": OWN}, "/RETENTION/Own"),
        ({"own": 3}, "/RETENTION/own"),
        ({"own": {**OWN, "days": 3}}, "/RETENTION/own/days"),
        ({"own": {"class": "content"}}, "/RETENTION/own/basis"),
        ({"own": {**OWN, "class": "secret"}}, "/RETENTION/own/class"),
        ({"own": {**OWN, "starts": "birth"}}, "/RETENTION/own/starts"),
        ({"own": {**OWN, "starts": []}}, "/RETENTION/own/starts"),
        ({"own": {**OWN, "applies": "some"}}, "/RETENTION/own/applies"),
        ({"own": {**OWN, "starts": "order", "applies": "every"}}, "/RETENTION/own/applies"),
        ({"own": {**OWN, "minimum_days": 11}}, "/RETENTION/own/minimum_days"),
        ({"order_evidence": {"maximum_days": 30}}, "/RETENTION/order_evidence/minimum_days"),
        ({"own": {**OWN, "maximum_days": -1}}, "/RETENTION/own/maximum_days"),
        ({"own": {**OWN, "maximum_days": True}}, "/RETENTION/own/maximum_days"),
        ({"own": {**OWN, "maximum_days": 36_501}}, "/RETENTION/own/maximum_days"),
        ({"own": {**OWN, "basis": ""}}, "/RETENTION/own/basis"),
        ({"own": {**OWN, "jurisdiction": "x" * 201}}, "/RETENTION/own/jurisdiction"),
        ({"own": {**OWN, "merchants": "bank"}}, "/RETENTION/own/merchants"),
        ({"own": {**OWN, "kinds": [""]}}, "/RETENTION/own/kinds"),
    ],
)
def test_what_is_wrong_is_named(configured: Any, pointer: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_rules(configured)
    assert refused.value.path == pointer


@given(
    st.dictionaries(
        st.sampled_from(["personal", "decision_log", "order_evidence", "own"]),
        st.none() | st.fixed_dictionaries(
            {}, optional={"minimum_days": st.integers(-1, 500), "maximum_days": st.integers(-1, 500),
                          "class": st.sampled_from(["content", "personal", "x"]), "basis": st.text(max_size=3),
                          "starts": st.sampled_from(["end", "order", "x"])}),
    )
)  # fmt: skip
def test_a_rule_that_is_read_can_be_kept(configured: Any) -> None:
    """Whatever is set: it is refused, or no rule asks for more than it allows."""
    try:
        rules = parse_rules(configured)
    except InvalidValue:
        return
    assert {name for name, said in configured.items() if said is None}.isdisjoint(rule.name for rule in rules)
    for rule in rules:
        assert timedelta(0) <= rule.minimum <= rule.maximum
        assert rule.starts == "end" or rule.applies == "with_order"


def test_whom_a_rule_covers_and_when_its_clock_started() -> None:
    personal, log, order = DEFAULT_RULES
    shop = {"merchant": "m", "kind": "standard"}
    assert [rule.covers(**shop, ordered=False) for rule in DEFAULT_RULES] == [True, True, False]
    assert [rule.covers(**shop, ordered=True) for rule in DEFAULT_RULES] == [True, False, True]
    narrow = parse_rules({"own": {**OWN, "merchants": ["m"], "kinds": ["quote"]}})[-1]
    assert not narrow.covers(**shop, ordered=False)
    assert narrow.covers(merchant="m", kind="quote", ordered=True)
    ended, ordered = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert [rule.clock(ended_at=ended, ordered_at=ordered) for rule in (personal, log, order)] == [
        ended,
        ended,
        ordered,
    ]
