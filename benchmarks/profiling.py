"""Where the time of a change goes: microseconds per phase, and on demand cProfile's list of functions."""

from __future__ import annotations

import cProfile
import functools
import importlib
import pstats
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from django.db import connection

from benchmarks import ours
from benchmarks.measure import TOTAL, Contestant, Result, Scale, block

READ, WRITE, REST = "read the session and the chain's head (SQL)", "write (SQL)", "everything else"


class Phases:
    """Exclusive time per phase: what a nested phase takes is not counted for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._nested: list[float] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._nested.append(0.0)
        start = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - start
            self.seconds[name] += took - self._nested.pop()
            self.calls[name] += 1
            if self._nested:
                self._nested[-1] += took

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return function(*args, **kwargs)

        return inner

    def around_sql(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        with self.phase(WRITE if ours.is_write(sql) else READ):
            return execute(sql, params, many, context)


def breakdown(options: str, scale: Scale) -> Iterator[Result]:
    """Split the time of a change into phases, at the smallest and the largest state."""
    for kb in (2, 256):
        session = ours.OurSession(kb).advance_to(80)
        count = 256 * scale.count(6)
        plain = _mean(block(Contestant(TOTAL, session.change), count))
        phases = Phases()
        with _instrumented(phases):
            timed = _mean(block(Contestant(TOTAL, session.change), count))
        facts = {name: seconds / count * 1e6 for name, seconds in phases.seconds.items()}
        facts[REST] = timed * 1e6 - sum(facts.values())
        # The clocks cost time themselves: scale the parts to the time of a change without them.
        facts = {name: part * plain / timed for name, part in facts.items()}
        facts["statements sent per change"] = (phases.calls[READ] + phases.calls[WRITE]) / count
        yield Result("breakdown", options, kb=kb, facts={TOTAL: plain * 1e6, **facts, **_floors(scale)})


def _floors(scale: Scale) -> dict[str, float]:
    """What the driver and the disk take at least: an empty query, and one small row inserted and committed."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_floor (n integer)")
        empty = Contestant("", lambda: cursor.execute("SELECT %s", [1]))
        insert = Contestant("", lambda: cursor.execute("INSERT INTO bench_floor VALUES (%s)", [1]))
        count = 100 * scale.count(10)
        return {
            "floor: an empty query": _mean(block(empty, count)) * 1e6,
            "floor: a row of one integer inserted and committed": _mean(block(insert, count)) * 1e6,
        }


def print_profile(scale: Scale) -> None:
    """Print where cProfile finds the time of changes at 2 kB (it makes small functions look dearer than they
    are).
    """
    session = ours.OurSession(2).advance_to(80)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(64 * scale.count(40)):
        session.change()
    profile.disable()
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(25)


@contextmanager
def _instrumented(phases: Phases) -> Iterator[None]:
    """Put clocks around the functions that ours.PHASES names, wherever the package has imported them to."""
    with ExitStack() as stack:
        for phase, places in ours.PHASES.items():
            for place in places:
                try:
                    original = functools.reduce(getattr, place.split(":")[1].split("."), _module(place))
                except (AttributeError, ImportError):
                    print(f"    breakdown: {place} is not there")
                    continue
                timed = phases.timed(phase, original)
                for holder, name in _holders(original):
                    stack.callback(setattr, holder, name, original)
                    setattr(holder, name, timed)
        stack.enter_context(connection.execute_wrapper(phases.around_sql))
        yield


def _module(place: str) -> Any:
    return importlib.import_module(place.split(":")[0])


def _holders(function: Any) -> list[tuple[Any, str]]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("agent_sessions")]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return [
        (holder, name)
        for holder in [*modules, *dict.fromkeys(classes)]
        for name, value in list(vars(holder).items())
        if value is function
    ]


def _mean(times: list[float]) -> float:
    return sum(times) / len(times)
