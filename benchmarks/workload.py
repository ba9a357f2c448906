"""What is written and read: carts of a given size and the changes to them, the same for every contestant."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

SIZES = (2, 32, 256)
"""Sizes of state, in kB (1024 bytes) of compact JSON."""

State = dict[str, Any]
Line = dict[str, Any]

_NOUNS = [
    "jacket",
    "shirt",
    "boots",
    "scarf",
    "lamp",
    "kettle",
    "chair",
    "backpack",
    "tent",
    "helmet",
    "blanket",
]
_WORDS = [
    "navy",
    "light",
    "warm",
    "small",
    "large",
    "wool",
    "cotton",
    "steel",
    "oak",
    "folding",
    "slim",
    "classic",
]
_SEED = 20_251


def state_of(kb: int) -> State:
    """Make a state of ``kb`` kB: two thirds cart lines, one third notes that the agent keeps for itself."""
    rng = random.Random(_SEED + kb)
    state: State = {"shopping": {"lines": {}}, "agent": {"notes": {}}}
    size, target = len(compact(state)), kb * 1024
    for number in itertools.count(1):
        if number % 3:
            key, part, value = f"l{number:05d}", state["shopping"]["lines"], line_of(rng)
        else:
            key, part, value = (
                f"n{number:05d}",
                state["agent"]["notes"],
                {"about": sku(rng), "text": words(rng, 14)},
            )
        grown = len(compact({key: value})) - 1
        if size + grown > target and state["agent"]["notes"]:
            return state
        part[key] = value
        size += grown
    raise AssertionError("itertools.count never ends")


def line_of(rng: random.Random) -> Line:
    return {
        "item": sku(rng),
        "title": f"{words(rng, 3)} {rng.choice(_NOUNS)}",
        "quantity": rng.randint(1, 9),
        "unit_price": rng.randint(500, 50_000),
        "currency": "EUR",
    }


def sku(rng: random.Random) -> str:
    return f"SKU-{rng.randrange(16**6):06X}"


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_WORDS, k=count))


def changes(state: State) -> Iterator[tuple[str, Line]]:
    """Endlessly name a line of ``state`` and what it becomes; the state keeps its size."""
    rng = random.Random(_SEED)
    keys = list(state["shopping"]["lines"])
    while True:
        yield rng.choice(keys), line_of(rng)


def patch_of(key: str, line: Line) -> dict[str, Any]:
    """The same change as a merge patch (RFC 7396)."""
    return {"shopping": {"lines": {key: line}}}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
