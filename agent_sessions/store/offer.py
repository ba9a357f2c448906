"""What this installation offers: its store, its capabilities and its policies, put together from the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from django.utils.module_loading import autodiscover_modules, import_string

from agent_sessions.conf import settings
from agent_sessions.exceptions import NoStore
from agent_sessions.store.adapter import StoreAdapter
from agent_sessions.store.capabilities import Capability, registry
from agent_sessions.store.policies import Policy, WithinScope
from agent_sessions.store.shopping import built_in

CUSTOMERS, FIND_CUSTOMER, STEPS = "customers", "find_customer", "steps"
_FEATURES = frozenset({"browse", "contact", "stock", CUSTOMERS, FIND_CUSTOMER, STEPS})
_METHODS = {CUSTOMERS: "consumer_reference", STEPS: "step_outcome"}
"""What a store with a feature has to have, where that is not named like it."""
_ALWAYS = frozenset({"search", "detail", "price", "open_handoff"})


@dataclass(frozen=True, slots=True)
class Match:
    """What is at a path: a capability by each method, and the parameters that the path holds, as text."""

    by_method: Mapping[str, Capability]
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Offer:
    """``policies`` are asked in this order; the session's scope comes first."""

    store: StoreAdapter | None
    capabilities: tuple[Capability, ...]
    policies: tuple[Policy, ...]
    routes: Mapping[str, Mapping[str, Capability]]
    """Of each declared path, the capabilities by method."""

    def match(self, path: str) -> Match | None:
        """Find what is at a path below the API's base (``/detail/42``); None if nothing is.

        A ``:name`` part may be missing or literal: its parameter is then looked for in the query or the body (contract
        section 2, row 6).
        """
        path = "/" + path.strip("/")
        if path in self.routes:
            return Match(self.routes[path], {})
        parts = path.split("/")
        for declared, by_method in self.routes.items():
            found = _path_params(declared.split("/"), parts)
            if found is not None:
                return Match(by_method, found)
        return None


def offer() -> Offer:
    """Return what this installation offers. Raises NoStore if the store or the policies cannot be made."""
    return _offer(settings.store, settings.policies, registry.generation)


def discover() -> None:
    """Import the module ``agent_capabilities`` of every installed app that has one."""
    autodiscover_modules("agent_capabilities")


# Keyed by what it is made from, so that an overridden setting gets an offer of its own.
@lru_cache(maxsize=8)
def _offer(store_path: str, policies_path: str, generation: int) -> Offer:  # noqa: ARG001
    store = _make_store(store_path) if store_path else None
    own = {one.name: one for one in registry.all()}
    built = [] if store is None else built_in(store.features)
    names = {one.name for one in built}
    capabilities = [own.get(one.name, one) for one in built] + [one for one in own.values() if one.name not in names]
    routes: dict[str, dict[str, Capability]] = {}
    spelled: dict[str, str] = {}
    for one in capabilities:
        # Two spellings of one address would hide one of them, so there is one.
        path = spelled.setdefault(re.sub(r":[^/]+", ":", one.path), one.path)
        if path != one.path:
            raise NoStore(f"{one.name} is at {one.path}, which is also {path}. Name its parts the same.")
        by_method = routes.setdefault(path, {})
        for method in one.methods:
            if method in by_method:
                raise NoStore(f"{one.name} and {by_method[method].name} are both at {method} {one.path}.")
            by_method[method] = one
    return Offer(store, tuple(capabilities), (WithinScope(), *_policies(policies_path)), routes)


def _make_store(path: str) -> StoreAdapter:
    try:
        store = import_string(path)()
    except Exception as problem:
        raise NoStore(f"AGENT_SESSIONS['STORE'] ({path}) cannot be made: {type(problem).__name__}.") from problem
    features = getattr(store, "features", None)
    if not isinstance(features, Set) or not features <= _FEATURES:
        raise NoStore(f"AGENT_SESSIONS['STORE'] ({path}): features is a set of {' and '.join(sorted(_FEATURES))}.")
    needed = _ALWAYS | {_METHODS.get(str(feature), str(feature)) for feature in features}
    missing = sorted(name for name in needed if not callable(getattr(store, name, None)))
    if missing:
        raise NoStore(f"AGENT_SESSIONS['STORE'] ({path}) has no {', '.join(missing)}: see docs/store.md.")
    return cast("StoreAdapter", store)


def _policies(path: str) -> Sequence[Policy]:
    if not path:
        return ()
    try:
        found = import_string(path)
        return tuple(cast("Sequence[Policy]", found() if callable(found) else found))
    except Exception as problem:
        raise NoStore(f"AGENT_SESSIONS['POLICIES'] ({path}) cannot be read: {type(problem).__name__}.") from problem


def _path_params(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    """Match a pattern; a trailing ``:name`` may be missing, and a literal ``:name`` stands for itself."""
    if not len(pattern) - 1 <= len(parts) <= len(pattern):
        return None
    found: dict[str, str] = {}
    for expected, part in zip(pattern, parts, strict=False):
        if not expected.startswith(":"):
            if expected != part:
                return None
        elif not part:
            return None
        elif part != expected:
            found[expected[1:]] = part
    return found if len(parts) == len(pattern) or pattern[-1].startswith(":") else None
