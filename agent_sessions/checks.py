"""System checks: what is wrong or unsafe about an installation, and what to do about it (O3).

docs/settings.md has a row for each id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router

from agent_sessions.audit.vkeys import is_key_name
from agent_sessions.conf import DEFAULTS, MINIMUM_TTL, settings
from agent_sessions.domain.retention import kept_for_good
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, NoStore

_DATABASES = ("postgresql", "sqlite")
_QUOTE = (300, 900)
_CANNOT_COUNT = tuple(
    f"django.core.cache.backends.{name}"
    for name in ("locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache", "db.DatabaseCache")
)


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


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _one_of(*choices: str) -> tuple[Callable[[object], bool], str]:
    return lambda value: value in choices, " or ".join(map(repr, choices))


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _are_pointers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) and one.startswith("/") for one in value)


def _are_maps(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(one, Mapping) and all(map(_is_text, one)) and _is_text(one.get("class")) for one in value
    )


_TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
    "SITE": (_is_text, "text such as 'https://shop.example'"),
    "MERCHANT": (lambda value: isinstance(value, str) and 0 < len(value) <= 200, "text of 1 to 200 characters"),
    "MASTER_KEYS": (_is_text_map, "a map from key id to base64 of 32 bytes"),
    "KEY_PROVIDER": (_is_text, "the dotted path of a callable that returns a KeyProvider"),
    "KEY_FILE": (_is_text, "the path of a file, or ''"),
    "PKCS11": (_is_text_map, "a map with MODULE, TOKEN and PIN_FILE"),
    "ERASURE_HORIZON_DAYS": (_is_count, "a whole number of days"),
    "TTL": (_is_ttl, "a map from kind (1 to 32 characters) to whole seconds"),
    "TRANSFER_GRANT_TTL": (_is_count, "a whole number of seconds"),
    "STORAGE": (lambda value: value in ("hybrid", "history"), "'hybrid' or 'history'"),
    "STATE_CACHE": (_is_text, "an alias of CACHES, or ''"),
    "STATE_CACHE_BYTES": (_is_count, "a whole number of bytes"),
    "SNAPSHOT_EVERY": (_is_count, "a whole number, 1 or more"),
    "MAX_SLICE_BYTES": (_is_count, "a whole number of bytes"),
    "MAX_STATE_BYTES": (_is_count, "a whole number of bytes"),
    "MAX_MESSAGE_BYTES": (_is_count, "a whole number of bytes"),
    "STORE": (_is_text, "the dotted path of a class that is a StoreAdapter, or ''"),
    "POLICIES": (_is_text, "the dotted path of a sequence of policies, or ''"),
    "STEPS": (_is_text, "the dotted path of a sequence of StepRule, or ''"),
    "SITE_NAME": (_is_text, "text"),
    "SITE_DESCRIPTION": (_is_text, "text"),
    "SITE_CONTACT": (_is_text, "text"),
    "DOCS_URL": (_is_text, "text"),
    "MANIFEST_PROFILE": _one_of("spec", "compat"),
    "ENDPOINTS": _one_of("absolute", "relative"),
    "AUDIT": (_is_flag, "True or False"),
    "END_ON_HANDOFF": (_is_flag, "True or False"),
    "HANDOFF_TTL": (_is_count, "a whole number of seconds"),
    "HOLD_TTL": (_is_count, "a whole number of seconds"),
    "MAX_REQUESTS_PER_MINUTE": (_is_whole, "a whole number, 0 for no limit"),
    "MAX_SESSIONS": (_is_whole, "a whole number, 0 for no limit"),
    "LIMITS_CACHE": (_is_text, "an alias of CACHES"),
    "WITHOUT_LIMITS_CACHE": _one_of("refuse", "allow"),
    "MAX_BODY_BYTES": (_is_count, "a whole number of bytes"),
    "PROXIES": (_is_whole, "a whole number, 0 or more"),
    "CORS_ORIGIN": (_is_text, "'*', an origin such as 'https://agent.example', or ''"),
    "BIND_TO": _one_of("", "address", "key"),
    "SIGNATURES": _one_of("record", "require"),
    "SIGNATURE_DIRECTORIES": (_are_texts, "a list of origins such as 'https://agent.example'"),
    "RETENTION": (lambda value: isinstance(value, Mapping), "a map from rules to what is different"),
    "LEGAL_HOLD_REVIEW_DAYS": (_is_count, "a whole number of days"),
    "REVEAL_MINUTES": (lambda value: type(value) is int and 1 <= value <= 60, "a whole number of minutes, 1 to 60"),
    "PAYMENT_DATA_EXEMPT": (_are_pointers, "a list of JSON pointers such as '/shopping/lines/*/item'"),
    "LOG_SINKS": (_are_maps, "a list of maps with name, class and the options of the class"),
    "LOG_SINKS_NEEDED": (lambda value: value is None or _is_count(value), "a whole number, 1 or more, or None for all"),
    "LOG_ORIGIN": (_is_text, "text such as 'shop.example/agent-sessions', or ''"),
    "SAVED_SEARCHES": (_is_text_map, "a map from a name to a query such as 'status=active&merchant=Fern'"),
}


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


@register(Tags.security)
def check_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005, W001 and W010: whether there is a safe master key. Nothing works with an unsafe one outside DEBUG."""
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
    inside = _inside_project(settings.key_file)
    if inside:
        return [
            Warning(
                f"AGENT_SESSIONS['KEY_FILE'] is inside the project's folder ({inside}).",
                hint="Move it to where neither the repository nor the backup of the database takes it along.",
                id="agent_sessions.W010",
            )
        ]
    return []


def _inside_project(path: str) -> str:
    """Return the project's folder if the path is in it and the project says which folder that is (BASE_DIR)."""
    folder = getattr(django_settings, "BASE_DIR", None)
    return str(folder) if path and folder and Path(path).resolve().is_relative_to(Path(folder).resolve()) else ""


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
