"""System checks: what is wrong or unsafe about an installation, and what to do about it (O3).

docs/settings.md has a row for each id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router

from agent_sessions.conf import DEFAULTS, MINIMUM_TTL, settings
from agent_sessions.exceptions import AgentSessionsError

_DATABASES = ("postgresql", "sqlite")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_text_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_text(key) and _is_text(item) for key, item in value.items())


def _is_ttl(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(kind, str) and 0 < len(kind) <= 32 and type(seconds) is int for kind, seconds in value.items()
    )


_TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
    "SITE": (_is_text, "text such as 'https://shop.example'"),
    "MERCHANT": (lambda value: isinstance(value, str) and 0 < len(value) <= 200, "text of 1 to 200 characters"),
    "MASTER_KEYS": (_is_text_map, "a map from key id to base64 of 32 bytes"),
    "KEY_PROVIDER": (_is_text, "the dotted path of a callable that returns a KeyProvider"),
    "TTL": (_is_ttl, "a map from kind (1 to 32 characters) to whole seconds"),
    "STORAGE": (lambda value: value in ("hybrid", "history"), "'hybrid' or 'history'"),
    "STATE_CACHE": (_is_text, "an alias of CACHES, or ''"),
    "STATE_CACHE_BYTES": (_is_count, "a whole number of bytes"),
    "SNAPSHOT_EVERY": (_is_count, "a whole number, 1 or more"),
    "MAX_SLICE_BYTES": (_is_count, "a whole number of bytes"),
    "MAX_STATE_BYTES": (_is_count, "a whole number of bytes"),
    "MAX_MESSAGE_BYTES": (_is_count, "a whole number of bytes"),
}


@register(Tags.compatibility)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E004, E007, W002: the values of AGENT_SESSIONS."""
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
    for name, (fits, wanted) in _TYPES.items():
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
            "AGENT_SESSIONS['SITE'] is not set, so artifacts do not say whose they are.",
            hint="Set it to the origin of the site, such as 'https://shop.example'.",
            id="agent_sessions.W002",
        )


@register(Tags.security)
def check_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005 and W001: whether there is a safe master key. Nothing works with an unsafe one outside DEBUG."""
    if check_settings(None):
        return []  # one thing at a time: a wrong setting is reported there
    try:
        _ = settings.key_provider
    except AgentSessionsError as problem:
        return [_no_key(f"There is no safe master key: {problem.message}")]
    except Exception as problem:  # noqa: BLE001 - the host's provider may fail with anything; its text may hold a key
        return [_no_key(f"AGENT_SESSIONS['KEY_PROVIDER'] gives no provider ({type(problem).__name__}).")]
    if not settings.master_keys and settings.uses_settings_keys and django_settings.DEBUG:
        return [
            Warning(
                "No master key is set; a development key derived from SECRET_KEY is used.",
                hint="Set AGENT_SESSIONS['MASTER_KEYS'] before DEBUG is turned off: without it nothing works then.",
                id="agent_sessions.W001",
            )
        ]
    return []


def _no_key(message: str) -> CheckMessage:
    return Error(
        message,
        hint="Until there is a key, every session is refused. docs/settings.md tells how to make one, or to name a "
        "callable without arguments that returns a KeyProvider.",
        id="agent_sessions.E005",
    )


@register(Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E006: the database of the sessions is one that the package works on."""
    from agent_sessions.models import Session

    vendor = connections[router.db_for_write(Session)].vendor
    if vendor in _DATABASES:
        return []
    return [
        Error(
            f"agent_sessions does not work on {vendor}.",
            hint="Route its models to PostgreSQL (production) or SQLite (development, small shops).",
            id="agent_sessions.E006",
        )
    ]
