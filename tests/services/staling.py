"""Sessions that depend on an item of the shop, and what of them is stale."""

from __future__ import annotations

from typing import Any

from tests.store.calling import call, state


def parts(session: Any) -> dict[str, Any]:
    found: dict[str, Any] = state(session).get("stale", {}).get("parts", {})
    return found


def with_item(opened: Any, item: str = "mug", **facts: Any) -> Any:
    one = opened(**facts)
    call("cart.add", one, item_id=item)
    return one
