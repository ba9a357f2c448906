"""What a caller sent is what a capability declares, or it is refused with a 400 that says what to send."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.calls import Call
from agent_sessions.exceptions import InvalidParameter
from agent_sessions.store import Param
from agent_sessions.store.params import check_params, recordable


def check(param: Param, value: object) -> Any:
    return check_params({"p": param}, {"p": value})["p"]


def read(param: Param, text: object) -> Any:
    return check_params({"p": param}, {"p": text}, text=["p"])["p"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "x"), ("string", ""), ("string", "ünï"), ("integer", 0), ("integer", -(2**53) + 1),
        ("number", 1), ("number", 1.5), ("boolean", True), ("boolean", False), ("array", [1, "a"]), ("array", []),
        ("object", {"a": {"b": [1.5]}}), ("object", {}),
    ],
)  # fmt: skip
def test_a_json_value_of_the_declared_type_is_taken_as_it_is(kind: str, value: object) -> None:
    taken = check(Param(kind), value)
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 1), ("string", ["x"]), ("integer", True), ("integer", 1.0), ("integer", "1"), ("number", "1"),
        ("number", False), ("boolean", 1), ("boolean", "true"), ("array", "a,b"), ("array", {"a": 1}),
        ("object", [1]), ("object", "{}"), ("number", math.nan), ("number", math.inf), ("integer", 2**53),
        ("integer", 10**400), ("number", 10**400), ("number", 1e300),
    ],
)  # fmt: skip
def test_a_json_value_of_another_type_or_size_is_refused(kind: str, value: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check(Param(kind), value)
    assert (refused.value.status, refused.value.name) == (400, "p")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "12", 12), ("integer", "-3", -3), ("number", "1.5", 1.5), ("number", "2", 2),
        ("number", "1e3", 1000.0), ("boolean", "true", True), ("boolean", "0", False), ("string", "12", "12"),
        ("array", "a,b", ["a", "b"]), ("array", '["a,b"]', ["a,b"]), ("array", "12", ["12"]), ("array", "", []),
        ("object", '{"a": 1}', {"a": 1}),
    ],
)  # fmt: skip
def test_text_is_read_as_the_declared_type(kind: str, text: str, value: object) -> None:
    taken = read(Param(kind), text)
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "1.0"), ("integer", "1e3"), ("integer", ""), ("integer", "٣"), ("integer", "1_000"),
        ("integer", "99999999999999999999"), ("integer", "9" * 5000), ("integer", " 1"),
        ("integer", "9007199254740992"),
        ("number", "nan"), ("number", "Infinity"), ("number", "1e999"), ("number", "0x10"), ("boolean", "yes"),
        ("boolean", "TRUE "), ("object", "a=1"), ("object", "[1]"), ("array", '["a"'), ("object", '{"a": NaN}'),
        ("array", "[1e999]"), ("object", '{"a": -Infinity}'),
    ],
)  # fmt: skip
def test_text_that_is_not_of_the_declared_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises(InvalidParameter):
        read(Param(kind), text)


@pytest.mark.parametrize("depth", [40, 400, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_goes_too_deep_is_refused_and_not_an_error_of_the_server(opening: str, depth: int) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    with pytest.raises(InvalidParameter):
        read(Param("array" if opening == "[" else "object"), opening * depth + "1" * (opening != "[") + closing * depth)


def test_a_list_of_numbers_can_come_as_text_in_three_ways() -> None:
    numbers = Param("array", items="integer")
    assert read(numbers, "1,2") == read(numbers, "[1, 2]") == read(numbers, ["1", "2"]) == [1, 2]
    for wrong in ("1,x", '["1"]', ["1", "x"], "1,,2"):
        with pytest.raises(InvalidParameter):
            read(numbers, wrong)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 1001])
def test_text_that_cannot_be_stored_is_refused_wherever_it_stands(text: str) -> None:
    for kind, value in (("string", text), ("array", [text * 1000]), ("object", {"a": [text * 1000]})):
        if kind == "string" or "x" not in text:
            with pytest.raises(InvalidParameter) as refused:
                check(Param(kind), value)
            assert text not in str(refused.value)


def test_null_counts_as_left_out_and_gets_the_default() -> None:
    assert check(Param("integer", default=5), None) == 5
    assert check_params({"p": Param("integer")}, {"p": None}) == {}
    with pytest.raises(InvalidParameter):
        check(Param("integer", required=True), None)


def test_a_required_parameter_that_is_missing_is_named_and_described() -> None:
    with pytest.raises(InvalidParameter, match=r"q: Send it: text \(Words to look for\)\."):
        check_params({"q": Param("string", "Words to look for.", required=True)}, {})


def test_aliases_are_read_and_the_own_name_comes_first() -> None:
    declared = {"item_id": Param("string", aliases=("id", "itemId"))}
    assert check_params(declared, {"itemId": "a"}) == {"item_id": "a"}
    assert check_params(declared, {"id": "b", "itemId": "a"}) == {"item_id": "b"}
    assert check_params(declared, {"id": "b", "item_id": "c"}) == {"item_id": "c"}
    assert check_params(declared, {"item_id": None, "id": "b"}) == {"item_id": "b"}
    number = {"n": Param("integer", aliases=("count",))}
    assert check_params(number, {"count": "3"}, text=["count"]) == {"n": 3}
    with pytest.raises(InvalidParameter, match="n: "):
        check_params(number, {"count": "3"}, text=["n"])


def test_what_is_not_declared_is_dropped() -> None:
    assert check_params({"a": Param("string")}, {"a": "1", "b": "2", "__class__": 3}) == {"a": "1"}


def test_a_default_belongs_to_the_one_call() -> None:
    declared = {"tags": Param("array", default=[])}
    check_params(declared, {})["tags"].append("mine")
    assert check_params(declared, {}) == {"tags": []}


def test_a_choice_is_one_of_the_declared_values_and_of_their_type() -> None:
    choice = Param("integer", enum=(1, 2))
    assert check(choice, 2) == 2
    for wrong in (3, True):
        with pytest.raises(InvalidParameter):
            check(choice, wrong)
    with pytest.raises(InvalidParameter, match="Send one of red, blue"):
        check(Param("string", enum=("red", "blue")), "Red")


@pytest.mark.parametrize("value", [0, 4, -1, 3.5])
def test_a_number_is_within_its_bounds(value: float) -> None:
    with pytest.raises(InvalidParameter):
        check(Param("number", minimum=1, maximum=3), value)
    assert check(Param("number", minimum=1, maximum=3), 2.5) == 2.5


def test_the_bounds_of_text_are_its_length_without_the_blanks_around_it() -> None:
    assert check(Param("string", minimum=1, maximum=3), " a ") == " a "
    for wrong in ("", "   ", "abcd"):
        with pytest.raises(InvalidParameter):
            check(Param("string", minimum=1, maximum=3), wrong)


@given(
    st.sampled_from(["string", "number", "integer", "boolean", "array", "object"]),
    st.sampled_from(["", "string", "integer"]),
    st.one_of(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    ),
    st.booleans(),
)
def test_whatever_comes_is_refused_or_can_be_recorded(kind: str, items: str, value: object, as_text: bool) -> None:
    """No value reaches a handler that its call's event could not hold."""
    try:
        params = check_params({"p": Param(kind, items=items)}, {"p": value}, text=["p"] if as_text else [])
    except InvalidParameter:
        return
    Call("x", private={name: recordable(one) for name, one in params.items()})
