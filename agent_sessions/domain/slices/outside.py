"""The slices ``inventory``, ``facts`` and ``stale``: what is known of the world outside, and since when (X1 to X3)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.fields import AnyValue, Count, Entry, Name, Quantity, Slice, Text, Time


class Held(Entry, frozen=True):
    """Pieces of an item that the shop keeps for the session, keyed by the hold's id; released at ``released_at``."""

    item: Name
    quantity: Quantity
    held_at: Time
    until: Time | UnsetType = UNSET
    released_at: Time | UnsetType = UNSET


class StockSeen(Entry, frozen=True):
    """How many pieces of an item were free when the shop was last asked, keyed by item."""

    available: Count
    at: Time


class Inventory(Slice, frozen=True):
    """What is held for the session, and what else there was (X1)."""

    holds: dict[str, Held] = {}
    stock: dict[str, StockSeen] = {}


class Fact(Entry, frozen=True):
    """Something that was looked up because the customer had not said it: from where, and how long it holds."""

    value: AnyValue
    source: Name
    fetched_at: Time
    expires_at: Time | UnsetType = UNSET


class Facts(Slice, frozen=True):
    """What was looked up, by name; never guessed (X3)."""

    known: dict[str, Fact] = {}


class StalePart(Entry, frozen=True):
    """Something that has changed outside, keyed by its reference: ``kind`` item, ``ref`` MUG-1, ``what`` price."""

    kind: Name
    ref: Name
    since: Time
    what: Text = ""


class Stale(Slice, frozen=True):
    """What must be validated again before checkout, keyed by reference such as ``item:MUG-1`` (X2)."""

    parts: dict[str, StalePart] = {}
