"""Requests per minute and caller, over all endpoints and all processes (contract items 43 to 45)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from django.core.cache import caches
from django.utils.crypto import salted_hmac

from agent_sessions.api.errors import LimitsUnavailable
from agent_sessions.conf import settings
from agent_sessions.exceptions import RateLimited

WINDOW: Final = 60
"""Seconds."""
logger = logging.getLogger("agent_sessions")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where a caller stands: its ``number``-th request of the window that ends at ``reset`` (Unix time)."""

    limit: int
    number: int
    reset: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.number)

    def require(self) -> None:
        """Raise RateLimited if this request is one too many."""
        if self.number > self.limit:
            raise RateLimited(retry_after=math.ceil(self.reset - time.time()))


def count_request(caller: str) -> Allowance | None:
    """Count one request of a caller; None if the site sets no limit, or cannot count and answers nevertheless.

    The cache adds up, so no two processes give out the same place. Raises LimitsUnavailable.
    """
    return _look(caller, _add_one)


def refuse_exhausted(caller: str) -> None:
    """Refuse a caller who has nothing left, without counting: what comes next costs more than counting.

    Raises RateLimited, LimitsUnavailable.
    """
    found = _look(caller, lambda key: int(caches[settings.limits_cache].get(key, 0)) + 1)
    if found is not None:
        found.require()


def _look(caller: str, number_of: Callable[[str], int]) -> Allowance | None:
    limit = settings.max_requests_per_minute
    if not limit:
        return None
    window = int(time.time() // WINDOW)
    try:
        number = number_of(_key(caller, window))
    except Exception as problem:  # noqa: BLE001 - each cache backend fails with errors of its own
        name = type(problem).__name__
        logger.error("Requests cannot be counted: the cache %r fails (%s).", settings.limits_cache, name)
        if settings.refuses_without_limits_cache:
            raise LimitsUnavailable from None
        return None
    return Allowance(limit, number, (window + 1) * WINDOW)


def _add_one(key: str) -> int:
    cache = caches[settings.limits_cache]
    try:
        return cache.incr(key)
    except ValueError:  # the first request of the window
        cache.add(key, 0, 2 * WINDOW)
        return cache.incr(key)


# The same callers come again and again within a window.
@lru_cache(maxsize=1024)
def _key(caller: str, window: int) -> str:
    # Keyed, because a cache is often open to more people than the database, and an address is personal data.
    name = salted_hmac("agent_sessions.limits", caller, algorithm="sha256").hexdigest()[:32]
    return f"agent_sessions:rate:{name}:{window}"
