"""What the tests of holds share: holding, and what must be so of all holds together."""

from __future__ import annotations

from collections import Counter
from typing import Any

from agent_sessions import services
from agent_sessions.models import HeldItem, Hold
from agent_sessions.services import Held
from agent_sessions.store import StoreContext


def hold(session: Any, item: str = "mug", quantity: int = 2, **facts: Any) -> Held:
    session_id = getattr(session, "session_id", session)
    return services.place_hold(session_id, item=item, quantity=quantity, ctx=StoreContext(), **facts)


def held() -> dict[str, int]:
    """How many of each item are held, as the counts say; they say what the holds themselves say (X1)."""
    counted = dict(HeldItem.objects.filter(quantity__gt=0).values_list("item", "quantity"))
    rows: Counter[str] = Counter()
    for item, quantity in Hold.objects.filter(released_at__isnull=True).values_list("item", "quantity"):
        rows[item] += quantity
    assert counted == dict(rows)
    return counted


def only_hold() -> Hold:
    return Hold.objects.get()
