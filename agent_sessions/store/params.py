"""Checking what a caller sent against what a capability declares (contract items 38 and 42)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from copy import deepcopy
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
                checked[name] = deepcopy(param.default)  # a handler may change its own
            continue
        if sent in text:
            value = _read(name, param.type, param.items, value)
        _check(name, param, value)
        checked[name] = value
    return checked


def recordable(value: Any) -> Any:
    """Return a checked value as an event can hold it: fractions as text, nulls left out."""
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: recordable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [recordable(item) for item in value if item is not None]
    return value


def _read(name: str, kind: str, items: str, sent: object) -> object:
    """Read a value that came as text. A list is JSON, or its values with commas between, or the name many times."""
    if kind == "array" and isinstance(sent, list):
        return [_read(name, items or "string", "", one) for one in sent]
    if not isinstance(sent, str):
        return sent
    if kind == "string":
        return sent
    if kind == "integer" and _INTEGER.fullmatch(sent):
        return int(sent)
    if kind == "number" and _NUMBER.fullmatch(sent):
        return int(sent) if _INTEGER.fullmatch(sent) else float(sent)
    if kind == "boolean" and sent in _BOOLEANS:
        return _BOOLEANS[sent]
    if kind == "array" and not sent.lstrip().startswith("["):
        return _read(name, kind, items, sent.split(",") if sent else [])
    if kind in ("array", "object"):
        try:
            return json.loads(sent)
        except (ValueError, RecursionError):
            pass
    raise InvalidParameter(name, f"Send {_A[kind]}.")


def _check(name: str, param: Param, value: object) -> None:
    if not _is_a(param.type, value):
        raise InvalidParameter(name, f"Send {_A[param.type]}.")
    try:
        check_value(recordable(value))
    except InvalidValue as refused:
        raise InvalidParameter(name, refused.problem) from None
    except RecursionError:
        raise InvalidParameter(name, "It goes too deep; keep it flatter.") from None
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
