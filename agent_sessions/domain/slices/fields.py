"""The values and the two kinds of structs that slices are made of.

The description of a value is what a caller is told to send where something else was found.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from agent_sessions.domain.values import MAX_INTEGER

_ANY_VALUE = Meta(extra_json_schema={"$ref": "#/$defs/JSONValue"})

AnyValue = Annotated[Any, _ANY_VALUE]
Text = Annotated[str, Meta(description="text")]
Name = Annotated[str, Meta(min_length=1, description="text that is not empty")]
FreeMap = Annotated[dict[str, AnyValue], Meta(description="a map")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="a whole number, 0 or more")]
Ordinal = Annotated[int, Meta(ge=1, le=MAX_INTEGER, description="a whole number, 1 or more")]
Percentage = Annotated[int, Meta(ge=0, le=100, description="a whole percentage from 0 to 100")]
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
Country = Annotated[
    str,
    Meta(pattern="^[A-Z]{2}$", min_length=2, max_length=2, description="an ISO 3166-1 code such as DE"),
]
LastFour = Annotated[
    str,
    Meta(pattern="^[0-9]{4}$", min_length=4, max_length=4, description="the last four digits, as text"),
]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 text with its offset")]
TurnNumber = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="the number of a turn, 0 or more")]


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """Something in a slice that is checked as a whole whenever a patch touches it."""


class Slice(Struct, frozen=True, forbid_unknown_fields=True):
    """A top-level part of the state; of its maps a patch has only the touched entries checked."""


def check_money(amount: int | UnsetType, currency: str | UnsetType) -> None:
    """Check that an optional amount and its currency come together. Raises ValueError."""
    if (amount is UNSET) != (currency is UNSET):
        raise ValueError("The amount and its currency come together; send both or neither.")
