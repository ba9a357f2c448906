"""The values of AGENT_SESSIONS by themselves, and how long what sessions say is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from agent_sessions.checks._types import TYPES
from agent_sessions.conf import DEFAULTS, MINIMUM_TTL, settings
from agent_sessions.domain.retention import kept_for_good
from agent_sessions.exceptions import InvalidValue

_QUOTE = (300, 900)


@register(Tags.compatibility)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E004, E007, E013, W002: the values of AGENT_SESSIONS."""
    configured = getattr(django_settings, "AGENT_SESSIONS", {})
    if not isinstance(configured, Mapping):
        return [Error("AGENT_SESSIONS is not a map.", hint="Set it to a dict.", id="agent_sessions.E002")]
    found = list(_unknown(configured)) + list(_wrong_types(configured))
    return found or [*_wrong_values()]


def _unknown(configured: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for name in configured:
        if name not in DEFAULTS:
            yield Error(
                f"AGENT_SESSIONS has no setting {name!r}.",
                hint=f"The settings are {', '.join(DEFAULTS)}.",
                id="agent_sessions.E001",
            )


def _wrong_types(configured: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for name, (fits, wanted) in TYPES.items():
        if name in configured and not fits(configured[name]):
            yield Error(
                f"AGENT_SESSIONS[{name!r}] is not {wanted}.",
                hint=f"Set it to {wanted}; docs/settings.md tells what it does.",
                id="agent_sessions.E002",
            )


def _wrong_values() -> Iterator[CheckMessage]:
    for kind in settings.kinds:
        ttl = settings.ttl(kind)
        if ttl is not None and ttl.total_seconds() < MINIMUM_TTL:
            yield Error(
                f"AGENT_SESSIONS['TTL'][{kind!r}] is below {MINIMUM_TTL} seconds.",
                hint="The agents-protocol manifest allows no shorter one.",
                id="agent_sessions.E003",
            )
        elif ttl is not None and kind == "quote" and not _QUOTE[0] <= ttl.total_seconds() <= _QUOTE[1]:
            yield Error(
                "AGENT_SESSIONS['TTL']['quote'] is not from 300 to 900 seconds.",
                hint="What a shop quotes holds for 5 to 15 minutes; set it in between, or leave it out for 10.",
                id="agent_sessions.E013",
            )
    if settings.state_cache and settings.state_cache not in django_settings.CACHES:
        yield Error(
            f"AGENT_SESSIONS['STATE_CACHE'] names the cache {settings.state_cache!r}, which CACHES does not have.",
            hint="Name an alias of CACHES, or leave it empty to keep states in each process only.",
            id="agent_sessions.E004",
        )
    if settings.max_slice_bytes > settings.max_state_bytes:
        yield Error(
            "AGENT_SESSIONS['MAX_SLICE_BYTES'] is more than 'MAX_STATE_BYTES'.",
            hint="One slice cannot be larger than the whole state.",
            id="agent_sessions.E007",
        )
    if not settings.site and not django_settings.DEBUG:
        yield Warning(
            "AGENT_SESSIONS['SITE'] is not set, so artifacts do not say whose they are, and manifests name "
            "the host of each request.",
            hint="Set it to the origin of the site, such as 'https://shop.example'.",
            id="agent_sessions.W002",
        )


@register(Tags.compatibility)
def check_retention(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E020, W005 and W006: how long what sessions say is kept."""
    if check_settings(None):
        return []
    try:
        rules = settings.retention_rules
    except InvalidValue as wrong:
        return [
            Error(
                f"AGENT_SESSIONS{wrong.path}: {wrong.problem}",
                hint="Until it is put right, nothing is purged. docs/settings.md tells what a rule has.",
                id="agent_sessions.E020",
            )
        ]
    kept = [
        Warning(
            f"AGENT_SESSIONS['RETENTION'] has no rule for the class {name!r} of some sessions, which is kept for good: "
            f"{', '.join(which)}.",
            hint="Keep the rule and set its maximum_days to as long as the law asks for.",
            id="agent_sessions.W005",
        )
        for name, which in kept_for_good(rules, settings.kinds).items()
    ]
    unknown = [
        Warning(
            f"AGENT_SESSIONS/RETENTION/{rule.name}/kinds has {kind!r}, which no session is of.",
            hint="The kinds are the keys of TTL. A kind that was given up stays until its last session is purged.",
            id="agent_sessions.W006",
        )
        for rule in rules
        for kind in rule.kinds
        if kind not in settings.kinds
    ]
    return [*kept, *unknown]
