"""The slices ``customer`` and ``conversation``: whom the agent serves, and what was said (S6)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.fields import Country, Entry, FreeMap, Slice, Text, TurnNumber


class Address(Entry, frozen=True):
    """An address by what the consumer calls it; ``address_ref`` refers to the address itself, kept elsewhere."""

    label: Text = ""
    address_ref: Text = ""
    country: Country | UnsetType = UNSET


class Customer(Slice, frozen=True):
    """What is known of the consumer: preferences, loyalty (tier, points), addresses by an id of their own."""

    preferences: FreeMap = {}
    loyalty: FreeMap = {}
    addresses: dict[str, Address] = {}
    extra: FreeMap = {}


class Conversation(Slice, frozen=True):
    """What the talk has come to.

    ``products`` maps item id to label, ``questions`` id to text, ``files`` the id of a file that is spoken of to
    what it is; the agent reads from turn ``window_start`` on.
    """

    summary: Text = ""
    window_start: TurnNumber = 0
    products: dict[str, Text] = {}
    questions: dict[str, Text] = {}
    files: dict[str, Text] = {}
