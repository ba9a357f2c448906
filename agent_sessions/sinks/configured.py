"""The sinks that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string

from agent_sessions.audit.vkeys import NoteKey
from agent_sessions.conf import settings
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks.base import Sink


def configured_sinks() -> list[Sink]:
    """Make the sinks of ``LOG_SINKS``, in their order.

    Raises InvalidValue with the place of the first that cannot be made.
    """
    return [_made(number, entry) for number, entry in enumerate(settings.log_sinks)]


def witness_keys() -> list[NoteKey]:
    """Return the keys of witnesses that the sinks of ``LOG_SINKS`` name, none while these cannot be made."""
    try:
        sinks = configured_sinks()
    except InvalidValue:  # a system check says what is wrong
        return []
    return list(dict.fromkeys(key for sink in sinks for key in getattr(sink, "witnesses", ())))


def sinks_needed(sinks: list[Sink]) -> int:
    """Return how many of them must have a head before it counts: LOG_SINKS_NEEDED, or all."""
    return len(sinks) if settings.log_sinks_needed is None else min(settings.log_sinks_needed, len(sinks))


def _made(number: int, entry: Mapping[str, Any]) -> Sink:
    where = f"/LOG_SINKS/{number}"
    options = {key: value for key, value in entry.items() if key != "class"}
    if not isinstance(options.get("name"), str) or not options["name"]:
        raise InvalidValue(f"{where}/name", "is not the sink's name, a text")
    try:
        sink = import_string(str(entry.get("class", "")))(**options)
    except ImportError as error:
        raise InvalidValue(f"{where}/class", f"cannot be imported: {error}") from None
    except InvalidValue as error:
        raise InvalidValue(f"{where}{error.path}", error.problem) from None
    except TypeError as error:
        raise InvalidValue(where, f"has options that its class does not take: {error}") from None
    if not isinstance(sink, Sink):
        raise InvalidValue(f"{where}/class", "is not the class of a sink (agent_sessions.sinks.Sink)")
    return sink
