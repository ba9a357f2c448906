"""How the shop writes its prices."""

from __future__ import annotations

from agent_sessions.domain.money import format_amount
from shop_demo.pricing import CURRENCY


def euros(cents: int) -> str:
    """Return an amount as the shop's pages show it: €12.50."""
    amount = format_amount(abs(cents), CURRENCY)
    return f"−€{amount}" if cents < 0 else f"€{amount}"
