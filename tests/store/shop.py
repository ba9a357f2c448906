"""A store in memory for tests: a few things, whose prices and stock a test can change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from agent_sessions.store import (
    CartLine,
    Handoff,
    Item,
    Page,
    PricedDiscount,
    PricedLine,
    Problem,
    Quote,
    StoreContext,
)

PATH = "tests.store.shop.Shop"
COUNTING = "tests.store.shop.CountingShop"


@dataclass
class Shelf:
    """What the shop has now: prices in minor units, pieces, and what each voucher takes off."""

    prices: dict[str, int] = field(default_factory=lambda: {"mug": 1250, "plate": 900, "pot": 4000})
    stock: dict[str, int] = field(default_factory=lambda: {"mug": 10, "plate": 100_000, "pot": 2})
    vouchers: dict[str, int] = field(default_factory=lambda: {"WELCOME": 500})
    currency: str = "EUR"
    messages: list[str] = field(default_factory=list)
    asked: list[StoreContext] = field(default_factory=list)
    overcharges: dict[str, int] = field(default_factory=dict)
    """What a line costs on top of pieces times price."""


shelf = Shelf()
"""Of this test; the fixture ``shop`` fills it anew."""


class Shop:
    """The adapter."""

    features = frozenset({"browse", "contact"})

    def search(self, query: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        shelf.asked.append(ctx)
        found = [_item(name) for name in sorted(shelf.prices) if query in name]
        return Page(found[(page - 1) * limit : page * limit], page)

    def browse(self, category: str, sort: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        return self.search(category, ctx=ctx, page=page, limit=limit)

    def detail(self, item_id: str, *, ctx: StoreContext) -> Item | None:
        return _item(item_id) if item_id in shelf.prices else None

    def price(self, lines: Sequence[CartLine], vouchers: Sequence[str], *, ctx: StoreContext) -> Quote:
        priced, problems = [], []
        for line in lines:
            left = shelf.stock.get(line.item, 0)
            if line.item not in shelf.prices:
                problems.append(Problem("unknown_item", "There is no such item.", line=line.id))
            elif left < line.quantity:
                problems.append(Problem("out_of_stock", f"Only {left} left.", line=line.id, available=left))
            else:
                each = shelf.prices[line.item]
                total = each * line.quantity + shelf.overcharges.get(line.item, 0)
                priced.append(PricedLine(line.id, line.item, line.item.title(), line.quantity, each, total))
        subtotal = sum(line.total for line in priced)
        discounts = []
        for code in vouchers:
            if code in shelf.vouchers:
                discounts.append(PricedDiscount(code, -min(shelf.vouchers[code], subtotal), "Welcome", code=code))
            else:
                problems.append(Problem("invalid_voucher", "The voucher is not known.", voucher=code))
        total = max(0, subtotal + sum(one.amount for one in discounts))
        return Quote(shelf.currency, priced, total, discounts=discounts, problems=problems)

    def open_handoff(self, request: HttpRequest, handoff: Handoff) -> HttpResponse:
        return HttpResponse(handoff.status)

    def contact(self, message: str, reply_to: str, *, ctx: StoreContext) -> str:
        shelf.messages.append(message)
        return f"C-{len(shelf.messages)}"


class CountingShop(Shop):
    """The adapter of a shop that says how many pieces there are; tea is not counted."""

    features = frozenset({"browse", "contact", "stock"})

    def stock(self, item_ids: Collection[str], *, ctx: StoreContext) -> Mapping[str, int | None]:
        shelf.asked.append(ctx)
        counted: dict[str, int | None] = {"tea": None, **shelf.stock}
        return {item: counted[item] for item in item_ids if item in counted}


def _item(name: str) -> Item:
    return Item(name, name.title(), shelf.prices[name], shelf.currency, available=shelf.stock.get(name))
