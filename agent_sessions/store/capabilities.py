"""What agents can call: one registration drives routes, parameter checks, manifests, OpenAPI and policy."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agent_sessions.domain.approvals import Asked, asked
from agent_sessions.domain.calls import check_kind
from agent_sessions.exceptions import NoStore
from agent_sessions.store.stock import Held, nothing_held
from agent_sessions.types import JSONValue, Patch, State

if TYPE_CHECKING:
    from agent_sessions.domain.identity import Agent, Scope
    from agent_sessions.store.adapter import StoreAdapter, StoreContext

PARAM_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_PARAM = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PATH = re.compile(r"(/(:?[A-Za-z0-9._-]+))+")
NOTHING: Final = object()
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a capability (contract item 55).

    ``shown`` ones stand in the permanent record in the clear: ids, counts, choices. Everything else, above all what
    people typed, is sealed and shown as ``****``. ``minimum`` and ``maximum`` bound a number, or a text's length;
    text is at most 1000 characters unless told otherwise.
    """

    type: str
    description: str = ""
    required: bool = False
    default: Any = NOTHING
    enum: tuple[Any, ...] = ()
    items: str = ""
    shown: bool = False
    minimum: int | None = None
    maximum: int | None = None
    aliases: tuple[str, ...] = ()
    """Other names that clients use for it."""
    identifier: bool = False
    """Whether it is an identifier of the shop's own, such as a GTIN, that may look like a card's number: it is not
    searched for one (S8)."""

    def __post_init__(self) -> None:
        if self.type not in PARAM_TYPES or (self.items and self.items not in PARAM_TYPES):
            raise ValueError(f"A parameter's type is one of {', '.join(PARAM_TYPES)}.")
        if self.required and self.default is not NOTHING:
            raise ValueError("A parameter that is required has no default.")
        if not all(isinstance(given, tuple) for given in (self.aliases, self.enum)):
            raise ValueError("Give aliases and enum as tuples.")


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a handler and a policy may know of the session that calls."""

    id: uuid.UUID
    version: int
    agent: Agent
    consumer: str
    merchant: str
    scope: Scope
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CapabilityCall:
    """One call, as its handler gets it: checked parameters, the store, and the state that an answer is based on.

    ``state`` is the handler's own copy; empty without a session. ``now`` is UTC. ``held`` tells what is held
    for others.
    """

    capability: Capability
    params: Mapping[str, Any]
    site_store: StoreAdapter | None
    ctx: StoreContext
    session: SessionFacts | None
    state: State
    now: datetime
    held: Held = nothing_held

    @property
    def store(self) -> StoreAdapter:
        """The site's store. Raises NoStore."""
        if self.site_store is None:
            raise NoStore("This site has no store: AGENT_SESSIONS['STORE'] is empty.")
        return self.site_store

    @property
    def approval(self) -> Asked | None:
        """What a human was asked about the cart of ``state``, and where that stands now (L5); None if nothing.

        Read from the state, so asking costs nothing. Whether a granted one is used is decided at the handoff.
        """
        return asked(self.state, self.now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler answers. It writes nothing itself.

    ``patch`` is the change of the session's state that the answer stands for (RFC 7396), None for none; it becomes a
    version whose event is ``kind``. ``handoff`` asks for a link for the human; its URL, deadline and message are
    added to ``data``.
    """

    data: Any
    status: int = 200
    patch: Patch | None = None
    kind: str = ""
    handoff: bool = False


Handler = Callable[[CapabilityCall], Outcome]


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that agents can call.

    ``path`` is below the API's base and may hold ``:name`` parts, which are parameters: ``/detail/:id``.
    ``kind`` is the event that a call leaves in its session's history. ``also`` are further methods that are answered
    the same way, because clients disagree (contract section 2, row 12). Raises ValueError for what no manifest can
    say.
    """

    name: str
    method: str
    path: str
    handler: Handler
    kind: str
    description: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)
    requires_session: bool = False
    human_handoff: bool = False
    also: tuple[str, ...] = ()
    answer: Mapping[str, JSONValue] = field(default_factory=dict)
    """JSON Schema of ``data`` in a success, for the OpenAPI document; empty allows anything."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a capability: lower case, digits, dots and underscores.")
        if not set(self.methods) <= set(METHODS) or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"{self.name}: a method is one of {', '.join(METHODS)}, and named once.")
        if not _PATH.fullmatch(self.path) or self.path.split("/")[1] in ("session", "audit"):
            raise ValueError(f"{self.name}: {self.path!r} is no path below the API, or belongs to the package.")
        check_kind(self.kind)
        for name in self.params:
            if not _PARAM.fullmatch(name):
                raise ValueError(f"{self.name}: {name!r} is no name of a parameter.")
        names = [name for own, param in self.params.items() for name in (own, *param.aliases)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{self.name}: {name} is the name or an alias of two parameters.")
        for part in self.path_params:
            if part not in self.params or self.path_params.count(part) > 1:
                raise ValueError(f"{self.name}: the path names {part}, which is no parameter, or names it twice.")
        if self.human_handoff and not self.requires_session:
            raise ValueError(f"{self.name}: what is handed to a human is a session's cart, so it requires a session.")

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method, *self.also)

    @property
    def identifiers(self) -> frozenset[str]:
        """Names and aliases of the parameters that may look like a card's number."""
        return frozenset(
            name for own, param in self.params.items() if param.identifier for name in (own, *param.aliases)
        )

    @property
    def path_params(self) -> tuple[str, ...]:
        return tuple(part[1:] for part in self.path.split("/") if part.startswith(":"))


class Registry:
    """The capabilities of an installation, in the order they were registered."""

    def __init__(self) -> None:
        self._own: dict[str, Capability] = {}
        self.generation = 0

    def add(self, capability: Capability) -> None:
        """Offer a capability; one that has the name of a built-in takes its place. Raises ValueError for a double."""
        if capability.name in self._own:
            raise ValueError(f"There are two capabilities named {capability.name}.")
        self._own[capability.name] = capability
        self.generation += 1

    def remove(self, name: str) -> None:
        """Take back what ``add`` offered."""
        del self._own[name]
        self.generation += 1

    def all(self) -> tuple[Capability, ...]:
        return tuple(self._own.values())


registry = Registry()


def capability(
    name: str, *, path: str = "", method: str = "POST", kind: str, **facts: Any
) -> Callable[[Handler], Handler]:
    """Register a handler as a capability of this store: put it into a module ``agent_capabilities`` of an app.

    ``path`` defaults to the name with slashes: ``gift.wrap`` is at ``/gift/wrap``. The rest is as in ``Capability``;
    the description defaults to the first line of the handler's docstring.
    """

    def register(handler: Handler) -> Handler:
        described = (handler.__doc__ or "").strip().partition("\n")[0]
        registry.add(
            Capability(
                name, method, path or "/" + name.replace(".", "/"), handler, kind,
                **{"description": described, **facts},
            )
        )  # fmt: skip
        return handler

    return register
