"""A session's cart: the slice ``shopping`` of its state, priced by the store.

Whatever changes a cart asks the store for the price of all of it, so that what the session holds is always what the
store said last.

In answers an amount is a decimal text (``"12.50"``) and, beside it, whole minor units (``..._minor``): a bare number
would leave open which of the two it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.domain.money import format_amount
from agent_sessions.domain.patch import diff
from agent_sessions.domain.references import CONSUMER
from agent_sessions.domain.shown_cart import shown_cart
from agent_sessions.domain.values import MAX_KEY_LENGTH
from agent_sessions.exceptions import CartProblem, ItemNotFound
from agent_sessions.store.adapter import CartLine, PricedLine, Problem, Quote, StoreAdapter, StoreContext
from agent_sessions.store.stock import Held, held_problems, nothing_held
from agent_sessions.types import JSONValue, Patch, State

MAX_LINES = 100
MAX_QUANTITY = 10_000
Lines = Mapping[str, tuple[str, int]]
"""What is in a cart: item and quantity, by line id."""


class PricedCart(Protocol):
    """Something with a cart that a store prices, such as a ``CapabilityCall``."""

    @property
    def state(self) -> State: ...
    @property
    def store(self) -> StoreAdapter: ...
    @property
    def ctx(self) -> StoreContext: ...
    @property
    def held(self) -> Held: ...


@dataclass(frozen=True, slots=True)
class SessionCart:
    """The cart of a session outside of a call."""

    state: State
    store: StoreAdapter
    ctx: StoreContext
    held: Held = nothing_held


def repriced(
    call: PricedCart,
    *,
    lines: Lines | None = None,
    vouchers: Sequence[str] | None = None,
    about: Collection[str] | None = (),
) -> Patch:
    """Return the patch that gives the call's cart these lines and vouchers, at what the store asks for them now.

    What is None stays as it is. What the store has against a line or a voucher that is new or changed, or is named in
    ``about``, refuses the call, and so do pieces that are held for others. Problems of the rest are told in the answer
    and hold up nothing before checkout; with ``about=None`` every problem refuses. Items and vouchers are not stale any
    more (X2): the store has just been asked about all of them. Raises CartProblem, ItemNotFound.
    """
    had, had_codes = cart_lines(call.state), cart_vouchers(call.state)
    wanted = had if lines is None else lines
    codes = had_codes if vouchers is None else list(vouchers)
    if len(wanted) > MAX_LINES:
        raise CartProblem(f"A cart has at most {MAX_LINES} lines.")
    quote = _price(call, wanted, codes)
    concerned = {key for key, line in wanted.items() if line != had.get(key)} | set(codes).difference(had_codes)
    concerned |= set(about or ()) - {""}
    grave = [one for one in quote.problems if about is None or {one.line, one.voucher} & concerned]
    if grave:
        raise _refusal(grave)
    return _patch(call.state, quote, wanted, codes)


def cart_lines(state: State) -> dict[str, tuple[str, int]]:
    """Return item and quantity of each line of a cart, by line id."""
    lines = cart_slice(state).get("lines", {})
    return {key: (line["item"], line["quantity"]) for key, line in lines.items()}


def cart_vouchers(state: State) -> list[str]:
    return sorted(cart_slice(state).get("vouchers", {}))


def cart_problems(state: State) -> tuple[Mapping[str, JSONValue], ...]:
    """Return what the store had against a cart when it last priced it, as in ``CartProblem``."""
    return tuple(cart_slice(state).get("quote", {}).get("extra", {}).get("problems", ()))


def cart_answer(state: State) -> dict[str, Any]:
    """Return a cart as agents see it."""
    shopping = cart_slice(state)
    quote = shopping.get("quote", {})
    extra, currency = quote.get("extra", {}), quote.get("currency", "")
    lines = [_line_answer(key, line) for key, line in sorted(shopping.get("lines", {}).items())]
    discounts = [
        {"code": one.get("code", ""), "label": one.get("label", ""), **money("amount", one["amount"], one["currency"])}
        for _, one in sorted(shopping.get("discounts", {}).items())
    ]
    answer: dict[str, Any] = {
        "items": lines,
        "cart_size": sum(line["quantity"] for line in lines),
        "discounts": discounts,
        "vouchers": cart_vouchers(state),
        "currency": currency,
        **money("subtotal", extra.get("subtotal", 0), currency),
        **money("total", quote.get("total", 0), currency),
    }
    for name in ("shipping", "tax"):
        if name in extra:
            answer |= money(name, extra[name], currency)
    if "problems" in extra:
        answer["problems"] = extra["problems"]
    return answer


def cart_fingerprint(state: State) -> str:
    """Tell carts apart by what a person is shown of them: SHA-256 of the canonical bytes, 64 hex digits (L5)."""
    return hashlib.sha256(canonical_bytes(shown_cart(state))).hexdigest()


def line_id(item: str) -> str:
    """One line per item, keyed by its id: adding the same item twice adds up, whoever comes first."""
    return item if len(item) <= MAX_KEY_LENGTH else hashlib.sha256(item.encode()).hexdigest()


def money(name: str, amount: int, currency: str) -> dict[str, Any]:
    return {name: format_amount(amount, currency), f"{name}_minor": amount}


def _price(call: PricedCart, lines: Lines, vouchers: Sequence[str]) -> Quote:
    for _, quantity in lines.values():
        if quantity > MAX_QUANTITY:
            raise CartProblem(f"A line has at most {MAX_QUANTITY} pieces.")
    wanted = [CartLine(key, item, quantity) for key, (item, quantity) in sorted(lines.items())]
    quote = call.store.price(wanted, vouchers, ctx=call.ctx)
    priced = {line.id: line.quantity for line in quote.lines}
    blamed = {problem.line for problem in quote.problems}
    twice_or_more = len(priced) != len(quote.lines) or not priced.keys() <= lines.keys()
    if twice_or_more or any(priced.get(one.id) != one.quantity and one.id not in blamed for one in wanted):
        raise CartProblem("The store could not price the whole cart. Try again later.")
    held = held_problems(call.store, wanted, quote, call.held, ctx=call.ctx)
    return replace(quote, problems=[*quote.problems, *held]) if held else quote


def _refusal(problems: Sequence[Problem]) -> CartProblem | ItemNotFound:
    if problems[0].code == "unknown_item":
        return ItemNotFound("such item")
    return CartProblem(" ".join(one.message for one in problems), [_told(one) for one in problems])


def _told(problem: Problem) -> dict[str, JSONValue]:
    names = ("code", "message", "line", "voucher", "available")
    return _present(**{name: getattr(problem, name) for name in names})


def _patch(state: State, quote: Quote, wanted: Lines, vouchers: Sequence[str]) -> Patch:
    """Return the smallest patch that makes the session's cart what the store said."""
    shopping = dict(cart_slice(state))
    before = _as_map(shopping.get("lines"))
    lines = {line.id: _line(before.get(line.id), line, quote.currency) for line in quote.lines}
    # A line that the store cannot price any more stays as it was, until someone takes it out.
    shopping["lines"] = lines | {key: before[key] for key in wanted if key not in lines and key in before}
    discounts = {
        one.id: _present(
            amount=one.amount, currency=quote.currency, code=one.code, label=one.label, applies_to=one.line
        )
        for one in quote.discounts
    }
    known = _as_map(shopping.get("vouchers"))
    for name, entries in (("discounts", discounts), ("vouchers", {code: known.get(code, {}) for code in vouchers})):
        if entries or name in shopping:
            shopping[name] = entries
    extra = _present(
        subtotal=quote.subtotal,
        shipping=quote.shipping,
        tax=quote.tax,
        tax_included=quote.tax_included,
        problems=[_told(problem) for problem in quote.problems],
    )
    told = {"total": quote.total, "currency": quote.currency, "fingerprint": quote.fingerprint, "extra": extra}
    if quote.valid_until is not None:
        told["valid_until"] = quote.valid_until.isoformat()
    shopping["quote"] = told
    return diff(state, {**state, "shopping": shopping, **_validated(state)})


def _validated(state: State) -> State:
    """Return the slice ``stale`` as it is once the store was asked about all items and vouchers, if that is another."""
    stale = _as_map(state.get("stale"))
    parts = _as_map(stale.get("parts"))
    kept = {key: part for key, part in parts.items() if part.get("kind") == CONSUMER}
    return {} if len(kept) == len(parts) else {"stale": {**stale, "parts": kept}}


def _line(before: object, priced: PricedLine, currency: str) -> object:
    line = _present(
        item=priced.item,
        quantity=priced.quantity,
        unit_price=priced.unit_price,
        currency=currency,
        title=priced.title,
        variant=priced.variant,
        options=dict(priced.options),
        extra=_line_extra(before, priced),
    )
    # Most lines stay as they are, and what is the same object need not be compared piece by piece.
    return before if line == before else line


def _line_extra(before: object, line: PricedLine) -> dict[str, Any]:
    """What the shop keeps with a line, and its total where that is not pieces times price."""
    extra = {name: kept for name, kept in _as_map(_as_map(before).get("extra")).items() if name != "total"}
    return extra if line.total == line.unit_price * line.quantity else {**extra, "total": line.total}


def _line_answer(key: str, line: dict[str, Any]) -> dict[str, Any]:
    currency = line["currency"]
    return {
        "line_id": key,
        "item_id": line["item"],
        "itemId": line["item"],
        "title": line.get("title", ""),
        "name": line.get("title", ""),
        "quantity": line["quantity"],
        "options": line.get("options", {}),
        "currency": currency,
        **money("unit_price", line["unit_price"], currency),
        **money("total", line.get("extra", {}).get("total", line["unit_price"] * line["quantity"]), currency),
    }


def _present(**values: Any) -> dict[str, Any]:
    """Leave out what is None or empty; zero and false say something."""
    return {name: value for name, value in values.items() if value or value == 0}


def cart_slice(state: State) -> dict[str, Any]:
    return _as_map(state.get("shopping"))


def _as_map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
