"""What the slices of a state look like (schema version 1).

A slice is one Struct and one line of ``SessionState``; everything else here follows from their types. Every
field of a slice is optional. What a slice holds many of is a map keyed by id, so that two changes conflict
only where they meet.
"""

from __future__ import annotations

from datetime import datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from agent_sessions.domain.values import MAX_DEPTH, MAX_INTEGER, MAX_KEY_LENGTH, check_value, escape_key
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import JSONValue, Patch, State

SCHEMA_VERSION = 1
"""Raise it with every change that older code would misread, and add the step to ``migrations`` (R6)."""

_ANY_VALUE = Meta(extra_json_schema={"$ref": "#/$defs/JSONValue"})

Text = Annotated[str, Meta(description="text")]
Name = Annotated[str, Meta(min_length=1, description="text that is not empty")]
FreeMap = Annotated[dict[str, Annotated[Any, _ANY_VALUE]], Meta(description="a map")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
Amount = Annotated[
    int,
    Meta(ge=0, le=MAX_INTEGER, description="a whole number of the currency's minor units, 0 or more"),
]
SignedAmount = Annotated[
    int,
    Meta(ge=-MAX_INTEGER, le=MAX_INTEGER, description="a whole number of the currency's minor units"),
]
Currency = Annotated[
    str,
    Meta(pattern="^[A-Z]{3}$", min_length=3, max_length=3, description="an ISO 4217 code such as EUR"),
]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 text with its offset")]
TurnNumber = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="the number of a turn, 0 or more")]


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """Something in a slice that is checked as a whole whenever a patch touches it."""


class Slice(Struct, frozen=True, forbid_unknown_fields=True):
    """A top-level part of the state; of its maps a patch has only the touched entries checked."""


class Line(Entry, frozen=True):
    """A line of the basket; ``unit_price`` in minor units, ``extra`` for what the shop keeps with it."""

    item: Name
    quantity: Quantity
    unit_price: Amount
    currency: Currency
    title: Text = ""
    variant: Text = ""
    options: dict[str, Text] = {}
    extra: FreeMap = {}


class Discount(Entry, frozen=True):
    """What a discount does to the total, minor units: -500 takes 5.00 off; ``applies_to`` is a line id."""

    amount: SignedAmount
    currency: Currency
    code: Text = ""
    label: Text = ""
    applies_to: Text = ""
    extra: FreeMap = {}


class Voucher(Entry, frozen=True):
    """A voucher that the consumer gave, keyed by its code, whether or not it has led to a discount."""

    label: Text = ""
    extra: FreeMap = {}


class Delivery(Entry, frozen=True):
    """How the goods travel; ``address_ref`` refers to an address kept elsewhere."""

    method: Name
    label: Text = ""
    amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    address_ref: Text = ""
    earliest: Time | UnsetType = UNSET
    latest: Time | UnsetType = UNSET
    extra: FreeMap = {}

    def __post_init__(self) -> None:
        if (self.amount is UNSET) != (self.currency is UNSET):
            raise ValueError("The amount and its currency come together; send both or neither.")


class Quote(Entry, frozen=True):
    """What the shop last asked for it all; ``fingerprint`` differs when the same basket costs otherwise."""

    total: Amount
    currency: Currency
    fingerprint: Text = ""
    valid_until: Time | UnsetType = UNSET
    extra: FreeMap = {}


class Shopping(Slice, frozen=True):
    """What the consumer is about to buy (S1)."""

    lines: dict[str, Line] = {}
    discounts: dict[str, Discount] = {}
    vouchers: dict[str, Voucher] = {}
    delivery: Delivery | UnsetType = UNSET
    quote: Quote | UnsetType = UNSET
    instructions: Text = ""


class Conversation(Slice, frozen=True):
    """What the talk has come to (S6).

    ``products`` maps item id to label, ``questions`` id to text; the agent reads from turn ``window_start``
    on.
    """

    summary: Text = ""
    window_start: TurnNumber = 0
    products: dict[str, Text] = {}
    questions: dict[str, Text] = {}


class SessionState(Slice, frozen=True):
    """The state of an agent's shopping session."""

    shopping: Shopping = Shopping()
    conversation: Conversation = Conversation()
    agent: FreeMap = {}


SLICES: tuple[str, ...] = SessionState.__struct_fields__

_SHAPES: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(SessionState)}
_FIELDS: dict[str, frozenset[str]] = {
    name: frozenset(field.name for field in msgspec.structs.fields(shape))
    for name, shape in _SHAPES.items()
    if isinstance(shape, type)
}
_MAPS: dict[str, frozenset[str]] = {
    name: frozenset(field.name for field in msgspec.structs.fields(_SHAPES[name]) if get_origin(field.type) is dict)
    for name in _FIELDS
}
"""Of each slice, the fields that are maps of entries; a slice that is a free map is in neither."""


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
