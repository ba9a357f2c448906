"""What a session holds, as a shopper sees it, and how much of it a reader may see.

Everybody who may see a session sees its cart (items, prices, discounts, delivery) and what the shop and its policies
did about it (payments, approvals, holds, stock, what is stale). The rest is masked, group by group
(``domain.privacy.GROUPS``), for whoever has not had it revealed: what people and agents wrote in their own words, what
is known of the customer, what the agent kept and tried.
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from msgspec import UNSET

from agent_sessions.admin import wording
from agent_sessions.admin.reasons import Reason, reason_of
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.leaves import alike
from agent_sessions.domain.money import format_money
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.domain.slices.shopping import Line, Quote, Shopping
from agent_sessions.domain.text import clipped
from agent_sessions.types import JSONValue, State

_FREE = frozenset({"instructions"})
"""Fields of the cart that are someone's own words."""
_SHOWN = {
    "lines": ("item", "quantity", "unit_price", "currency", "title", "variant", "options"),
    "discounts": ("amount", "currency", "code", "label", "applies_to"),
    "vouchers": ("label",),
    "delivery": ("method", "label", "amount", "currency", "earliest", "latest"),
    "quote": ("total", "currency", "fingerprint", "valid_until"),
}
"""What everybody sees of each field of the cart; the first three are maps of entries."""
_DECIDED: dict[str, dict[str, tuple[str, ...]]] = {
    "decisions": {
        "payments": ("method", "outcome", "code", "amount", "currency", "attempted_at", "ended_at"),
        "approvals": (
            "status",
            "rule",
            "amount",
            "currency",
            "version",
            "requested_at",
            "expires_at",
            "decided_at",
        ),
        "policies": ("result", "capability", "at"),
    },
    "inventory": {
        "holds": ("item", "quantity", "held_at", "until", "released_at"),
        "stock": ("available", "at"),
    },
    "stale": {"parts": ("kind", "ref", "what", "since")},
}
"""What everybody sees of slices that only the shop and its policies write: maps of entries."""
_NAMES = {
    "conversation": gettext_noop("Conversation"),
    "agent": gettext_noop("The agent’s variables"),
    "customer": gettext_noop("What is known of the customer"),
    "decisions": gettext_noop("Further details of decisions"),
    "checkout": gettext_noop("Where the checkout stands"),
    "inventory": gettext_noop("Further details of the stock"),
    "recovery": gettext_noop("Steps and failures"),
    "facts": gettext_noop("Facts that were looked up"),
    "stale": gettext_noop("Further details of what is stale"),
}
"""What people call the private part of each slice but the cart; translated where it is shown."""
_INSTRUCTIONS = gettext_noop("Instructions")
_FURTHER = gettext_noop("Further details of the cart")
_OTHER = gettext_noop("Other content")
_GROUPS: dict[str, str] = {
    _INSTRUCTIONS: "words",
    _NAMES["conversation"]: "words",
    _NAMES["customer"]: "customer",
    _NAMES["facts"]: "customer",
    _FURTHER: "customer",
}
"""The group of each private part by its name; the others are the agent's."""
FAILED_PAYMENTS = ("payment.declined", "payment.failed", "payment.unknown")
"""Changes that say that a payment failed."""
_LONGEST_LINE = 4000
_ENTRIES = ("lines", "discounts", "vouchers")
_QUOTED = frozenset({"subtotal", "shipping", "tax", "tax_included"})
"""What stores put beside a quote's total; the cart shows it to everybody."""
_SUMS = (
    ("subtotal", gettext_noop("Subtotal")),
    ("shipping", gettext_noop("Delivery")),
    ("tax", gettext_noop("Tax")),
)


@dataclass(frozen=True, slots=True)
class CartRow:
    title: str
    which: str
    item: str
    quantity: int
    unit_price: str
    total: str


@dataclass(frozen=True, slots=True)
class Cart:
    """A cart with its amounts written out. ``sums`` are label and amount, with ``has_total`` the total last.

    ``problem`` says why it cannot be read.
    """

    rows: tuple[CartRow, ...] = ()
    sums: tuple[tuple[str, str], ...] = ()
    vouchers: tuple[str, ...] = ()
    delivery: str = ""
    problem: str = ""
    has_total: bool = False

    @property
    def empty(self) -> bool:
        return not (self.rows or self.sums or self.vouchers or self.delivery or self.problem)


@dataclass(frozen=True, slots=True)
class Told:
    """One change in a sentence; ``hidden`` if it only says that something changed which is masked for the reader.

    ``reason`` says what its code means, where it is a failure with one that is known.
    """

    kind: str
    text: str
    hidden: bool = False
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Something in someone's own words: a heading and the text, or names within it with their texts."""

    name: str
    text: str = ""
    entries: tuple[wording.Entries, ...] = ()


def shown_of(state: State | None, groups: Set[str]) -> dict[str, Any]:
    """Return what a page shows of a state: its cart, what was decided about it, and of ``groups`` the words."""
    return {
        "cart": None if state is None else cart_of(state),
        "standing": [] if state is None else standing_of(state),
        "words": words_of(state, groups) if state is not None else [],
    }


def standing_of(state: State) -> list[Told]:
    """Say what stands about payments, approvals, policies, holds, stock and what is stale, a sentence each."""
    return [_told(change) for change in describe({}, _decided(state))]


def cart_of(state: State) -> Cart:
    """Return the cart as its shopper sees it."""
    try:
        shopping = msgspec.convert(_open_cart(state, with_extra=True), Shopping)
    except (msgspec.ValidationError, ValueError):
        return Cart(problem=_("The cart is stored in a shape that this version of the package does not know."))
    quote = None if shopping.quote is UNSET else shopping.quote
    delivery = "" if shopping.delivery is UNSET else clipped(shopping.delivery.label or shopping.delivery.method)
    sums = [
        (
            _("Discount {code}").format(code=clipped(entry.code or entry.label or name)),
            format_money(entry.amount, entry.currency),
        )
        for name, entry in sorted(shopping.discounts.items())
    ]
    if quote is not None:
        sums = [*_quoted_sums(quote)[:1], *sums, *_quoted_sums(quote)[1:]]
        sums.append((_("Total"), format_money(quote.total, quote.currency)))
    return Cart(
        tuple(_row(line) for _, line in sorted(shopping.lines.items())),
        tuple(sums),
        tuple(clipped(code) for code in sorted(shopping.vouchers)),
        delivery,
        has_total=quote is not None,
    )


def document_of(state: State, groups: Set[str]) -> tuple[str, list[str]]:
    """Return a state as JSON, as far as ``groups`` let one see it, and the names of the parts that are left out."""
    return _written(_visible(state, groups)), masked_parts(state, groups)


def masked_parts(state: State, groups: Set[str]) -> list[str]:
    """Return the names of what is in a state and not in ``groups``."""
    return [_(name) for name, value in _private_parts(state).items() if value and group_of(name) not in groups]


def group_of(part: str) -> str:
    """Return the group that a private part belongs to, by its name."""
    return _GROUPS.get(part, "agent")


def told(before: State, after: State, groups: Set[str]) -> list[Told]:
    """Say what changed between two states; of what is not in ``groups`` only that it changed."""
    changes = [_told(change) for change in describe(_visible(before, groups), _visible(after, groups))]
    if groups >= set(GROUPS):
        return changes
    one, other = _private_parts(before), _private_parts(after)
    changes += [
        Told("masked.changed", _("{part} changed").format(part=_(name)), hidden=True)
        for name in one
        if group_of(name) not in groups and not alike(one[name] or None, other[name] or None)
    ]
    return changes


def _told(change: Difference) -> Told:
    code = _map(change.new).get("code") if change.kind in FAILED_PAYMENTS else None
    return Told(change.kind, change.text, reason=reason_of(code) if isinstance(code, str) else None)


def words_of(state: State, groups: Set[str]) -> list[Words]:
    """Return what is private in a state and in one of the ``groups``."""
    found = []
    for name, value in _private_parts(state).items():
        if not value or group_of(name) not in groups:
            continue
        if not isinstance(value, dict):
            found.append(Words(_(name), _written(value)))
        elif entries := tuple(wording.entries(value)):
            found.append(Words(_(name), entries=entries))
    return found


def _row(line: Line) -> CartRow:
    which = line.variant or ", ".join(f"{name} {value}" for name, value in sorted(line.options.items()))
    return CartRow(
        clipped(line.title or line.item, 120),
        clipped(which),
        clipped(line.item),
        line.quantity,
        format_money(line.unit_price, line.currency),
        format_money(line.unit_price * line.quantity, line.currency),
    )


def _quoted_sums(quote: Quote) -> list[tuple[str, str]]:
    """What stores put beside the total, if it is there: amounts in the quote's currency."""
    found: list[tuple[str, str]] = []
    for name, label in _SUMS:
        amount = quote.extra.get(name)
        if type(amount) is int:
            included = name == "tax" and quote.extra.get("tax_included") is True
            found.append((_("Tax (included)") if included else _(label), format_money(amount, quote.currency)))
    return found


def _open_cart(state: State, *, with_extra: bool = False) -> dict[str, Any]:
    """Return the part of the cart that everybody sees; ``with_extra`` keeps what a quote has beside its total."""
    shopping = _map(state.get("shopping"))
    cart: dict[str, Any] = {}
    for field, shown in _SHOWN.items():
        if field not in shopping:
            continue
        names = (*shown, "extra") if with_extra and field == "quote" else shown
        value = shopping[field]
        if field not in _ENTRIES:
            cart[field] = _only(value, names)
        elif isinstance(value, dict):
            cart[field] = {key: _only(entry, names) for key, entry in value.items()}
        else:
            cart[field] = value
    return cart


def _private_parts(state: State) -> dict[str, Any]:
    """Return what only readers with the permission see, by the name it has for people."""
    shopping = _map(state.get("shopping"))
    further: dict[str, Any] = {}
    for field, value in shopping.items():
        if field in _FREE:
            continue
        names = _SHOWN.get(field)
        if names is None:
            further[field] = value
        elif field in _ENTRIES:
            rests = {key: _without(entry, names) for key, entry in _map(value).items()}
            further |= {f"{field} {key}": rest for key, rest in rests.items() if rest}
        elif rest := _without(value, names):
            sums = rest.get("extra")
            if field == "quote" and isinstance(sums, dict) and not (sums.keys() - _QUOTED):
                continue
            further[field] = rest
    parts: dict[str, Any] = {_INSTRUCTIONS: shopping.get("instructions")}
    parts |= {name: _undecided(state, slice_name) for slice_name, name in _NAMES.items()}
    parts[_FURTHER] = further
    parts[_OTHER] = {name: value for name, value in state.items() if name not in (*_NAMES, "shopping")}
    return parts


def _visible(state: State, groups: Set[str]) -> State:
    """Return a state as far as ``groups`` let one see it, and what everybody sees."""
    if groups >= set(GROUPS):
        return state
    shopping, cart = _map(state.get("shopping")), _open_cart(state)
    if group_of(_FURTHER) in groups:
        cart = {field: value for field, value in shopping.items() if field not in _FREE}
    if group_of(_INSTRUCTIONS) in groups:
        cart |= {field: shopping[field] for field in _FREE & shopping.keys()}
    revealed = {
        name: value
        for name, value in state.items()
        if name != "shopping" and group_of(_NAMES.get(name, _OTHER)) in groups
    }
    return {"shopping": cart, **_decided(state), **revealed}


def _decided(state: State) -> State:
    """Return what everybody sees beside the cart, as far as there is any of it."""
    found: State = {}
    for slice_name, shown in _DECIDED.items():
        value, seen = _map(state.get(slice_name)), dict[str, JSONValue]()
        for field, names in shown.items():
            entries = _map(value.get(field))
            if kept := {key: _only(entry, names) for key, entry in entries.items() if isinstance(entry, dict)}:
                seen[field] = kept
        if seen:
            found[slice_name] = seen
    return found


def _undecided(state: State, slice_name: str) -> JSONValue | None:
    """Return of a slice what not everybody sees, and whatever does not have the shape that it should."""
    value, shown = state.get(slice_name), _DECIDED.get(slice_name)
    if shown is None or not isinstance(value, dict):
        return value
    rest: dict[str, JSONValue] = {}
    for field, entries in value.items():
        if field not in shown or not isinstance(entries, dict):
            rest[field] = entries
            continue
        for key, entry in entries.items():
            if kept := _without(entry, shown[field]) if isinstance(entry, dict) else entry:
                rest[f"{field} {key}"] = kept
    return rest


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}


def _only(entry: JSONValue, names: tuple[str, ...]) -> JSONValue:
    return {name: entry[name] for name in names if name in entry} if isinstance(entry, dict) else entry


def _without(entry: JSONValue, names: tuple[str, ...]) -> dict[str, JSONValue]:
    return {name: value for name, value in _map(entry).items() if name not in names}


def _written(value: JSONValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return "\n".join(clipped(line, _LONGEST_LINE) for line in text.split("\n"))
