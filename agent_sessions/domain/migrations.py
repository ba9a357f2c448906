"""Steps from one schema of the state to the next (R6)."""

from __future__ import annotations

from collections.abc import Callable

from agent_sessions.domain import state as shapes
from agent_sessions.domain.patch import copy_state
from agent_sessions.exceptions import SchemaUnknown
from agent_sessions.types import State

MIGRATIONS: dict[int, Callable[[State], State]] = {}
"""Step ``n`` takes a state of schema ``n`` and returns it in schema ``n + 1``; pure, and kept for ever."""


def migrate(state: State, found: int, session_id: object = "") -> State:
    """Return ``state``, stored with schema ``found``, in the schema of this installation.

    The same object if it is current; otherwise a new one: steps work on a copy, so that a careless one cannot
    change a state that others read. Raises SchemaUnknown if the state is newer than this installation or a
    step is missing.
    """
    known = shapes.SCHEMA_VERSION
    if found == known:
        return state
    if found > known or any(number not in MIGRATIONS for number in range(found, known)):
        raise SchemaUnknown(session_id, found=found, known=known)
    migrated = copy_state(state)
    for number in range(found, known):
        migrated = MIGRATIONS[number](migrated)
    return migrated
