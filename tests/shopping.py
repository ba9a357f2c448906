"""What the sessions of the tests hold: small baskets."""

from __future__ import annotations

from typing import Any

from agent_sessions.types import Patch


def line(title: str = "Blue mug", quantity: int = 1, unit_price: int = 1250, **more: Any) -> dict[str, Any]:
    """A basket line; prices in cents."""
    return {"item": "sku-1", "title": title, "quantity": quantity, "unit_price": unit_price, "currency": "EUR", **more}


def basket(**lines: Any) -> Patch:
    """A patch of basket lines by their id; None removes one."""
    return {"shopping": {"lines": lines}}


def variables(**values: Any) -> Patch:
    """A patch of the agent's own variables."""
    return {"agent": values}


def merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch as RFC 7396 section 2 words it; written anew so that no test trusts the package's own."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
