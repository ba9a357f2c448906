"""Where tree heads go, and what the log is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from agent_sessions.audit.vkeys import is_key_name
from agent_sessions.checks._settings import check_settings
from agent_sessions.conf import settings
from agent_sessions.exceptions import InvalidValue


@register(Tags.compatibility)
def check_log(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E021 and E022: where tree heads go (A4)."""
    if check_settings(None):
        return []
    return [*_wrong_sinks(), *_wrong_origin()]


def _wrong_sinks() -> Iterator[CheckMessage]:
    from agent_sessions.sinks import configured_sinks

    hint = "Until it is put right, nothing is put into the log. docs/settings.md lists the sinks and their options."
    try:
        sinks = configured_sinks()
    except InvalidValue as wrong:
        yield Error(f"AGENT_SESSIONS{wrong.path}: {wrong.problem}.", hint=hint, id="agent_sessions.E021")
        return
    if len({sink.name for sink in sinks}) < len(sinks):
        yield Error("Two of AGENT_SESSIONS['LOG_SINKS'] have one name.", hint=hint, id="agent_sessions.E021")
    if settings.log_sinks_needed is not None and settings.log_sinks_needed > len(sinks):
        yield Error(
            f"AGENT_SESSIONS['LOG_SINKS_NEEDED'] is more than the {len(sinks)} sinks there are.",
            hint="Name more sinks, or leave it out for all of them.",
            id="agent_sessions.E021",
        )


def _wrong_origin() -> Iterator[CheckMessage]:
    if not is_key_name(settings.log_origin) or len(settings.log_origin) > 180:
        yield Error(
            "AGENT_SESSIONS['LOG_ORIGIN'] cannot be the name of a log.",
            hint="Give up to 180 characters without spaces and plus signs, such as 'shop.example/agent-sessions'.",
            id="agent_sessions.E022",
        )


@register(Tags.security, deploy=True)
def check_log_leaves_the_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W011 and W012: what the log is worth against someone with rights on the database."""
    if check_settings(None) or check_log(None):
        return []
    from agent_sessions.sinks import configured_sinks

    sinks = configured_sinks()
    if not sinks:
        return [
            Warning(
                "AGENT_SESSIONS['LOG_SINKS'] names no sink, so no tree head of the log leaves the database.",
                hint="Who can change the database can then change the log as well. Name one on another machine.",
                id="agent_sessions.W011",
            )
        ]
    if not any(sink.readable for sink in sinks):
        return [
            Warning(
                "None of AGENT_SESSIONS['LOG_SINKS'] can be read back.",
                hint="After a restore from a backup a head could be signed that contradicts one already given out. Add "
                "a DirectorySink or a StorageSink.",
                id="agent_sessions.W012",
            )
        ]
    return []
