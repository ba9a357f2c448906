"""The slice ``shopping``: what the consumer is about to buy (S1)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from agent_sessions.domain.slices.fields import (
    Amount,
    Currency,
    Entry,
    FreeMap,
    Name,
    Quantity,
    SignedAmount,
    Slice,
    Text,
    Time,
    check_money,
)


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
        check_money(self.amount, self.currency)


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
