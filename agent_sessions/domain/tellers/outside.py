"""How differences of what is known of the world outside are told."""

from __future__ import annotations

from msgspec import UNSET

from agent_sessions.domain.slices.outside import Fact, Held, StalePart, StockSeen
from agent_sessions.domain.tellers.making import Teller, entries, in_brackets, moment, optional_moment, saying
from agent_sessions.domain.text import clipped


def _held(_key: str, held: Held) -> tuple[str, str]:
    what = f"{held.quantity} × {clipped(held.item)}"
    if held.released_at is not UNSET:
        return "released", f"Released {what}{optional_moment('at', held.released_at, day_of=held.held_at)}"
    return "held", f"Holding {what}{optional_moment('until', held.until, day_of=held.held_at)}"


def _stock(key: str, seen: StockSeen) -> tuple[str, str]:
    return "seen", f"{clipped(key)}: {seen.available} free at {moment(seen.at)}"


def _fact(key: str, fact: Fact) -> tuple[str, str]:
    return "learned", f"Learned {clipped(key)} from {clipped(fact.source)}"


def _stale(_key: str, part: StalePart) -> tuple[str, str]:
    return "marked", f"Stale: {_part(part)} since {moment(part.since)}"


def _validated(_key: str, part: StalePart) -> tuple[str, str]:
    return "cleared", f"No longer stale: {_part(part)}"


def _part(part: StalePart) -> str:
    return f"{clipped(part.kind)} {clipped(part.ref)}{in_brackets(part.what)}"


INVENTORY: dict[str, Teller] = {
    "holds": entries(Held, saying("hold", _held)),
    "stock": entries(StockSeen, saying("stock", _stock)),
}
FACTS: dict[str, Teller] = {"known": entries(Fact, saying("fact", _fact))}
STALE: dict[str, Teller] = {"parts": entries(StalePart, saying("stale", _stale, _validated))}
