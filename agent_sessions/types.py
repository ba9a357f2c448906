"""Types that the whole package shares."""

from __future__ import annotations

from typing import TypeAlias

JSONScalar: TypeAlias = "str | int | bool"
JSONValue: TypeAlias = "JSONScalar | list[JSONValue] | dict[str, JSONValue]"
"""A value that a session can hold: no null, no float (see ``agent_sessions.domain.values``)."""

State: TypeAlias = dict[str, JSONValue]
"""A session's state: a tree of maps, one top-level key per slice."""

PatchValue: TypeAlias = "JSONScalar | list[JSONValue] | dict[str, PatchValue] | None"
Patch: TypeAlias = "dict[str, PatchValue]"
"""An RFC 7396 merge patch of a state; ``None`` deletes."""
