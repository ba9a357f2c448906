"""The keys of agents' directories, kept in a Django cache.

Good keys are kept for as long as their server says, within bounds, and a directory that cannot be read does not take
them away: its outage would else revoke the keys of its agents everywhere at once. A directory that can be read and
no longer holds a key does.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from django.core.cache.backends.base import BaseCache

from agent_sessions.identity.fetching import DirectoryUnavailable, FetchedDirectory
from agent_sessions.identity.keys import Jwk, VerificationKey, load_key, read_directory
from agent_sessions.identity.outcome import Problem, Refused

FRESH_SECONDS: Final = 3600
SHORTEST_FRESH, LONGEST_FRESH = 60, 24 * 3600
STALE_SECONDS: Final = 24 * 3600
"""How long keys are used past their freshness while their directory cannot be read."""
RETRY_SECONDS: Final = 60
"""Between two attempts to fetch: after a failure, and for a keyid that a fresh directory does not hold."""
REFRESH_SECONDS: Final = 10
"""While one request refreshes stale keys, the others go on using them, at most this long."""

logger = logging.getLogger(__name__)


class KeyDirectories:
    """Looks keys up by directory and keyid, never by keyid alone."""

    def __init__(self, cache: BaseCache, fetch: Callable[[str], FetchedDirectory]) -> None:
        self._cache = cache
        self._fetch = fetch

    def key(self, origin: str, keyid: str) -> VerificationKey:
        """Return the key that the directory of an origin publishes under this thumbprint.

        Raises Refused: DIRECTORY_UNAVAILABLE when there are no keys to look in, KEY_UNKNOWN when it is not among them.
        """
        kept = self._kept(origin, keyid)
        found = kept["keys"].get(keyid)
        jwk = msgspec.convert(found, Jwk) if found else None
        if jwk is None or not jwk.is_valid_at(time.time()):
            raise Refused(Problem.KEY_UNKNOWN)
        return load_key(jwk)

    def _kept(self, origin: str, keyid: str) -> dict[str, Any]:
        name = _cache_name(origin)
        now = time.time()
        kept: dict[str, Any] | None = self._cache.get(name)
        if kept is not None:
            fresh = now < kept["fresh_until"]
            if fresh and (keyid in kept["keys"] or now < kept["fetched_at"] + RETRY_SECONDS):
                return kept
            if not fresh and not self._cache.add(f"{name}:refreshing", 1, REFRESH_SECONDS):
                return kept
        if self._cache.get(f"{name}:failed") is None:
            try:
                return self._refresh(name, origin, now)
            except (DirectoryUnavailable, ValueError) as problem:
                logger.warning("The key directory of %s: %s", origin, problem)
                self._cache.set(f"{name}:failed", 1, RETRY_SECONDS)
        if kept is None:
            raise Refused(Problem.DIRECTORY_UNAVAILABLE)
        return kept

    def _refresh(self, name: str, origin: str, now: float) -> dict[str, Any]:
        fetched = self._fetch(origin)
        keys = read_directory(fetched.document)
        age = FRESH_SECONDS if fetched.max_age is None else fetched.max_age
        fresh = min(max(age, SHORTEST_FRESH), LONGEST_FRESH)
        kept = {
            "keys": {keyid: msgspec.to_builtins(jwk) for keyid, jwk in keys.items()},
            "fetched_at": now,
            "fresh_until": now + fresh,
        }
        self._cache.set(name, kept, fresh + STALE_SECONDS)
        return kept


def _cache_name(origin: str) -> str:
    return f"agent_sessions:directory:{hashlib.sha256(origin.encode()).hexdigest()}"
