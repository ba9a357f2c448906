"""States that were computed before, kept under the id of their version.

What a version holds never changes and its id is never used again, not even after a rollback, so a kept state is never
stale and nothing is ever invalidated. Each process keeps some, up to a number of bytes. A Django cache (setting
STATE_CACHE) shares them between processes, sealed like everything else that is stored.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from django.core.cache import caches

from agent_sessions.conf import settings
from agent_sessions.crypto.sealing import place, seal, unseal
from agent_sessions.domain.references import References
from agent_sessions.domain.sizes import slice_sizes, state_size
from agent_sessions.exceptions import SealBroken
from agent_sessions.selectors._keys import DataKeys
from agent_sessions.types import State

if TYPE_CHECKING:
    from agent_sessions.selectors._heads import SessionHead

logger = logging.getLogger("agent_sessions")

_WHOLE: Final = "agent_sessions:"
_LEFT: Final = "agent_sessions:left:"
_ENTRY_BYTES = 2048
"""What an entry takes beside its state, about; it bounds the number of empty sessions that are kept."""


@dataclass(frozen=True, slots=True)
class KnownState:
    """A state, never to be changed in place.

    ``sizes`` are upper bounds of its slices' sizes, ``size`` is one of its own, ``exact`` the size that it or a state
    before it was last measured at; all in bytes. ``references`` are counted when a change first moves one.
    """

    state: State
    sizes: dict[str, int]
    size: int
    exact: int
    references: References | None = None

    def followed_by(self, state: State, sizes: dict[str, int], references: References | None) -> KnownState:
        """Return the state that a change made of this one, whose slices are no larger than ``sizes``.

        Bounds only grow. Once they have grown by as much as there was, the state is measured again: that costs no more
        than the changes did that made them grow.
        """
        size, exact = state_size(sizes), self.exact
        if size > 2 * exact + 1024:
            sizes = slice_sizes(state)
            size = exact = state_size(sizes)
        return KnownState(state, sizes, size, exact, references)


def measured(state: State) -> KnownState:
    """Return the state with its exact sizes."""
    sizes = slice_sizes(state)
    size = state_size(sizes)
    return KnownState(state, sizes, size, size)


class LocalStates:
    """The current state of sessions that this process dealt with, and where they stood then.

    The least recently used go first when all weigh more than the setting allows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[uuid.UUID, tuple[SessionHead, KnownState]] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: uuid.UUID) -> tuple[SessionHead, KnownState] | None:
        with self._lock:
            kept = self._kept.get(session_id)
            if kept is not None:
                self._kept.move_to_end(session_id)
            return kept

    def put(self, head: SessionHead, known: KnownState, *, limit: int) -> None:
        with self._lock:
            self._forget(head.session_id)
            self._kept[head.session_id] = head, known
            self._bytes += known.size + _ENTRY_BYTES
            while self._bytes > limit and self._kept:
                self._forget(next(iter(self._kept)))

    def forget(self, session_id: uuid.UUID) -> None:
        with self._lock:
            self._forget(session_id)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, session_id: uuid.UUID) -> None:
        kept = self._kept.pop(session_id, None)
        if kept is not None:
            self._bytes -= kept[1].size + _ENTRY_BYTES


local = LocalStates()


def head_at(session_id: uuid.UUID, version: int | None) -> SessionHead | None:
    """Return where the session stood when this process last dealt with it, if that was at ``version``.

    It may have moved since. A write from it is refused by the database then, and the writer reads again.
    """
    if version is None or not settings.caches_state:
        return None
    kept = local.get(session_id)
    return kept[0] if kept is not None and kept[0].version == version else None


def last_known(session_id: uuid.UUID) -> SessionHead | None:
    """Return where the session stood when this process last dealt with it; it may have moved since."""
    kept = local.get(session_id) if settings.caches_state else None
    return None if kept is None else kept[0]


def get(head: SessionHead, keys: DataKeys) -> KnownState | None:
    """Return the state of the head's version, if it is kept. What does not open counts as not kept."""
    if not settings.caches_state:
        return None
    kept = local.get(head.session_id)
    if kept is not None and kept[0].version_uid == head.version_uid:
        if _same_keys(kept[0], head):
            return kept[1]
        local.forget(head.session_id)  # some of what it says was erased since
    try:
        return get_shared(head, keys)
    except SealBroken:
        logger.exception("A cached state of session %s was altered; reading history instead.", head.session_id)
        forget(head)
        return None


def _same_keys(one: SessionHead, other: SessionHead) -> bool:
    """Tell whether both know the same classes: a state from before an erasure holds what was erased."""
    personal, content = one.wrapped_personal is None, one.wrapped_key is None
    return (personal, content) == (other.wrapped_personal is None, other.wrapped_key is None)


def earlier(head: SessionHead) -> tuple[SessionHead, KnownState] | None:
    """Return the older state of the session that ``head.since`` goes on from, if this process still keeps it."""
    if head.since is None:
        return None
    kept = local.get(head.session_id)
    return kept if kept is not None and kept[0].head_hash == head.since.head_hash else None


def put(head: SessionHead, known: KnownState, keys: DataKeys) -> None:
    """Keep the state of the head's version as the session's current one."""
    if not settings.caches_state:
        return
    if head.since is not None:  # it has done its duty
        head = msgspec.structs.replace(head, since=None)
    local.put(head, known, limit=settings.state_cache_bytes)
    if settings.state_cache:
        sealed = seal(_key(keys), _place(head), msgspec.msgpack.encode(known.state))
        _shared("set", _name(head), sealed)


def get_shared(head: SessionHead, keys: DataKeys) -> KnownState | None:
    """Return what the shared cache keeps for the head's version. Raises SealBroken if it was altered."""
    sealed = _shared("get", _name(head))
    if not isinstance(sealed, bytes):
        return None
    state: State = msgspec.msgpack.decode(unseal(_key(keys), _place(head), sealed), type=dict)
    return measured(state)


def forget(head: SessionHead) -> None:
    """Drop a session's state here and in the shared cache."""
    local.forget(head.session_id)
    for name in (_WHOLE, _LEFT):
        _shared("delete", f"{name}{head.version_uid.hex}")


def _name(head: SessionHead) -> str:
    """Name a state in the shared cache: what is left of it after an erasure is another one than the whole."""
    return f"{_LEFT if head.wrapped_personal is None else _WHOLE}{head.version_uid.hex}"


def _shared(operation: str, name: str, *value: bytes) -> object:
    if not settings.state_cache:
        return None
    try:
        return getattr(caches[settings.state_cache], operation)(name, *value)
    except Exception:  # noqa: BLE001 - each backend has errors of its own, and history has the state anyway
        logger.warning("The state cache %r does not answer; reading history instead.", settings.state_cache)
        return None


def _key(keys: DataKeys) -> bytes:
    """What is shared is as personal as the most personal part of it."""
    return keys.personal if keys.has_personal else keys.content


def _place(head: SessionHead) -> bytes:
    return place(head.session_id, f"cached-state {head.version_uid.hex}", head.version)
