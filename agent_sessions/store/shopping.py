"""The capabilities that every store has: search, browse, detail, the cart, checkout, contact (contract item 67)."""

from __future__ import annotations

from typing import Any

from agent_sessions.domain.differences import describe
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import CartProblem, ItemNotFound
from agent_sessions.store.adapter import Item, Page
from agent_sessions.store.answers import CART, CART_CHANGED, CHECKOUT, ITEM, ITEMS, RECEIVED
from agent_sessions.store.capabilities import Capability, CapabilityCall, Outcome, Param
from agent_sessions.store.cart import MAX_QUANTITY, Lines, cart_answer, cart_lines, cart_slice, line_id, money, repriced
from agent_sessions.store.stock import less_held

_ITEM = Param(
    "string",
    "The item's id, as search and detail give it.",
    required=True,
    shown=True,
    minimum=1,
    maximum=200,
    aliases=("id", "itemId"),
)
_PAGE = Param("integer", "Page of the results, from 1.", default=1, minimum=1, maximum=10_000, shown=True)
_LIMIT = Param("integer", "Results per page.", default=20, minimum=1, maximum=100, shown=True)


def built_in(features: frozenset[str]) -> list[Capability]:
    """Return the built-in capabilities of a store with these features."""
    return [one for one in _BUILT_IN if one.name not in ("browse", "contact") or one.name in features]


def item_answer(item: Item) -> dict[str, Any]:
    """Return an item as agents see it."""
    answer: dict[str, Any] = {"id": item.id, "title": item.title, "name": item.title, "currency": item.currency}
    if item.price is not None:
        answer |= money("price", item.price, item.currency)
    for name in ("description", "category", "url", "image"):
        if getattr(item, name):
            answer[name] = getattr(item, name)
    if item.options:
        answer["options"] = dict(item.options)
    if item.available is not None:
        answer["available"] = item.available
    answer["for_sale"] = item.price is not None and item.available != 0
    if item.variants:
        answer["variants"] = [item_answer(variant) for variant in item.variants]
    if item.extra:
        answer["extra"] = dict(item.extra)
    return answer


def _search(call: CapabilityCall) -> Outcome:
    page = call.store.search(call.params["q"], ctx=call.ctx, page=call.params["page"], limit=call.params["limit"])
    return _page(call, page)


def _browse(call: CapabilityCall) -> Outcome:
    params = call.params
    page = call.store.browse(
        params["category"], params["sort"], ctx=call.ctx, page=params["page"], limit=params["limit"]
    )
    return _page(call, page)


def _detail(call: CapabilityCall) -> Outcome:
    item = call.store.detail(call.params["id"], ctx=call.ctx)
    if item is None:
        raise ItemNotFound("such item")
    return Outcome(item_answer(*less_held(call.store, [item], call.held)))


def _view(call: CapabilityCall) -> Outcome:
    return Outcome(cart_answer(call.state))


def _add(call: CapabilityCall) -> Outcome:
    item, quantity = call.params["item_id"], call.params["quantity"]
    lines = cart_lines(call.state)
    key = next((key for key, (known, _) in lines.items() if known == item), line_id(item))
    lines[key] = (item, quantity + (lines[key][1] if key in lines else 0))
    return _changed(call, lines, key, status=201)


def _update(call: CapabilityCall) -> Outcome:
    lines = cart_lines(call.state)
    key = _find_line(lines, call.params["item_id"])
    if call.params["quantity"] == 0:
        del lines[key]
    else:
        lines[key] = (lines[key][0], call.params["quantity"])
    return _changed(call, lines, key)


def _remove(call: CapabilityCall) -> Outcome:
    lines = cart_lines(call.state)
    key = _find_line(lines, call.params["item_id"])
    del lines[key]
    return _changed(call, lines, key)


def _checkout(call: CapabilityCall) -> Outcome:
    if not cart_lines(call.state):
        raise CartProblem("The cart is empty. Add something before checkout.")
    patch = repriced(call, about=None)
    if call.params["instructions"]:
        cart = patch.get("shopping")
        wish = {"instructions": call.params["instructions"]}
        patch = {**patch, "shopping": {**(cart if isinstance(cart, dict) else {}), **wish}}
    after = apply_patch(call.state, patch)
    # What is different from what the agent saw last, so that it can tell the consumer before they see the page.
    changes = describe({"shopping": cart_slice(call.state)}, {"shopping": cart_slice(after)})
    return Outcome({"cart": cart_answer(after), "changes": [one.text for one in changes]}, patch=patch, handoff=True)


def _contact(call: CapabilityCall) -> Outcome:
    reference = call.store.contact(call.params["message"], call.params["reply_to"], ctx=call.ctx)
    return Outcome({"received": True, "reference": reference})


def _changed(call: CapabilityCall, lines: Lines, key: str, *, status: int = 200) -> Outcome:
    """Answer a change of the cart, with what each dialect of the clients reads (contract section 2, row 17)."""
    patch = repriced(call, lines=lines, about=(key,))
    cart = cart_answer(apply_patch(call.state, patch))
    item, quantity = lines.get(key, (call.params["item_id"], 0))
    data = {"cart": cart, "item_id": item, "quantity": quantity, "cart_size": cart["cart_size"]}
    return Outcome(data, status=status, patch=patch)


def _page(call: CapabilityCall, page: Page) -> Outcome:
    # A plain list: the clients' own type for it (contract section 2, row 19). The page after the last one is empty.
    return Outcome([item_answer(item) for item in less_held(call.store, page.items, call.held)])


def _find_line(lines: Lines, item: str) -> str:
    for key, (known, _) in lines.items():
        if item in (key, known):
            return key
    raise ItemNotFound("such item", "in the cart")


_BUILT_IN = (
    Capability(
        "search",
        "GET",
        "/search",
        _search,
        "items.searched",
        "Find items by words.",
        {
            "q": Param("string", "Words to look for.", required=True, minimum=1, maximum=200, aliases=("query",)),
            "page": _PAGE,
            "limit": _LIMIT,
        },
        answer=ITEMS,
    ),
    Capability(
        "browse",
        "GET",
        "/browse",
        _browse,
        "items.browsed",
        "List the items of a category, or all of them.",
        {
            "category": Param("string", "A category's id; all items without it.", default="", shown=True, maximum=200),
            "sort": Param("string", "The order of the list.", default="", shown=True, maximum=50),
            "page": _PAGE,
            "limit": _LIMIT,
        },
        answer=ITEMS,
    ),
    Capability(
        "detail",
        "GET",
        "/detail/:id",
        _detail,
        "item.viewed",
        "Everything about one item, with its variants and stock.",
        {
            "id": Param(
                "string",
                "The item's id.",
                required=True,
                shown=True,
                minimum=1,
                maximum=200,
                aliases=("item_id", "itemId"),
            )
        },
        answer=ITEM,
    ),
    Capability(
        "cart.view",
        "GET",
        "/cart",
        _view,
        "cart.viewed",
        "The cart of this session.",
        requires_session=True,
        answer=CART,
    ),
    Capability(
        "cart.add",
        "POST",
        "/cart",
        _add,
        "cart.item_added",
        "Put an item into the cart; adds up with what is there.",
        {
            "item_id": _ITEM,
            "quantity": Param("integer", "How many to add.", default=1, minimum=1, maximum=MAX_QUANTITY, shown=True),
        },
        requires_session=True,
        answer=CART_CHANGED,
    ),
    Capability(
        "cart.update",
        "PATCH",
        "/cart",
        _update,
        "cart.item_updated",
        "Set how many of an item the cart holds; 0 removes it.",
        {
            "item_id": _ITEM,
            "quantity": Param(
                "integer", "How many there are to be.", required=True, minimum=0, maximum=MAX_QUANTITY, shown=True
            ),
        },
        requires_session=True,
        also=("PUT",),
        answer=CART_CHANGED,
    ),
    Capability(
        "cart.remove",
        "DELETE",
        "/cart",
        _remove,
        "cart.item_removed",
        "Take an item out of the cart.",
        {"item_id": _ITEM},
        requires_session=True,
        answer=CART_CHANGED,
    ),
    Capability(
        "checkout",
        "POST",
        "/checkout",
        _checkout,
        "checkout.handed_over",
        "Check prices and stock once more and get a link where a human reviews the cart and pays.",
        {"instructions": Param("string", "What the shop should know about the delivery.", default="", maximum=500)},
        requires_session=True,
        human_handoff=True,
        answer=CHECKOUT,
    ),
    Capability(
        "contact",
        "POST",
        "/contact",
        _contact,
        "contact.sent",
        "Send a message to the shop's people.",
        {
            "message": Param("string", "The message.", required=True, minimum=1, maximum=1000),
            "reply_to": Param("string", "Where to answer.", default="", maximum=200),
        },
        answer=RECEIVED,
    ),
)
