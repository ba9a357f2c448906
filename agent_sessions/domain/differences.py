"""What changed between two states, in the words of a shop (V2).

What people have a word for has a function here. The rest, and whatever does not have the shape that it should
(a damaged or older state), is told leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from agent_sessions.domain.leaves import (
    Difference,
    Found,
    alike,
    are_maps,
    changes,
    fields,
    is_text,
    leaves,
    parted,
    plain_differences,
    shown,
)
from agent_sessions.domain.leaves import change as change_of
from agent_sessions.domain.money import format_amount, format_money
from agent_sessions.domain.state import Delivery, Discount, Line, Quote, Voucher
from agent_sessions.domain.text import clipped
from agent_sessions.domain.values import escape_key
from agent_sessions.types import State

__all__ = ["Difference", "describe"]

E = TypeVar("E", Line, Discount, Voucher, Delivery, Quote)
Teller: TypeAlias = Callable[[Found, Found, str], Iterator[Difference]]


def describe(before: State, after: State) -> tuple[Difference, ...]:
    """Return what differs between two states: in the basket, the talk, the agent's variables, and the rest.

    The order is fixed. Empty exactly if the states hold the same. Every value that differs lies at or below
    the path of a difference.
    """
    told: list[Difference] = []
    rest: list[Difference] = []
    others = sorted((before.keys() | after.keys()) - _TELLERS.keys())
    for name in (*_TELLERS, *others):
        old, new, path = before.get(name), after.get(name), f"/{escape_key(name)}"
        tellers = _TELLERS.get(name, {})
        if alike(old, new):
            continue
        if name == "agent":
            told += plain_differences(old, new, path, root=path, kind="variable.", subject="Variable ")
        elif are_maps(old, new):
            one, other = fields(old), fields(new)
            names = parted(one, other)
            for field, tell in tellers.items():
                if field in names:
                    told += tell(one.get(field), other.get(field), f"{path}/{field}")
            for field in names:
                if field not in tellers:
                    rest += plain_differences(one.get(field), other.get(field), f"{path}/{escape_key(field)}")
        else:
            rest += plain_differences(old, new, path)
    return (*told, *rest)


@dataclass(frozen=True, slots=True)
class _Change(Generic[E]):
    """An entry before and after, as it is stored and as the shape that it fits."""

    key: str
    path: str
    old: Found
    new: Found
    before: E | None
    after: E | None

    def told(self, kind: str, text: str) -> Difference:
        return Difference(kind, self.path, self.old, self.new, text)


def _told(
    shape: type[E],
    tell: Callable[[_Change[E]], Iterator[Difference]],
    key: str,
    old: Found,
    new: Found,
    path: str,
) -> Iterator[Difference]:
    """Tell how an entry changed, or its leaves if it does not fit its shape."""
    try:
        before = None if old is None else msgspec.convert(old, shape)
        after = None if new is None else msgspec.convert(new, shape)
    except (msgspec.ValidationError, ValueError):  # the latter for text that is no Unicode
        return plain_differences(old, new, path)
    return tell(_Change(key, path, old, new, before, after))


def _entry(shape: type[E], tell: Callable[[_Change[E]], Iterator[Difference]]) -> Teller:
    """Make the teller of a field that is one entry."""
    return lambda old, new, path: _told(shape, tell, "", old, new, path)


def _entries(shape: type[E], tell: Callable[[_Change[E]], Iterator[Difference]]) -> Teller:
    """Make the teller of a map of entries, by the order of their keys."""

    def tell_entries(old: Found, new: Found, path: str) -> Iterator[Difference]:
        if not are_maps(old, new):
            yield from plain_differences(old, new, path)
            return
        one, other = fields(old), fields(new)
        for key in parted(one, other):
            yield from _told(shape, tell, key, one.get(key), other.get(key), f"{path}/{escape_key(key)}")

    return tell_entries


def _text(kind: str, subject: str) -> Teller:
    """Make the teller of a field that is text."""

    def tell_text(old: Found, new: Found, path: str) -> Iterator[Difference]:
        if not is_text(old) or not is_text(new):
            yield from plain_differences(old, new, path)
        else:
            yield Difference(kind, path, old, new, change_of(subject, old, new))

    return tell_text


def _texts(subject: str, *, added: str, changed: str, removed: str) -> Teller:
    """Make the teller of a map of texts, given the words for each kind: ``question.opened``."""

    def tell_texts(old: Found, new: Found, path: str) -> Iterator[Difference]:
        for place, one, other in leaves(old, new, path):
            if place == path or not is_text(one) or not is_text(other):
                yield from plain_differences(one, other, place)
                continue
            verb = added if one is None else removed if other is None else changed
            told = shown(other) if one is None else shown(one)
            if one is not None and other is not None:
                told += f" → {shown(other)}"
            yield Difference(f"{subject.lower()}.{verb}", place, one, other, f"{subject} {verb}: {told}")

    return tell_texts


def _line(change: _Change[Line]) -> Iterator[Difference]:
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
        text = change_of(field, old, new)
        if field == "quantity":
            kind = "line.quantity_changed"
            text = f"quantity {before.quantity} → {after.quantity}"
        elif field == "unit_price" or (field == "currency" and before.unit_price == after.unit_price):
            kind = "line.price_changed"
            text = f"price {_money_change(before.unit_price, before.currency, after.unit_price, after.currency)}"
        yield Difference(kind, path, old, new, f"{label}: {text}")


def _discount(change: _Change[Discount]) -> Iterator[Difference]:
    before, after = change.before, change.after
    entry = after or before
    if entry is None:
        return
    name = clipped(entry.code or change.key) + (f" ({clipped(entry.label)})" if entry.label else "")
    amount = format_money(entry.amount, entry.currency)
    if before is None:
        yield change.told("discount.added", f"Added discount {name}: {amount}")
    elif after is None:
        yield change.told("discount.removed", f"Removed discount {name}: {amount}")
    elif (before.amount, before.currency) != (after.amount, after.currency):
        text = _money_change(before.amount, before.currency, after.amount, after.currency)
        yield change.told("discount.changed", f"Discount {name}: {text}")
    else:
        yield change.told("discount.changed", f"Discount {name}: {changes(change.old, change.new)}")


def _voucher(change: _Change[Voucher]) -> Iterator[Difference]:
    entry = change.after or change.before
    name = clipped(change.key) + (f" ({clipped(entry.label)})" if entry and entry.label else "")
    if change.before is None:
        yield change.told("voucher.added", f"Added voucher {name}")
    elif change.after is None:
        yield change.told("voucher.removed", f"Removed voucher {name}")
    else:
        yield change.told("voucher.changed", f"Voucher {name}: {changes(change.old, change.new)}")


def _delivery(change: _Change[Delivery]) -> Iterator[Difference]:
    before, after = _offer(change.before), _offer(change.after)
    if change.before is None:
        yield change.told("delivery.chosen", f"Delivery: {after}")
    elif change.after is None:
        yield change.told("delivery.removed", f"Delivery removed: {before}")
    elif before != after:
        yield change.told("delivery.changed", f"Delivery: {before} → {after}")
    else:
        yield change.told("delivery.changed", f"Delivery {after}: {changes(change.old, change.new)}")


def _quote(change: _Change[Quote]) -> Iterator[Difference]:
    before, after = change.before, change.after
    if before is None or after is None:
        if after is not None:
            yield change.told("quote.made", f"Quoted {format_money(after.total, after.currency)}")
        elif before is not None:
            total = format_money(before.total, before.currency)
            yield change.told("quote.withdrawn", f"Quote of {total} withdrawn")
    elif (before.total, before.currency) != (after.total, after.currency):
        text = _money_change(before.total, before.currency, after.total, after.currency)
        yield change.told("quote.changed", f"Quote {text}")
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


def _money_change(old: int, old_currency: str, new: int, new_currency: str) -> str:
    one = format_amount(old, old_currency) if old_currency == new_currency else format_money(old, old_currency)
    return f"{one} → {format_money(new, new_currency)}"


_TELLERS: dict[str, dict[str, Teller]] = {
    "shopping": {
        "lines": _entries(Line, _line),
        "discounts": _entries(Discount, _discount),
        "vouchers": _entries(Voucher, _voucher),
        "delivery": _entry(Delivery, _delivery),
        "quote": _entry(Quote, _quote),
        "instructions": _text("instructions.changed", "Instructions"),
    },
    "conversation": {
        "summary": _text("summary.changed", "Summary of the conversation"),
        "products": _texts("Product", added="discussed", changed="changed", removed="dropped"),
        "questions": _texts("Question", added="opened", changed="changed", removed="answered"),
    },
    "agent": {},
}
"""The order in which slices and their fields are told, and by what."""
