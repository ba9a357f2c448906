"""Checking what a caller sent against what a capability declares (contract items 38 and 42)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from agent_sessions.domain.values import MAX_INTEGER, check_value
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.store.capabilities import NOTHING, Param

MAX_TEXT = 1000
"""Characters of a text parameter that sets no ``maximum`` of its own."""
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_A = {
    "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "array": "a list", "object": "a map",
}  # fmt: skip


def check_params(
    declared: Mapping[str, Param], given: Mapping[str, object], *, text: Collection[str] = ()
) -> dict[str, Any]:
    """Return the declared parameters, with their defaults; what is not declared is dropped.

    Those named in ``text`` came as text (query string, path) and are read as their type. Null counts as left out.
    Raises InvalidParameter.
    """
    checked: dict[str, Any] = {}
    for name, param in declared.items():
        sent = next((known for known in (name, *param.aliases) if given.get(known) is not None), name)
        value = given.get(sent)
        if value is None:
            if param.required:
                raise InvalidParameter(name, f"Send it: {_A[param.type]}{_described(param)}.")
            if param.default is not NOTHING:
                checked[name] = param.default
            continue
        if sent in text and isinstance(value, str):
            value = _read(name, param, value)
        _check(name, param, value)
        checked[name] = value
    return checked


def recordable(value: Any) -> Any:
    """Return a checked value as an event can hold it: fractions as text, nulls left out."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: recordable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [recordable(item) for item in value if item is not None]
    return value


def _read(name: str, param: Param, text: str) -> object:
    """Read a value that came as text."""
    if param.type == "string":
        return text
    if param.type == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if param.type == "number" and _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    if param.type == "boolean" and text in _BOOLEANS:
        return _BOOLEANS[text]
    if param.type in ("array", "object"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            if param.type == "array":
                return text.split(",")
    raise InvalidParameter(name, f"Send {_A[param.type]}.")


def _check(name: str, param: Param, value: object) -> None:
    if not _is_a(param.type, value):
        raise InvalidParameter(name, f"Send {_A[param.type]}.")
    try:
        check_value(recordable(value))
    except InvalidValue as refused:
        raise InvalidParameter(name, refused.problem) from None
    if param.items and isinstance(value, list) and not all(_is_a(param.items, item) for item in value):
        raise InvalidParameter(name, f"Send a list; each of its values is {_A[param.items]}.")
    if param.enum and not any(type(value) is type(choice) and value == choice for choice in param.enum):
        raise InvalidParameter(name, f"Send one of {', '.join(map(str, param.enum))}.")
    _check_bounds(name, param, value)


def _check_bounds(name: str, param: Param, value: object) -> None:
    if isinstance(value, str):
        longest = MAX_TEXT if param.maximum is None else param.maximum
        if len(value) > longest:
            raise InvalidParameter(name, f"Send text of at most {longest} characters.")
        if param.minimum is not None and len(value.strip()) < param.minimum:
            raise InvalidParameter(name, f"Send text of at least {param.minimum} characters.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if param.minimum is not None and value < param.minimum:
            raise InvalidParameter(name, f"Send {_A[param.type]} of at least {param.minimum}.")
        if param.maximum is not None and value > param.maximum:
            raise InvalidParameter(name, f"Send {_A[param.type]} of at most {param.maximum}.")


def _is_a(kind: str, value: object) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "array":
        return isinstance(value, list)
    if kind == "object":
        return isinstance(value, dict)
    if isinstance(value, bool):
        return False
    if kind == "integer":
        return isinstance(value, int)
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and abs(value) <= MAX_INTEGER)


def _described(param: Param) -> str:
    return f" ({param.description.rstrip('.')})" if param.description else ""
