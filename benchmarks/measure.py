"""Measuring in turns: blocks of each contestant alternate in one run, so that what the machine does meanwhile
hits all of them, and the result is a ratio per round.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec

TOTAL = "a change"
"""What the phases of the breakdown add up to."""


class Side(msgspec.Struct):
    """What one contestant reached. Times in milliseconds; ``ratio`` is median, least and greatest, over the
    rounds, of the base's rate divided by this one's.
    """

    name: str
    rate: float
    p50: float
    p99: float
    ratio: tuple[float, float, float]


class Result(msgspec.Struct):
    """One benchmark with one set of database options. The first side is the base of the ratios."""

    bench: str
    options: str
    kb: int = 0
    clients: int = 1
    sides: list[Side] = []
    facts: dict[str, float] = {}
    note: str = ""

    def side(self, name: str) -> Side:
        return next(side for side in self.sides if side.name == name)


@dataclass
class Contestant:
    """An operation under a name. ``before`` runs ahead of each block, outside the clock; ``operations`` is
    how many make a block, if not as many as the others'.
    """

    name: str
    operation: Callable[[], Any]
    before: Callable[[], Any] | None = None
    operations: int | None = None


@dataclass(frozen=True)
class Scale:
    """How much work to do."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """Least number of rounds of a comparison."""
        return 3 if self.quick else 10

    @property
    def budget(self) -> float:
        """Seconds in which a comparison may run more rounds than the least, up to four times as many."""
        return 0.4 if self.quick else 4.0

    def count(self, full: int) -> int:
        return max(1, full // 10) if self.quick else full

    def seconds(self, full: float) -> float:
        return full / 4 if self.quick else full


_runner: asyncio.Runner | None = None


def run_async(coroutine: Any) -> Any:
    """Run on the one event loop of this process, the loop that the peers' connections belong to."""
    global _runner
    _runner = _runner or asyncio.Runner()
    return _runner.run(coroutine)


def block(contestant: Contestant, operations: int) -> list[float]:
    """Run the operation that many times; returns the seconds of each."""
    if contestant.before:
        contestant.before()
    gc.collect()
    if inspect.iscoroutinefunction(contestant.operation):
        return run_async(_async_block(contestant.operation, operations))
    operation, times = contestant.operation, []
    for _ in range(operations):
        start = perf_counter()
        operation()
        times.append(perf_counter() - start)
    return times


async def _async_block(operation: Callable[[], Any], operations: int) -> list[float]:
    times = []
    for _ in range(operations):
        start = perf_counter()
        await operation()
        times.append(perf_counter() - start)
    return times


def turns(contestants: Sequence[Contestant], *, operations: int, scale: Scale, informal: bool = False) -> list[Side]:
    """Run rounds of a block each, in alternating order, after one of half length that is thrown away.

    ``informal`` comparisons, which no target hangs on, run half as many rounds.
    """
    times: dict[str, list[list[float]]] = {contestant.name: [] for contestant in contestants}
    warm_up = sum(sum(block(contestant, (contestant.operations or operations) // 2)) for contestant in contestants)
    least = (scale.rounds + 1) // 2 if informal else scale.rounds
    rounds = min(4 * least, max(least, round(scale.budget / (2 * warm_up))))
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            times[contestant.name].append(block(contestant, contestant.operations or operations))
    rates = {name: [len(block) / sum(block) for block in blocks] for name, blocks in times.items()}
    return [side(name, times[name], rates[name], rates[contestants[0].name]) for name in times]


def side(name: str, times: Sequence[Sequence[float]], rates: Sequence[float], base: Sequence[float]) -> Side:
    """Sum up a contestant: the times of its operations, its rate in each round, and the base's rates."""
    every = sorted(time * 1000 for block in times for time in block)
    ratios = [ours / theirs for ours, theirs in zip(base, rates, strict=True)]
    return Side(
        name=name,
        rate=statistics.median(rates),
        p50=every[len(every) // 2],
        p99=every[min(len(every) - 1, len(every) * 99 // 100)],
        ratio=(statistics.median(ratios), min(ratios), max(ratios)),
    )
