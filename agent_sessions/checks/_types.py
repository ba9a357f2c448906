"""What kind of value each setting takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping


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


TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
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
