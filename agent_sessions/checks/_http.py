"""What the API over HTTP runs on: the store, its steps, addresses, limits, signatures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from agent_sessions.checks._settings import check_settings
from agent_sessions.conf import settings
from agent_sessions.exceptions import NoStore

_CANNOT_COUNT = tuple(
    f"django.core.cache.backends.{name}"
    for name in ("locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache", "db.DatabaseCache")
)


@register(Tags.compatibility)
def check_http(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E008 to E012, E014, E015, W004: what the API over HTTP runs on."""
    if check_settings(None):
        return []
    return [*_wrong_offer(), *_wrong_steps(), *_wrong_addresses(), *_wrong_limits(), *_wrong_signatures()]


def _wrong_offer() -> Iterator[CheckMessage]:
    from agent_sessions.store.offer import offer

    try:
        capabilities = offer().capabilities
    except NoStore as problem:
        yield Error(
            problem.message,
            hint="Until it can be made, every call is refused. See docs/store.md.",
            id="agent_sessions.E008",
        )
        return
    yield from _unconnected()
    for one in capabilities:
        if one.method != "GET" and not one.requires_session and one.name != "contact":
            yield Warning(
                f"The capability {one.name!r} changes something ({one.method}) and needs no session.",
                hint="Register it with requires_session=True, so that the call is in a history (contract item 29).",
                id="agent_sessions.W004",
            )


def _unconnected() -> Iterator[CheckMessage]:
    from agent_sessions.services.staleness import connect_failures

    problem = connect_failures.get(settings.store)
    if problem:
        yield Error(
            f"The connect method of AGENT_SESSIONS['STORE'] ({settings.store}) failed: {problem}.",
            hint="Until it works, carts are not marked when prices or stock change. It is called when Django starts, "
            "and must not ask the database. See docs/store.md.",
            id="agent_sessions.E014",
        )


def _wrong_steps() -> Iterator[CheckMessage]:
    from agent_sessions.store.steps import step_rules

    try:
        step_rules()
    except NoStore as problem:
        yield Error(
            problem.message,
            hint="Until it can be, no step is started, and nobody is told how the work goes on. See docs/settings.md.",
            id="agent_sessions.E015",
        )


def _wrong_addresses() -> Iterator[CheckMessage]:
    if settings.site and not _is_origin(settings.site):
        yield Error(
            "AGENT_SESSIONS['SITE'] is not the origin of a web site.",
            hint="Set it to scheme and host alone, such as 'https://shop.example': manifests and links begin with it.",
            id="agent_sessions.E009",
        )
    if settings.cors_origin not in ("", "*") and not _is_origin(settings.cors_origin):
        yield Error(
            "AGENT_SESSIONS['CORS_ORIGIN'] is neither '*' nor an origin.",
            hint="Set it to '*', to scheme and host alone, such as 'https://agent.example', or to '' for none.",
            id="agent_sessions.E009",
        )


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme in ("http", "https") and bool(host) and text == f"{parts.scheme}://{parts.netloc}"


def _wrong_limits() -> Iterator[CheckMessage]:
    alias = settings.limits_cache
    if alias not in django_settings.CACHES:
        yield Error(
            f"AGENT_SESSIONS['LIMITS_CACHE'] names the cache {alias!r}, which CACHES does not have.",
            hint="Name an alias of CACHES that all processes share.",
            id="agent_sessions.E010",
        )


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W003: whether requests are counted over all processes. A single process for trying things out needs no more."""
    if check_settings(None) or not settings.max_requests_per_minute:
        return []
    backend = str(django_settings.CACHES.get(settings.limits_cache, {}).get("BACKEND", ""))
    if backend not in _CANNOT_COUNT:
        return []
    return [
        Warning(
            f"AGENT_SESSIONS['LIMITS_CACHE'] is {settings.limits_cache!r} ({backend}), which cannot count for all "
            "processes.",
            hint="Requests per minute are then limited per process, or not exactly. Use Redis or Memcached.",
            id="agent_sessions.W003",
        )
    ]


def _wrong_signatures() -> Iterator[CheckMessage]:
    if not settings.requires_signatures and not settings.signature_directories:
        return
    try:
        from agent_sessions.identity.verifier import SignatureVerifier
    except ImportError:
        yield Error(
            "AGENT_SESSIONS['SIGNATURES'] or 'SIGNATURE_DIRECTORIES' asks for what is not installed.",
            hint="Install agent-sessions[identity], or leave both settings out.",
            id="agent_sessions.E011",
        )
        return
    try:
        SignatureVerifier(directories=settings.signature_directories, cache=caches["default"])
    except ValueError as problem:
        yield Error(
            f"AGENT_SESSIONS['SIGNATURE_DIRECTORIES']: {problem}",
            hint="List https origins of key directories, such as 'https://agent.example'.",
            id="agent_sessions.E012",
        )
    if settings.requires_signatures and not settings.signature_directories:
        yield Error(
            "AGENT_SESSIONS['SIGNATURES'] is 'require' and no key directory is accepted: nobody can call.",
            hint="List the origins of the agents in SIGNATURE_DIRECTORIES.",
            id="agent_sessions.E012",
        )
