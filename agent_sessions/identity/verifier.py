"""Tell which agent signed a request."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

from django.core.cache.backends.base import BaseCache
from django.utils import timezone

from agent_sessions.identity.directories import KeyDirectories
from agent_sessions.identity.fetching import FetchedDirectory, fetch_directory, origin_of
from agent_sessions.identity.keys import RFC_9421_TEST_KEYS
from agent_sessions.identity.outcome import AgentIdentity, Outcome, Problem, Refused
from agent_sessions.identity.signature import (
    SignedRequest,
    check_signature,
    check_times,
    read_agent,
    read_claim,
)

MAX_WINDOW: Final = timedelta(hours=24)
MAX_KEY: Final = 200
_THUMBPRINT_SIZE: Final = 43


class SignatureVerifier:
    """Verifies web-bot-auth signatures of agents whose key directories a site accepts.

    ``directories`` are the accepted origins (``https://agent.example``); without one every signature is INVALID and
    nothing is ever fetched. ``cache`` keeps the keys and the nonces: it must be shared by all processes of the site
    and not evict before its time, or a request can be replayed (docs/identity.md). ``fetch`` takes an origin and
    returns its FetchedDirectory or raises DirectoryUnavailable. ``max_window`` bounds the time from created to expires.
    ``allow_test_keys`` accepts the published keys of RFC 9421, for tests alone.

    Raises ValueError for a directory that is no https origin or longer than 156 characters. Holds no state of its
    own, so it can be made for each request, which suits caches that are not to be shared between threads.
    """

    def __init__(
        self,
        *,
        directories: Collection[str],
        cache: BaseCache,
        fetch: Callable[[str], FetchedDirectory] = fetch_directory,
        max_window: timedelta = MAX_WINDOW,
        allow_test_keys: bool = False,
    ) -> None:
        self._accepted = frozenset(origin_of(url) for url in directories)
        longest = MAX_KEY - _THUMBPRINT_SIZE - 1
        if any(len(origin) > longest for origin in self._accepted):
            raise ValueError(f"The origin of a key directory is longer than {longest} characters.")
        self._cache = cache
        self._directories = KeyDirectories(cache, fetch)
        self._max_window = max_window
        self._allow_test_keys = allow_test_keys

    def identify(self, *, method: str, url: str, headers: Mapping[str, str], body: bytes) -> AgentIdentity:
        """Tell who signed a request. Never raises for what a client sends.

        ``method`` is upper-case; ``url`` is absolute and encoded, as the client sent it; ``headers`` may have names
        in any case, with repeated fields joined by commas; ``body`` is what came over the wire.
        """
        fields = _by_lower_name(headers)
        if "signature" not in fields and "signature-input" not in fields:
            return AgentIdentity(Outcome.ABSENT)
        try:
            return self._identify(SignedRequest(method, url, fields, body))
        except Refused as refused:
            return AgentIdentity(Outcome.INVALID, problem=refused.problem)

    def _identify(self, request: SignedRequest) -> AgentIdentity:
        now = timezone.now()
        claim = read_claim(request.headers)
        check_times(claim, now=now, max_window=self._max_window)
        agent = read_agent(claim, request.headers)
        if agent not in self._accepted:
            raise Refused(Problem.UNKNOWN_DIRECTORY)
        if claim.keyid in RFC_9421_TEST_KEYS and not self._allow_test_keys:
            raise Refused(Problem.TEST_KEY)
        key = self._directories.key(agent, claim.keyid)
        check_signature(claim, key, request)
        name = f"{agent}#{claim.keyid}"
        if claim.nonce is not None and not self._is_first(name, claim.nonce, claim.expires - now):
            raise Refused(Problem.REPLAYED)
        return AgentIdentity(Outcome.VERIFIED, key=name, agent=agent, expires_at=claim.expires)

    def _is_first(self, name: str, nonce: str, remaining: timedelta) -> bool:
        """Record a nonce until its signature ends; of two requests at once, ``add`` lets one through."""
        digest = hashlib.sha256(f"{name}\0{nonce}".encode()).hexdigest()
        return self._cache.add(f"agent_sessions:nonce:{digest}", 1, math.ceil(remaining.total_seconds()) + 1)


def _by_lower_name(headers: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
    return fields
