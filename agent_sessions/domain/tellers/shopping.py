"""How differences of the basket are told."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from agent_sessions.domain.leaves import Difference, changes, leaves
from agent_sessions.domain.leaves import change as change_of
from agent_sessions.domain.money import format_money
from agent_sessions.domain.slices.shopping import Delivery, Discount, Line, Quote, Voucher
from agent_sessions.domain.tellers.making import Change, Teller, entries, entry, money_change, text
from agent_sessions.domain.text import clipped


def _line(change: Change[Line]) -> Iterator[Difference]:
    before, after = change.before, change.after
    if before is None or after is None:
        if after is not None:
            price = format_money(after.unit_price, after.currency)
            yield change.told("line.added", f"Added {after.quantity} × {_label(after)} at {price}")
        elif before is not None:
            yield change.told("line.removed", f"Removed {before.quantity} × {_label(before)}")
        return
    label = _label(after)
    for path, old, new in leaves(change.old, change.new, change.path):
        field = path[len(change.path) + 1 :]
        kind = "line.changed"
        said = change_of(field, old, new)
        if field == "quantity":
            kind = "line.quantity_changed"
            said = f"quantity {before.quantity} → {after.quantity}"
        elif field == "unit_price" or (field == "currency" and before.unit_price == after.unit_price):
            kind = "line.price_changed"
            said = f"price {money_change(before.unit_price, before.currency, after.unit_price, after.currency)}"
        yield Difference(kind, path, old, new, f"{label}: {said}")


def _discount(change: Change[Discount]) -> Iterator[Difference]:
    before, after = change.before, change.after
    discount = after or before
    if discount is None:
        return
    name = clipped(discount.code or change.key) + (f" ({clipped(discount.label)})" if discount.label else "")
    amount = format_money(discount.amount, discount.currency)
    if before is None:
        yield change.told("discount.added", f"Added discount {name}: {amount}")
    elif after is None:
        yield change.told("discount.removed", f"Removed discount {name}: {amount}")
    elif (before.amount, before.currency) != (after.amount, after.currency):
        said = money_change(before.amount, before.currency, after.amount, after.currency)
        yield change.told("discount.changed", f"Discount {name}: {said}")
    else:
        yield change.told("discount.changed", f"Discount {name}: {changes(change.old, change.new)}")


def _voucher(change: Change[Voucher]) -> Iterator[Difference]:
    voucher = change.after or change.before
    name = clipped(change.key) + (f" ({clipped(voucher.label)})" if voucher and voucher.label else "")
    if change.before is None:
        yield change.told("voucher.added", f"Added voucher {name}")
    elif change.after is None:
        yield change.told("voucher.removed", f"Removed voucher {name}")
    else:
        yield change.told("voucher.changed", f"Voucher {name}: {changes(change.old, change.new)}")


def _delivery(change: Change[Delivery]) -> Iterator[Difference]:
    before, after = _offer(change.before), _offer(change.after)
    if change.before is None:
        yield change.told("delivery.chosen", f"Delivery: {after}")
    elif change.after is None:
        yield change.told("delivery.removed", f"Delivery removed: {before}")
    elif before != after:
        yield change.told("delivery.changed", f"Delivery: {before} → {after}")
    else:
        yield change.told("delivery.changed", f"Delivery {after}: {changes(change.old, change.new)}")


def _quote(change: Change[Quote]) -> Iterator[Difference]:
    before, after = change.before, change.after
    if before is None or after is None:
        if after is not None:
            yield change.told("quote.made", f"Quoted {format_money(after.total, after.currency)}")
        elif before is not None:
            total = format_money(before.total, before.currency)
            yield change.told("quote.withdrawn", f"Quote of {total} withdrawn")
    elif (before.total, before.currency) != (after.total, after.currency):
        said = money_change(before.total, before.currency, after.total, after.currency)
        yield change.told("quote.changed", f"Quote {said}")
    else:
        total = format_money(after.total, after.currency)
        yield change.told("quote.changed", f"Quote of {total}: {changes(change.old, change.new)}")


def _label(line: Line) -> str:
    """Return what a person calls the line: ``Blue mug (size L)``."""
    which = line.variant or ", ".join(f"{name} {value}" for name, value in sorted(line.options.items()))
    return clipped(line.title or line.item) + (f" ({clipped(which)})" if which else "")


def _offer(delivery: Delivery | None) -> str:
    if delivery is None:
        return ""
    name = clipped(delivery.label or delivery.method)
    if delivery.amount is UNSET or delivery.currency is UNSET:
        return name
    return f"{name} at {format_money(delivery.amount, delivery.currency)}"


SHOPPING: dict[str, Teller] = {
    "lines": entries(Line, _line),
    "discounts": entries(Discount, _discount),
    "vouchers": entries(Voucher, _voucher),
    "delivery": entry(Delivery, _delivery),
    "quote": entry(Quote, _quote),
    "instructions": text("instructions.changed", "Instructions"),
}
