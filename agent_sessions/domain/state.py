"""The state of a session: its slices, what fits them, and what an agent may write itself (schema version 1).

A slice is one Struct in ``domain.slices`` and one line of ``SessionState``; everything else here follows from
their types. Every field of a slice is optional. What a slice holds many of is a map keyed by id, so that two
changes conflict only where they meet.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from agent_sessions.domain.building import build
from agent_sessions.domain.slices.customer import Conversation, Customer
from agent_sessions.domain.slices.decisions import Checkout, Decisions
from agent_sessions.domain.slices.fields import FreeMap, Slice
from agent_sessions.domain.slices.outside import Facts, Inventory, Stale
from agent_sessions.domain.slices.recovery import Recovery
from agent_sessions.domain.slices.shopping import Shopping
from agent_sessions.domain.values import MAX_DEPTH, MAX_INTEGER, MAX_KEY_LENGTH, check_value, escape_key
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import JSONValue, Patch, State

SCHEMA_VERSION = 1
"""Raise it with every change that older code would misread, and add the step to ``migrations`` (R6)."""

AGENT_WRITABLE: tuple[str, ...] = (
    "/agent",
    "/conversation",
    "/customer",
    "/decisions/fallbacks",
    "/decisions/recommendations",
)
"""JSON pointers of what an agent may write itself; all else changes through capabilities and services only."""


class SessionState(Slice, frozen=True):
    """The state of an agent's shopping session."""

    shopping: Shopping = Shopping()
    customer: Customer = Customer()
    conversation: Conversation = Conversation()
    decisions: Decisions = Decisions()
    checkout: Checkout = Checkout()
    inventory: Inventory = Inventory()
    recovery: Recovery = Recovery()
    facts: Facts = Facts()
    agent: FreeMap = {}
    stale: Stale = Stale()


build(SessionState)  # and with it all slices

SLICES: tuple[str, ...] = SessionState.__struct_fields__

_SHAPES: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(SessionState)}
_FIELDS: dict[str, frozenset[str]] = {
    name: frozenset(field.name for field in msgspec.structs.fields(shape))
    for name, shape in _SHAPES.items()
    if isinstance(shape, type)
}
_MAPS: dict[str, frozenset[str]] = {
    name: frozenset(
        field.name
        for field in msgspec.structs.fields(_SHAPES[name])
        if field.type == FreeMap or get_origin(field.type) is dict
    )
    for name in _FIELDS
}
"""Of each slice, the fields that are maps; a slice that is a free map is in neither."""


def check_shape(patch: Patch, state: State) -> None:
    """Check what ``patch`` touched in ``state``, the state that it led to; call ``check_patch`` on it before.

    A touched entry is checked as a whole, an untouched one is not read. Raises InvalidValue with the JSON
    pointer of what does not fit.
    """
    touched: dict[str, Any] = {}
    for name, change in patch.items():
        if name not in _SHAPES:
            _refuse_slice(name)
        if name not in state:
            continue
        value = state[name]
        if type(value) is not dict:
            touched[name] = value
        elif name not in _FIELDS:
            touched[name] = {}
        else:
            touched[name] = _touched_fields(name, change if type(change) is dict else {}, value)
    _check_fit(touched)


def check_whole(state: State) -> None:
    """Check values and shape of a whole state, such as an imported or a migrated one. Raises InvalidValue."""
    check_value(state)
    for name in state:
        if name not in _SHAPES:
            _refuse_slice(name)
    _check_fit(state)


LOCAL = "local"
"""The agent's variable that holds the scopes which single agents keep for themselves, by their names (C4)."""


def check_agent_patch(patch: Patch, *, own: str = "") -> None:
    """Check that ``patch`` touches only what an agent may write itself; call ``check_patch`` on it before.

    ``own`` is the agent's own scope; other agents' are not its to write.

    Deleting a part deletes everything in it, so a null or another value in the place of a map that holds more than
    the agent's own is refused too. Raises InvalidValue with the JSON pointer of what is not the agent's.
    """
    for name in patch:
        if name not in _SHAPES:
            _refuse_slice(name)
    _check_own(patch, "")
    variables = patch.get("agent", {})
    if type(variables) is not dict:
        raise InvalidValue("/agent", f"Name the variables to change; {LOCAL} holds other agents' own.")
    scopes = variables.get(LOCAL, {})
    if type(scopes) is not dict or scopes.keys() - {own}:
        raise InvalidValue(f"/agent/{LOCAL}", "An agent writes its own scope only.")


def state_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a whole state.

    It says all that JSON Schema can say: the depth of the tree and what a money amount needs beside it are
    left out.
    """
    schema = msgspec.json.schema(SessionState)
    schema["$defs"]["JSONValue"] = {
        "title": "JSONValue",
        "description": f"A value without nulls and fractions, {MAX_DEPTH} levels deep at most.",
        "anyOf": [
            {"type": "string"},
            {"type": "boolean"},
            {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
            {"type": "array", "items": {"$ref": "#/$defs/JSONValue"}},
            {
                "type": "object",
                "propertyNames": {"minLength": 1, "maxLength": MAX_KEY_LENGTH},
                "additionalProperties": {"$ref": "#/$defs/JSONValue"},
            },
        ],
    }
    title = f"State of an agent's shopping session, schema version {SCHEMA_VERSION}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _check_own(changes: Patch, path: str) -> None:
    for key, change in changes.items():
        place = f"{path}/{escape_key(key)}"
        if place in AGENT_WRITABLE:
            continue
        if type(change) is not dict or not any(own.startswith(f"{place}/") for own in AGENT_WRITABLE):
            problem = f"An agent does not write this itself; it may write {', '.join(AGENT_WRITABLE)}."
            raise InvalidValue(place, f"{problem} The rest changes when a capability is called.")
        _check_own(change, place)


def _touched_fields(slice_name: str, changes: Patch, value: dict[str, JSONValue]) -> dict[str, Any]:
    touched: dict[str, Any] = {}
    for field, change in changes.items():
        if field in value:
            found = value[field]
            if field in _MAPS[slice_name] and type(found) is dict and type(change) is dict:
                touched[field] = {key: found[key] for key in change if key in found}
            else:
                touched[field] = found
        elif field not in _FIELDS[slice_name]:
            touched[field] = None  # so that deleting a field by a wrong name is refused like setting it
    return touched


def _check_fit(tree: Any) -> None:
    try:
        msgspec.convert(tree, SessionState)
    except msgspec.ValidationError:
        pointer, problem = _misfit(tree, SessionState, "")
        raise InvalidValue(pointer, problem) from None


def _refuse_slice(name: str) -> None:
    raise InvalidValue(f"/{escape_key(name)}", f"There is no such slice; use one of {', '.join(SLICES)}.")


def _misfit(value: Any, shape: Any, pointer: str) -> tuple[str, str]:
    """Find where ``value`` does not fit ``shape``; msgspec's own path leaves out the keys of maps."""
    origin = get_origin(shape)
    if origin in (Union, UnionType):
        return _misfit(value, next(part for part in get_args(shape) if part is not UnsetType), pointer)
    if origin is Annotated:
        return pointer, f"Send {get_args(shape)[1].description}."
    if origin is Literal:
        return pointer, f"Send one of {', '.join(get_args(shape))}."
    if type(value) is not dict:
        return pointer, "Send a map."
    if origin is dict:
        parts = dict.fromkeys(value, get_args(shape)[1])
    else:
        parts = {field.name: field.type for field in msgspec.structs.fields(shape)}
    for key, part in value.items():
        if key not in parts:
            known = ", ".join(parts)
            return f"{pointer}/{escape_key(key)}", f"There is no such field; use one of {known}."
        if _problem(part, parts[key]):
            return _misfit(part, parts[key], f"{pointer}/{escape_key(key)}")
    missing = [field.name for field in msgspec.structs.fields(shape) if field.required and field.name not in value]
    if missing:
        return pointer, f"Missing: {', '.join(missing)}. Send the whole entry when you add it."
    return pointer, _problem(value, shape)


def _problem(value: Any, shape: Any) -> str:
    """Return what msgspec has against ``value``, or nothing."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
