"""What of a shop's stock is free for a session: what the store has, less what is held for others (X1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from agent_sessions.store.adapter import CartLine, Item, Problem, Quote, StoreAdapter, StoreContext

Held = Callable[[Collection[str]], Mapping[str, int]]
"""Given item ids, returns how many of each are held for others; what nobody holds may be left out."""


def nothing_held(_items: Collection[str]) -> Mapping[str, int]:
    """Say that nothing is held for anybody."""
    return {}


def counts_stock(store: StoreAdapter) -> bool:
    return "stock" in store.features


def held_problems(
    store: StoreAdapter, lines: Sequence[CartLine], quote: Quote, held: Held, *, ctx: StoreContext
) -> list[Problem]:
    """Return what keeps these lines from being bought because pieces are held for others.

    What the quote has something against already is left out. The store is only asked about items of which others hold
    something; a store that does not count its stock is not asked at all.
    """
    if not counts_stock(store) or not lines:
        return []
    others = {item: quantity for item, quantity in held({line.item for line in lines}).items() if quantity}
    if not others:
        return []
    counted = store.stock(list(others), ctx=ctx)
    free = {item: max(0, there - others[item]) for item, there in counted.items() if there is not None}
    return list(_missing(lines, quote, free))


def less_held(store: StoreAdapter, items: Sequence[Item], held: Held) -> list[Item]:
    """Return items as they are for a session: what is held for others is not available to it."""
    if not counts_stock(store):
        return list(items)
    others = held(set(_ids(items)))
    return [_less(item, others) for item in items] if others else list(items)


def _missing(lines: Sequence[CartLine], quote: Quote, free: dict[str, int]) -> Iterator[Problem]:
    blamed = {problem.line for problem in quote.problems}
    titles = {line.id: line.title for line in quote.lines}
    for line in lines:
        if line.item not in free or line.id in blamed:
            continue
        left, title = free[line.item], titles.get(line.id, line.item)
        if left < line.quantity:
            told = f"Only {left} of {title} free; you asked for {line.quantity}. The rest is held for other shoppers."
            if not left:
                told = f"All of {title} that are left are held for other shoppers. Try again in some minutes."
            yield Problem("out_of_stock", told, line=line.id, available=left)
        else:
            free[line.item] = left - line.quantity


def _ids(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        yield item.id
        yield from _ids(item.variants)


def _less(item: Item, others: Mapping[str, int]) -> Item:
    if not any(others.get(one) for one in _ids([item])):
        return item
    variants = [_less(variant, others) for variant in item.variants]
    if item.available is None:
        return replace(item, variants=variants)
    # What is sold in variants counts them together.
    held = sum(others.get(one, 0) for one in _ids([item]))
    return replace(item, variants=variants, available=max(0, item.available - held))
