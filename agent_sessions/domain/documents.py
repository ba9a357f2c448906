"""The state document: what one agent gives another so that it can go on with a customer (C3).

It is plain JSON with a version of its own. Nothing in it counts by itself: who receives it asks the store for prices
and stock again, and takes over only what an agent may say of itself and the wishes that make a cart.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from agent_sessions.domain.building import build
from agent_sessions.domain.slices.fields import Amount, Currency, Name, Text, Time
from agent_sessions.domain.state import LOCAL, SCHEMA_VERSION, check_whole, state_json_schema
from agent_sessions.exceptions import DocumentRefused, InvalidValue
from agent_sessions.types import JSONValue, State

DOCUMENT_TYPE: Final = "agent-session-state/v1"
_SHOPPING: Final = ("lines", "vouchers", "instructions", "delivery")
_DELIVERY: Final = ("method", "label", "address_ref", "earliest", "latest")
_DECISIONS: Final = ("recommendations", "fallbacks")
_WHOLE: Final = ("customer", "conversation")


class Totals(Struct, frozen=True, forbid_unknown_fields=True):
    """What the cart cost when the document was made; ``total`` in minor units."""

    total: Amount
    currency: Currency


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a document comes from. ``consumer`` is the pseudonym of whom it is about, empty if nobody is known."""

    session_id: Name
    site: Text = ""
    merchant: Text = ""
    version: int = 0
    consumer: Text = ""
    parent_request: Text = ""


class StateDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A session's state on its way to another agent. ``schema`` is that of ``state``."""

    type: str
    schema: int
    exported_at: Time
    source: Source
    state: dict[str, Any]
    totals: Totals | None = None


build(StateDocument)


def portable(state: State) -> State:
    """Return what of a state another agent may go on with: the wishes, the talk, what is known of the customer.

    Left out is what belongs to the one session or cannot be checked by who receives it: prices, payments, approvals,
    holds, steps, and what single agents keep for themselves.
    """
    kept: State = {name: state[name] for name in _WHOLE if name in state}
    for name, fields in (("shopping", _SHOPPING), ("decisions", _DECISIONS)):
        part = _map(state.get(name))
        if some := {field: part[field] for field in fields if field in part}:
            kept[name] = some
    shopping = _map(kept.get("shopping"))
    if delivery := _map(shopping.get("delivery")):
        wish: State = {field: delivery[field] for field in _DELIVERY if field in delivery}
        kept["shopping"] = {**shopping, "delivery": wish}
    if own := {key: value for key, value in _map(state.get("agent")).items() if key != LOCAL}:
        kept["agent"] = own
    return kept


def read_document(document: object) -> StateDocument:
    """Read a state document, of another installation too, and check all of it but what only the store knows.

    Raises DocumentRefused: another type or version, or what is not of its shape, with the JSON pointer.
    """
    found = _map(document) if isinstance(document, dict) else {}
    if found.get("type") != DOCUMENT_TYPE:
        raise DocumentRefused("unknown_type", f"Send a document whose type is {DOCUMENT_TYPE}.", "/type")
    if found.get("schema") != SCHEMA_VERSION:
        problem = f"This shop reads the schema version {SCHEMA_VERSION} of states. Export the state in that version."
        raise DocumentRefused("unknown_version", problem, "/schema")
    try:
        read = msgspec.convert(document, StateDocument)
        check_whole(read.state)
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at `$")[2].rstrip("`").replace(".", "/")
        raise DocumentRefused("wrong_shape", "Something is missing there or of the wrong type.", where) from None
    except InvalidValue as refused:
        raise DocumentRefused("wrong_shape", refused.problem, f"/state{refused.path}") from None
    return read


def document_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a state document."""
    schema = msgspec.json.schema(StateDocument)
    state = state_json_schema()
    definitions = {**state.pop("$defs"), **schema["$defs"]}
    body = definitions["StateDocument"]
    body["properties"]["type"] = {"const": DOCUMENT_TYPE}
    body["properties"]["schema"] = {"const": SCHEMA_VERSION}
    body["properties"]["state"] = {key: value for key, value in state.items() if key not in ("$schema", "title")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"State document of an agent's shopping session, {DOCUMENT_TYPE}",
        **schema,
        "$defs": definitions,
    }


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}
