"""What can go wrong when agents shop, and how the session goes on: stories, played over HTTP against a running shop.

``make demo STORY=declined`` plays one; the tests play them all. A story is told in plain lines; whoever plays it sees
only what an agent, a human and the shop's people would see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shop_demo.stories import alternatives, paying, together, waiting
from shop_demo.stories.stage import Stage

__all__ = ["STORIES", "Stage", "Story"]


@dataclass(frozen=True, slots=True)
class Story:
    """``settings`` are those of the package that make waiting short when nobody can turn the clock."""

    title: str
    play: Callable[[Stage], None]
    settings: Mapping[str, Any] = field(default_factory=dict)


STORIES: Mapping[str, Story] = {
    "declined": Story("A card is declined, and another way to pay works", paying.declined),
    "crash": Story(
        "The answer to a payment is lost in the middle of it", paying.crash, {"STEPS": "shop_demo.stories.paying.SOON"}
    ),
    "approval": Story(
        "The approval comes too late, and has to be asked for again",
        waiting.approval,
        {"TTL": {"approval": 4, "consumer": 3600}},
    ),
    "stock": Story("Pieces that were held are gone when the hold has run out", alternatives.stock, {"HOLD_TTL": 3}),
    "price": Story("A price changes while the agent shops", alternatives.price),
    "devices": Story("Voice and phone at once, for the same person", together.devices),
    "fork": Story("Two baskets are tried, and one is bought", alternatives.fork),
    "b2b": Story(
        "A purchase that takes three days, with renewals and a boss", waiting.three_days, {"TTL": {"consumer": 9}}
    ),
    "specialist": Story("The session is handed to a specialist agent and back", together.specialist),
    "rollback": Story("The cart goes back to what was committed", alternatives.rollback),
    "two-shops": Story("One shopping trip over two merchants", together.two_merchants),
}
