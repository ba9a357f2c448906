from __future__ import annotations

import enum
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given

from agent_sessions.domain.values import MAX_DEPTH, MAX_INTEGER, MAX_KEY_LENGTH, check_patch, check_value
from agent_sessions.exceptions import InvalidValue
from tests.domain.strategies import json_values, patches


class Size(enum.IntEnum):
    L = 3


class Colour(enum.StrEnum):
    BLUE = "blue"


class Basket(dict[str, object]):
    pass


class Lines(list[object]):
    pass


NEVER = [
    pytest.param(12.5, "minor units", id="float"),
    pytest.param(1.0, "minor units", id="whole float"),
    pytest.param(float("nan"), "minor units", id="nan"),
    pytest.param(Decimal("12.50"), "minor units", id="Decimal"),
    pytest.param(MAX_INTEGER + 1, "2^53", id="too large"),
    pytest.param(-MAX_INTEGER - 1, "2^53", id="too small"),
    pytest.param("a\0b", "NUL", id="NUL"),
    pytest.param("é\0", "NUL", id="NUL beside non-ASCII"),
    pytest.param("\ud83d", "surrogate", id="lone surrogate"),
    pytest.param(b"abc", "file", id="bytes"),
    pytest.param(("a",), "list", id="tuple"),
    pytest.param({"a"}, "list", id="set"),
    pytest.param(datetime(2026, 1, 1, tzinfo=UTC), "RFC 3339", id="datetime"),
    pytest.param(date(2026, 1, 1), "YYYY-MM-DD", id="date"),
    pytest.param(UUID(int=1), "text", id="UUID"),
    pytest.param(Size.L, "plain int", id="IntEnum"),
    pytest.param(Colour.BLUE, "plain str", id="StrEnum"),
    pytest.param(Basket(), "plain dict", id="dict subclass"),
    pytest.param(Lines(), "plain list", id="list subclass"),
    pytest.param(object(), "text, whole numbers", id="object"),
]

BAD_KEYS = [
    pytest.param(1, "keys are text", id="int"),
    pytest.param(None, "null; keys are text", id="null"),
    pytest.param(Colour.BLUE, "keys are text", id="StrEnum"),
    pytest.param("", "empty", id="empty"),
    pytest.param("k" * (MAX_KEY_LENGTH + 1), "201 characters", id="long"),
    pytest.param("a\0", "NUL", id="NUL"),
    pytest.param("\udc00", "surrogate", id="lone surrogate"),
]


@pytest.mark.parametrize("check", [check_value, check_patch])
@pytest.mark.parametrize(("value", "says"), NEVER)
def test_refuses_what_other_machines_would_read_otherwise(check, value, says):
    with pytest.raises(InvalidValue) as refused:
        check({"agent": {"a/b~c": ["plain", {"x": value}]}})
    assert refused.value.path == "/agent/a~1b~0c/1/x"
    assert says in refused.value.problem


@pytest.mark.parametrize("check", [check_value, check_patch])
@pytest.mark.parametrize(("value", "says"), NEVER)
def test_refuses_it_directly_under_a_key(check, value, says):
    with pytest.raises(InvalidValue) as refused:
        check({"agent": {"x": value}})
    assert refused.value.path == "/agent/x"
    assert says in refused.value.problem


@pytest.mark.parametrize("check", [check_value, check_patch])
@pytest.mark.parametrize(("key", "says"), BAD_KEYS)
def test_refuses_a_bad_key_at_its_map(check, key, says):
    with pytest.raises(InvalidValue) as refused:
        check({"agent": {"fine": 1, "deep": {key: 1}}})
    assert refused.value.path == "/agent/deep"  # never the key itself: it may be unfit to be shown
    assert says in refused.value.problem


def test_an_error_never_repeats_the_value():
    with pytest.raises(InvalidValue) as refused:
        check_value({"note": "4111111111111111\0"})
    assert "4111" not in str(refused.value)


def test_path_is_where_the_value_is_meant_for():
    with pytest.raises(InvalidValue) as refused:
        check_value([1.5], "/agent/plan")
    assert refused.value.path == "/agent/plan/0"
    with pytest.raises(InvalidValue) as refused:
        check_patch({"x": 1.5}, "/patch")
    assert refused.value.path == "/patch/x"


@pytest.mark.parametrize(
    "value", [0, MAX_INTEGER, -MAX_INTEGER, True, "", "é 🫖", [], {}, {"k" * 200: [[]]}, {"é" * 200: 1}]
)
def test_accepts_the_edges(value):
    check_value(value)
    check_patch({"agent": value})


def test_integers_are_those_that_a_double_holds_exactly():
    check_value([9_007_199_254_740_991, -9_007_199_254_740_991])
    with pytest.raises(InvalidValue):
        check_value(9_007_199_254_740_992)


@given(json_values())
def test_whatever_it_accepts_survives_json(value):
    check_value(value)
    assert json.loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(patches())
def test_accepts_every_patch(patch):
    check_patch(patch)


# Null


def test_null_deletes_at_any_depth_of_a_patch():
    check_patch({"shopping": None, "agent": {"plan": {"step": None}}})


@pytest.mark.parametrize(
    ("patch", "path"),
    [({"agent": [None]}, "/agent/0"), ({"agent": {"steps": [{"done": None}]}}, "/agent/steps/0/done")],
)
def test_null_is_refused_inside_the_lists_of_a_patch(patch, path):
    with pytest.raises(InvalidValue) as refused:
        check_patch(patch)
    assert refused.value.path == path


@pytest.mark.parametrize("value", [None, {"a": None}, [None], {"a": {"b": [None]}}])
def test_null_is_refused_in_values(value):
    with pytest.raises(InvalidValue, match="Null"):
        check_value(value)


@pytest.mark.parametrize("patch", [None, [], "x", 1, Basket()])
def test_a_patch_is_a_map(patch):
    with pytest.raises(InvalidValue, match="A patch is a map") as refused:
        check_patch(patch)
    assert ("not null" in refused.value.problem) == (patch is None)


# Depth


def nested(levels: int, wrap) -> object:
    value = wrap(1)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["maps", "lists"])
def test_depth_is_bounded(wrap):
    check_value(nested(MAX_DEPTH, wrap))
    check_patch({"agent": nested(MAX_DEPTH - 1, wrap)})
    with pytest.raises(InvalidValue, match="deeper than 32"):
        check_value(nested(MAX_DEPTH + 1, wrap))
    with pytest.raises(InvalidValue, match="deeper than 32"):
        check_patch({"agent": nested(MAX_DEPTH, wrap)})
    with pytest.raises(InvalidValue, match="deeper than 32"):
        check_patch({"agent": nested(50_000, wrap)})


def test_a_structure_that_holds_itself_is_refused():
    loop: dict[str, object] = {}
    loop["again"] = loop
    ring: list[object] = []
    ring.append({"again": ring})
    for value in (loop, ring):
        with pytest.raises(InvalidValue, match="deeper than 32"):
            check_value(value)
        with pytest.raises(InvalidValue, match="deeper than 32"):
            check_patch({"agent": value})
