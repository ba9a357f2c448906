"""A store of three things, whose prices and stock a test can change."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse

from agent_sessions.store import CartLine, Handoff, Item, Page, PricedLine, Problem, Quote, StoreContext

ITEMS = {
    "mug": Item("mug", "Ocean blue mug", 2800, "EUR", description="Stoneware.", category="mugs", available=5),
    "bowl": Item("bowl", "Rice bowl", 1950, "EUR", category="bowls", available=2),
    "a b/c": Item("a b/c", "Odd vase", 900, "EUR", category="vases"),
}
"""What is in the shop; tests patch it."""


class Shelf:
    """The adapter."""

    features = frozenset({"browse", "contact"})

    def search(self, query: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        if query == "break":
            raise RuntimeError(f"no index for {query}")
        found = [item for item in ITEMS.values() if query.lower() in item.title.lower()]
        return Page(found[(page - 1) * limit : page * limit], page)

    def browse(self, category: str, sort: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        found = [item for item in ITEMS.values() if category in ("", item.category)]
        return Page(found[(page - 1) * limit : page * limit], page)

    def detail(self, item_id: str, *, ctx: StoreContext) -> Item | None:
        return ITEMS.get(item_id)

    def price(self, lines: Sequence[CartLine], vouchers: Sequence[str], *, ctx: StoreContext) -> Quote:
        priced, problems = [], []
        for line in lines:
            item = ITEMS.get(line.item)
            if item is None or item.price is None:
                problems.append(Problem("unknown_item", "There is no such item.", line=line.id))
            elif item.available is not None and item.available < line.quantity:
                problems.append(
                    Problem("out_of_stock", f"Only {item.available} left.", line=line.id, available=item.available)
                )
            else:
                total = item.price * line.quantity
                priced.append(PricedLine(line.id, line.item, item.title, line.quantity, item.price, total))
        return Quote("EUR", priced, sum(line.total for line in priced), problems=problems)

    def open_handoff(self, request: HttpRequest, handoff: Handoff) -> HttpResponse:
        return HttpResponse(f"{handoff.status} {handoff.version}", content_type="text/html")

    def contact(self, message: str, reply_to: str, *, ctx: StoreContext) -> str:
        return "C-1"
