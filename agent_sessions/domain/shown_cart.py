"""A cart as a person is shown it: what they agree to, and nothing else.

``shown_cart`` is the document of it; two carts were shown alike exactly if their documents are equal. What people read
(``ShownCart``) is made of that document alone, so nothing is shown that is not agreed to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.types import JSONValue, State

Document = dict[str, JSONValue]

_LINE: Final = ("item", "title", "variant", "options", "quantity", "unit_price", "currency")
_DISCOUNT: Final = ("amount", "currency", "code", "label", "applies_to")
_DELIVERY: Final = ("method", "label", "amount", "currency", "address_ref", "earliest", "latest")
_QUOTE: Final = ("total", "currency")
_SUMS: Final = ("subtotal", "shipping", "tax", "tax_included")
_LONGEST_TITLE: Final = 120


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of a cart: what it is called, which one (size, colour), how many, what each and all of it cost."""

    title: str
    which: str
    quantity: int
    unit_price: str
    total: str


@dataclass(frozen=True, slots=True)
class ShownCart:
    """A cart in words. ``sums`` are label and amount of what comes on top or off; ``total`` is what is paid."""

    lines: tuple[ShownLine, ...]
    sums: tuple[tuple[str, str], ...]
    delivery: str
    total: str


def shown_cart(state: State) -> Document:
    """Return what a person is shown of a state's cart: lines, prices, discounts, delivery and total.

    Left out is what nobody sees or pays for: until when a quote holds, what the shop keeps beside a line, what the
    store has against a line. Instructions are left out too; they come with the checkout.
    """
    shopping = _map(state.get("shopping"))
    quote = _map(shopping.get("quote"))
    lines: Document = {}
    for key, line in _map(shopping.get("lines")).items():
        lines[key] = {**_only(line, _LINE), **_only(_map(line).get("extra", {}), ("total",))}
    discounts: Document = {key: _only(one, _DISCOUNT) for key, one in _map(shopping.get("discounts")).items()}
    return {
        "lines": lines,
        "discounts": discounts,
        "delivery": _only(shopping.get("delivery", {}), _DELIVERY),
        "quote": {**_only(quote, _QUOTE), **_only(quote.get("extra", {}), _SUMS)},
    }


def amount_of(cart: Document) -> tuple[int, str] | None:
    """Return what a shown cart costs, minor units and currency, or None if nobody has said."""
    quote = _map(cart.get("quote"))
    total, currency = quote.get("total"), quote.get("currency")
    return (total, currency) if type(total) is int and isinstance(currency, str) else None


def in_words(cart: Document) -> ShownCart:
    """Write a shown cart out for people; characters that could mislead them show by their code point."""
    lines = tuple(_line(_map(line)) for _, line in sorted(_map(cart.get("lines")).items()))
    discounts = [_map(one) for _, one in sorted(_map(cart.get("discounts")).items())]
    reductions = [(_text(one, "code") or _text(one, "label"), _money(one, "amount")) for one in discounts]
    quote, delivery = _map(cart.get("quote")), _map(cart.get("delivery"))
    sums = [("Subtotal", _money(quote, "subtotal"))]
    sums += [(f"Discount {name}".rstrip(), amount) for name, amount in reductions]
    sums.append(("Delivery", _money(quote, "shipping") or _money(delivery, "amount")))
    sums.append(("Tax (included)" if quote.get("tax_included") is True else "Tax", _money(quote, "tax")))
    return ShownCart(
        lines,
        tuple((label, amount) for label, amount in sums if amount),
        _text(delivery, "label") or _text(delivery, "method"),
        _money(quote, "total"),
    )


def _line(line: Document) -> ShownLine:
    options = ", ".join(f"{name} {value}" for name, value in sorted(_map(line.get("options")).items()))
    quantity, price = _whole(line, "quantity"), _whole(line, "unit_price")
    total = {"total": quantity * price, **line}
    return ShownLine(
        _text(line, "title", _LONGEST_TITLE) or _text(line, "item"),
        _text(line, "variant") or clipped(options),
        quantity,
        _money(line, "unit_price"),
        _money(total, "total"),
    )


def _money(holder: Document, name: str) -> str:
    amount, currency = holder.get(name), holder.get("currency")
    return format_money(amount, clipped(currency)) if type(amount) is int and isinstance(currency, str) else ""


def _whole(holder: Document, name: str) -> int:
    value = holder.get(name)
    return value if type(value) is int else 0


def _text(holder: Document, name: str, longest: int = 80) -> str:
    value = holder.get(name)
    return clipped(value, longest) if isinstance(value, str) else ""


def _only(value: JSONValue, names: tuple[str, ...]) -> Document:
    found = _map(value)
    return {name: found[name] for name in names if name in found}


def _map(value: JSONValue | None) -> Document:
    return value if isinstance(value, dict) else {}
