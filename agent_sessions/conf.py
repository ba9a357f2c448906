"""The package's settings: one dict, ``AGENT_SESSIONS``, read lazily and never cached, so that tests can override it.

Every setting is described in docs/settings.md; ``agent_sessions.checks`` tells what is wrong with the values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from agent_sessions.crypto.keys import KeyProvider, LocalKeyProvider, decode_master_key
from agent_sessions.domain.retention import RetentionRule, parse_rules
from agent_sessions.exceptions import KeyProblem

DEFAULTS: dict[str, Any] = {
    "SITE": "",
    "MERCHANT": "default",
    "MASTER_KEYS": {},
    "KEY_PROVIDER": "agent_sessions.conf.settings_key_provider",
    "KEY_FILE": "",
    "PKCS11": {},
    "ERASURE_HORIZON_DAYS": 30,
    "TTL": {"standard": 1800, "quote": 600, "approval": 1800, "payment": 10800, "consumer": 86400},
    "TRANSFER_GRANT_TTL": 300,
    "CONSUMER_ASSERTION_TTL": 86400,
    "STORAGE": "hybrid",
    "STATE_CACHE": "",
    "STATE_CACHE_BYTES": 32 * 1024 * 1024,
    "SNAPSHOT_EVERY": 64,
    "MAX_SLICE_BYTES": 256 * 1024,
    "MAX_STATE_BYTES": 1024 * 1024,
    "MAX_MESSAGE_BYTES": 64 * 1024,
    "STORE": "",
    "POLICIES": "",
    "STEPS": "",
    "SITE_NAME": "",
    "SITE_DESCRIPTION": "",
    "SITE_CONTACT": "",
    "DOCS_URL": "",
    "MANIFEST_PROFILE": "spec",
    "ENDPOINTS": "absolute",
    "AUDIT": True,
    "END_ON_HANDOFF": True,
    "HANDOFF_TTL": 10800,
    "HOLD_TTL": 600,
    "MAX_REQUESTS_PER_MINUTE": 120,
    "MAX_SESSIONS": 20,
    "LIMITS_CACHE": "default",
    "WITHOUT_LIMITS_CACHE": "refuse",
    "MAX_BODY_BYTES": 64 * 1024,
    "MAX_STREAMS": 4,
    "PROXIES": 0,
    "CORS_ORIGIN": "*",
    "BIND_TO": "",
    "SIGNATURES": "record",
    "SIGNATURE_DIRECTORIES": [],
    "RETENTION": {},
    "LEGAL_HOLD_REVIEW_DAYS": 180,
    "REVEAL_MINUTES": 10,
    "PAYMENT_DATA_EXEMPT": [],
    "LOG_SINKS": [],
    "LOG_SINKS_NEEDED": None,
    "LOG_ORIGIN": "",
    "SAVED_SEARCHES": {},
}
MINIMUM_TTL = 60
DEVELOPMENT_KEY_ID = "development"


class Settings:
    """Typed view of ``AGENT_SESSIONS`` over the defaults."""

    def _get(self, name: str) -> Any:
        return getattr(django_settings, "AGENT_SESSIONS", {}).get(name, DEFAULTS[name])

    @property
    def site(self) -> str:
        """Origin of the site, as it stands in every artifact: ``https://shop.example``."""
        return cast(str, self._get("SITE"))

    @property
    def merchant(self) -> str:
        """The merchant of sessions that are opened without naming one."""
        return cast(str, self._get("MERCHANT"))

    @property
    def master_keys(self) -> Mapping[str, str]:
        return cast(Mapping[str, str], self._get("MASTER_KEYS"))

    @property
    def key_file(self) -> str:
        """Path of the file of master keys, for ``file_key_provider``."""
        return cast(str, self._get("KEY_FILE"))

    @property
    def pkcs11(self) -> Mapping[str, str]:
        """Where the token with the master keys is, for ``pkcs11_key_provider``."""
        return cast(Mapping[str, str], self._get("PKCS11"))

    @property
    def erasure_horizon(self) -> timedelta:
        """How long after an erasure the master keys that backups would need are destroyed at the latest (A7)."""
        return timedelta(days=self._get("ERASURE_HORIZON_DAYS"))

    def ttl(self, kind: str) -> timedelta | None:
        """Time to live of a kind of session, or None for a kind that is not configured."""
        seconds = {**DEFAULTS["TTL"], **self._get("TTL")}.get(kind)
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def approval_ttl(self) -> timedelta:
        """How long a person has to answer an approval, and the agent to use it."""
        return timedelta(seconds={**DEFAULTS["TTL"], **self._get("TTL")}["approval"])

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple({**DEFAULTS["TTL"], **self._get("TTL")})

    @property
    def consumer_assertion_ttl(self) -> timedelta:
        """How long an agent can show for whom it acts, before the consumer has to vouch for it again."""
        return timedelta(seconds=self._get("CONSUMER_ASSERTION_TTL"))

    @property
    def transfer_grant_ttl(self) -> timedelta:
        """How long another agent has to take a session over once the consumer has allowed it."""
        return timedelta(seconds=self._get("TRANSFER_GRANT_TTL"))

    @property
    def retention_rules(self) -> tuple[RetentionRule, ...]:
        """The retention rules in force. Raises InvalidValue if the setting cannot be read."""
        return parse_rules(self._get("RETENTION"))

    @property
    def legal_hold_review(self) -> timedelta:
        """After how long somebody asks whether a legal hold is still needed."""
        return timedelta(days=self._get("LEGAL_HOLD_REVIEW_DAYS"))

    @property
    def caches_state(self) -> bool:
        """Whether the storage pattern is hybrid (M1): history plus a cache of the current state."""
        return bool(self._get("STORAGE") == "hybrid")

    @property
    def state_cache(self) -> str:
        """Alias of the Django cache that shares states between processes; empty for this process only."""
        return cast(str, self._get("STATE_CACHE"))

    @property
    def state_cache_bytes(self) -> int:
        return cast(int, self._get("STATE_CACHE_BYTES"))

    @property
    def snapshot_every(self) -> int:
        return cast(int, self._get("SNAPSHOT_EVERY"))

    @property
    def max_slice_bytes(self) -> int:
        return cast(int, self._get("MAX_SLICE_BYTES"))

    @property
    def max_state_bytes(self) -> int:
        return cast(int, self._get("MAX_STATE_BYTES"))

    @property
    def max_message_bytes(self) -> int:
        return cast(int, self._get("MAX_MESSAGE_BYTES"))

    @property
    def store(self) -> str:
        """Dotted path of the class of the StoreAdapter; empty for a site that offers only capabilities of its own."""
        return cast(str, self._get("STORE"))

    @property
    def policies(self) -> str:
        """Dotted path of the sequence of policies, or of a callable that returns it; empty for none of one's own."""
        return cast(str, self._get("POLICIES"))

    @property
    def steps(self) -> str:
        """Dotted path of the sequence of step rules, or of a callable that returns it; empty for none."""
        return cast(str, self._get("STEPS"))

    @property
    def site_name(self) -> str:
        """The site's name in the manifests; the host of SITE if it is not set."""
        return cast(str, self._get("SITE_NAME")) or urlsplit(self.site).netloc or "Shop"

    @property
    def site_description(self) -> str:
        return cast(str, self._get("SITE_DESCRIPTION"))

    @property
    def site_contact(self) -> str:
        return cast(str, self._get("SITE_CONTACT"))

    @property
    def docs_url(self) -> str:
        return cast(str, self._get("DOCS_URL"))

    @property
    def manifest_profile(self) -> str:
        """``spec`` or ``compat``: which of the two shapes agents.json has."""
        return cast(str, self._get("MANIFEST_PROFILE"))

    @property
    def absolute_endpoints(self) -> bool:
        return bool(self._get("ENDPOINTS") == "absolute")

    @property
    def audit(self) -> bool:
        """Whether the site gives out signed artifacts and records the calls that change nothing."""
        return bool(self._get("AUDIT"))

    @property
    def end_on_handoff(self) -> bool:
        """Whether a session ends as soon as its cart is handed to a human (contract item 22)."""
        return bool(self._get("END_ON_HANDOFF"))

    @property
    def handoff_ttl(self) -> timedelta:
        """How long a human has to pay after the handoff."""
        return timedelta(seconds=self._get("HANDOFF_TTL"))

    @property
    def hold_ttl(self) -> timedelta:
        """How long pieces are held for a session if it does not ask for less; never longer than it lives."""
        return timedelta(seconds=self._get("HOLD_TTL"))

    @property
    def max_requests_per_minute(self) -> int:
        """Requests per minute and caller over all endpoints; 0 for no limit."""
        return cast(int, self._get("MAX_REQUESTS_PER_MINUTE"))

    @property
    def max_sessions(self) -> int:
        """Live sessions per caller; 0 for no limit."""
        return cast(int, self._get("MAX_SESSIONS"))

    @property
    def limits_cache(self) -> str:
        """Alias of the Django cache that counts requests; shared by all processes, or each counts for itself."""
        return cast(str, self._get("LIMITS_CACHE"))

    @property
    def refuses_without_limits_cache(self) -> bool:
        """Whether requests are refused (503) while the cache that counts them is out of reach."""
        return bool(self._get("WITHOUT_LIMITS_CACHE") == "refuse")

    @property
    def max_body_bytes(self) -> int:
        return cast(int, self._get("MAX_BODY_BYTES"))

    @property
    def max_streams(self) -> int:
        """Live event streams that one process has open at a time; each takes a thread of a synchronous server."""
        return cast(int, self._get("MAX_STREAMS"))

    @property
    def proxies(self) -> int:
        """How many proxies of one's own stand before the site, each adding to X-Forwarded-For."""
        return cast(int, self._get("PROXIES"))

    @property
    def cors_origin(self) -> str:
        """What Access-Control-Allow-Origin says; empty for no CORS headers."""
        return cast(str, self._get("CORS_ORIGIN"))

    @property
    def bind_to(self) -> str:
        """What a token is bound to besides being known: ``address``, ``key``, or nothing (T5)."""
        return cast(str, self._get("BIND_TO"))

    @property
    def requires_signatures(self) -> bool:
        """Whether requests without a verified HTTP message signature are refused."""
        return bool(self._get("SIGNATURES") == "require")

    @property
    def signature_directories(self) -> tuple[str, ...]:
        """Origins whose key directories are trusted: ``https://agent.example``."""
        return tuple(self._get("SIGNATURE_DIRECTORIES"))

    @property
    def reveal_time(self) -> timedelta:
        """How long the staff sees what it has had revealed of a session (A9)."""
        return timedelta(minutes=self._get("REVEAL_MINUTES"))

    @property
    def payment_data_exempt(self) -> frozenset[str]:
        """JSON pointers, ``*`` for any key, of identifiers of the shop's own that may look like a card's number."""
        return frozenset(self._get("PAYMENT_DATA_EXEMPT"))

    @property
    def log_sinks(self) -> list[Mapping[str, Any]]:
        """Where tree heads go besides the database (A4): name, class and options of each."""
        return list(self._get("LOG_SINKS"))

    @property
    def log_sinks_needed(self) -> int | None:
        """How many of them must have a tree head before it counts; None for all."""
        return cast("int | None", self._get("LOG_SINKS_NEEDED"))

    @property
    def log_origin(self) -> str:
        """What the names of the log's generations begin with: ``shop.example/agent-sessions``."""
        host = urlsplit(self.site).netloc or "localhost"
        return cast(str, self._get("LOG_ORIGIN")) or f"{host}/agent-sessions"

    @property
    def saved_searches(self) -> Mapping[str, str]:
        """Searches of the admin's list that stand above it, beside the package's: name → what follows ``?``."""
        return cast(Mapping[str, str], self._get("SAVED_SEARCHES"))

    @property
    def uses_settings_keys(self) -> bool:
        """Whether the master keys come from MASTER_KEYS and not from a provider of the host."""
        return bool(self._get("KEY_PROVIDER") == DEFAULTS["KEY_PROVIDER"])

    @property
    def uses_key_file(self) -> bool:
        """Whether the master keys come from the file that KEY_FILE names."""
        return bool(self._get("KEY_PROVIDER") == "agent_sessions.conf.file_key_provider")

    @property
    def key_provider(self) -> KeyProvider:
        """The configured provider of master keys.

        Raises KeyProblem where the installation has no safe key.
        """
        provider: KeyProvider = import_string(self._get("KEY_PROVIDER"))()
        return provider


settings = Settings()


def settings_key_provider() -> KeyProvider:
    """Make the default key provider: the master keys of ``AGENT_SESSIONS["MASTER_KEYS"]``, the first one active.

    With DEBUG on and no key set, a development key is derived from SECRET_KEY, so that trying things out needs no
    set-up; with DEBUG off the same situation is refused.
    """
    keys = tuple(settings.master_keys.items())
    if not keys and django_settings.DEBUG:
        return _development_provider(django_settings.SECRET_KEY)
    if not keys:
        raise KeyProblem(
            "AGENT_SESSIONS['MASTER_KEYS'] is empty. Set it to {id: base64 of 32 random bytes}; make one with "
            '`python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"`.'
        )
    return _local_provider(keys)


def file_key_provider() -> KeyProvider:
    """Make a key provider of the file that ``KEY_FILE`` names, which has to be outside the repository.

    Raises KeyProblem if it is missing, malformed, or open to others than its owner.
    """
    if not settings.key_file:
        raise KeyProblem("AGENT_SESSIONS['KEY_FILE'] is empty. Name a file, and make it with: make_master_key ID")
    return _file_provider(settings.key_file)


def pkcs11_key_provider() -> KeyProvider:
    """Make a key provider of the token that ``PKCS11`` names: MODULE, TOKEN, PIN_FILE, and ACTIVE if it is to be fixed.

    Raises KeyProblem if something is missing, or the file of the PIN is open to others than its owner.
    """
    where = settings.pkcs11
    if missing := [name for name in ("MODULE", "TOKEN", "PIN_FILE") if not where.get(name)]:
        raise KeyProblem(f"AGENT_SESSIONS['PKCS11'] has no {missing[0]}. Give MODULE, TOKEN and PIN_FILE.")
    return _pkcs11_provider(where["MODULE"], where["TOKEN"], where["PIN_FILE"], where.get("ACTIVE", ""))


# Keyed by the whole setting, so an overridden setting gets a provider of its own; what is saved is decoding keys and
# deriving token keys on every call.
@lru_cache(maxsize=8)
def _local_provider(keys: tuple[tuple[str, str], ...]) -> LocalKeyProvider:
    return LocalKeyProvider({key_id: decode_master_key(text) for key_id, text in keys})


@lru_cache(maxsize=1)
def _development_provider(secret_key: str) -> LocalKeyProvider:
    key = hashlib.sha256(b"agent-sessions development key\0" + secret_key.encode()).digest()
    return LocalKeyProvider({DEVELOPMENT_KEY_ID: key})


# One per process: it sees by itself when the file is replaced.
@lru_cache(maxsize=8)
def _file_provider(path: str) -> KeyProvider:
    from agent_sessions.crypto.key_files import FileKeyProvider

    return FileKeyProvider(path)


@lru_cache(maxsize=8)
def _pkcs11_provider(module: str, token: str, pin_file: str, active: str) -> KeyProvider:
    # Only here, because it needs an extra.
    from agent_sessions.crypto.key_files import read_private
    from agent_sessions.crypto.pkcs11 import PKCS11KeyProvider

    pin = read_private(pin_file, what="The file of the token's PIN").decode().strip()
    return PKCS11KeyProvider(module=module, token=token, pin=pin, active=active)
