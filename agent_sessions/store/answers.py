"""JSON Schemas of what the built-in capabilities answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_OPTIONS: Final[Schema] = {"type": "object", "additionalProperties": _TEXT}


def _money(*names: str) -> Schema:
    decimal = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "A decimal number."}
    minor = {"type": "integer", "description": "The same in minor units of the currency."}
    return {key: schema for name in names for key, schema in ((name, decimal), (f"{name}_minor", minor))}


def _object(required: list[str], properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


_ITEM_FIELDS: Final[Schema] = {
    "id": {"type": "string", "description": "What cart.add takes as item_id."},
    "title": _TEXT,
    "name": {"type": "string", "description": "The title again, for clients that call it so."},
    "currency": {"type": "string", "description": "ISO 4217."},
    **_money("price"),
    "description": _TEXT,
    "category": _TEXT,
    "url": _TEXT,
    "image": _TEXT,
    "options": _OPTIONS,
    "available": {"type": "integer", "description": "How many there are, where the shop counts them."},
    "for_sale": {"type": "boolean", "description": "False: choose one of the variants, or it is sold out."},
    "extra": {"type": "object"},
}
_REQUIRED_OF_ITEM: Final = ["id", "title", "name", "currency", "for_sale"]
ITEM: Final[Schema] = _object(
    _REQUIRED_OF_ITEM,
    {**_ITEM_FIELDS, "variants": {"type": "array", "items": _object(_REQUIRED_OF_ITEM, _ITEM_FIELDS)}},
)
ITEMS: Final[Schema] = {"type": "array", "items": ITEM}
_LINE: Final[Schema] = _object(
    ["line_id", "item_id", "itemId", "title", "quantity", "currency", "unit_price", "total"],
    {
        "line_id": _TEXT,
        "item_id": _TEXT,
        "itemId": _TEXT,
        "title": _TEXT,
        "name": _TEXT,
        "quantity": {"type": "integer", "minimum": 1},
        "options": _OPTIONS,
        "currency": _TEXT,
        **_money("unit_price", "total"),
    },
)
_PROBLEM: Final[Schema] = _object(
    ["code", "message"],
    {"code": _TEXT, "message": _TEXT, "line": _TEXT, "voucher": _TEXT, "available": {"type": "integer"}},
)
CART: Final[Schema] = _object(
    ["items", "cart_size", "discounts", "vouchers", "currency", "subtotal", "total"],
    {
        "items": {"type": "array", "items": _LINE},
        "cart_size": {"type": "integer", "minimum": 0, "description": "Pieces in the cart."},
        "discounts": {
            "type": "array",
            "items": _object(["amount"], {"code": _TEXT, "label": _TEXT, **_money("amount")}),
        },
        "vouchers": {"type": "array", "items": _TEXT},
        "currency": _TEXT,
        **_money("subtotal", "total", "shipping", "tax"),
        "problems": {"type": "array", "items": _PROBLEM, "description": "What the shop has against it; see checkout."},
    },
)
CART_CHANGED: Final[Schema] = _object(
    ["cart", "item_id", "quantity", "cart_size"],
    {"cart": CART, "item_id": _TEXT, "quantity": {"type": "integer"}, "cart_size": {"type": "integer"}},
)
CHECKOUT: Final[Schema] = _object(
    ["cart", "changes"],
    {
        "cart": CART,
        "changes": {"type": "array", "items": _TEXT, "description": "What has changed since the last call."},
    },
)
RECEIVED: Final[Schema] = _object(["received", "reference"], {"received": {"const": True}, "reference": _TEXT})
