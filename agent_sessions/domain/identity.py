"""Who takes part in a session: the agent, whoever acts, and how far the agent's authority goes (S3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from agent_sessions.domain.text import has_unsafe_characters
from agent_sessions.domain.values import MAX_INTEGER
from agent_sessions.exceptions import InvalidValue

_REF = re.compile(r"[A-Za-z0-9._:-]{0,64}")
_CAPABILITY = re.compile(r"[a-z][a-z0-9_.]*")
_CURRENCY = re.compile(r"[A-Z]{3}")
MAX_TEXT = 200
"""Characters of each text of an agent, and of a capability's name."""
ACTOR_KINDS = ("agent", "consumer", "staff", "system")


@dataclass(frozen=True, slots=True)
class Agent:
    """The program that opened the session, as it declares itself; ``key`` names its verified key, if any.

    Raises InvalidValue for a text longer than 200 characters or with invisible or control characters.
    """

    name: str = ""
    version: str = ""
    operator: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_text(getattr(self, field.name), f"/agent/{field.name}")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes one change: a kind (``ACTOR_KINDS``) and a pseudonymous reference.

    The reference is 0 to 64 letters, digits and ``._:-``. Raises InvalidValue otherwise.
    """

    kind: str
    ref: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ACTOR_KINDS:
            raise InvalidValue("/actor/kind", f"An actor is one of {', '.join(ACTOR_KINDS)}.")
        if not isinstance(self.ref, str) or not _REF.fullmatch(self.ref):
            raise InvalidValue(
                "/actor/ref",
                "The reference is written to the permanent record, which nothing erases. It must be a "
                "pseudonymous reference, such as a user's primary key: up to 64 letters, digits and . _ : -, "
                "never an e-mail address or a name.",
            )

    def __str__(self) -> str:
        return f"{self.kind}:{self.ref}" if self.ref else self.kind

    @property
    def is_person(self) -> bool:
        return self.kind in ("consumer", "staff")

    @classmethod
    def parse(cls, text: str) -> Actor:
        """Return the actor that ``str()`` wrote as ``text``. Raises InvalidValue."""
        kind, _, ref = text.partition(":")
        return cls(kind, ref)


def may_decide(held_by: str, actor: Actor) -> bool:
    """Tell whether ``actor`` may say what becomes of a session that a person has: that person, or any of the staff.

    ``held_by`` is an Actor's text.
    """
    return actor.kind == "staff" or (actor.is_person and held_by.partition(":")[0] == actor.kind)


AGENT = Actor("agent")
SYSTEM = Actor("system")


@dataclass(frozen=True, slots=True)
class Scope:
    """How far the consumer lets the agent go.

    ``capabilities`` are registered names, ``spend_cap`` is in minor units of ``currency`` (ISO 4217),
    ``expires_at`` is an aware time; what is absent sets no bound of its own. Raises InvalidValue, in
    ``from_json`` too.
    """

    capabilities: tuple[str, ...] = ()
    spend_cap: int | None = None
    currency: str = ""
    expires_at: datetime | None = None

    _KEYS: ClassVar[frozenset[str]] = frozenset({"capabilities", "spend_cap", "currency", "expires_at"})

    def __post_init__(self) -> None:
        if type(self.capabilities) is not tuple:
            raise InvalidValue("/scope/capabilities", "Send a list of capability names (in Python a tuple).")
        for index, name in enumerate(self.capabilities):
            if not isinstance(name, str) or len(name) > MAX_TEXT or not _CAPABILITY.fullmatch(name):
                raise InvalidValue(
                    f"/scope/capabilities/{index}",
                    "A capability's name is lower-case letters, digits, dots and underscores.",
                )
        if not isinstance(self.currency, str) or (self.currency and not _CURRENCY.fullmatch(self.currency)):
            raise InvalidValue("/scope/currency", "A currency is its ISO 4217 code, such as EUR.")
        if self.spend_cap is not None:
            if type(self.spend_cap) is not int or not 0 <= self.spend_cap <= MAX_INTEGER:
                raise InvalidValue("/scope/spend_cap", "A spend cap is a whole number of minor units, 0 or more.")
            if not self.currency:
                raise InvalidValue("/scope/currency", "A spend cap needs its currency.")
        if self.expires_at is not None and (
            not isinstance(self.expires_at, datetime) or self.expires_at.utcoffset() is None
        ):
            raise InvalidValue("/scope/expires_at", "An expiry is a time with its offset from UTC.")

    def as_json(self) -> dict[str, object]:
        """Return the scope as a JSON map without what is absent; the expiry is RFC 3339 text in UTC."""
        document: dict[str, object] = {}
        if self.capabilities:
            document["capabilities"] = list(self.capabilities)
        if self.spend_cap is not None:
            document["spend_cap"] = self.spend_cap
        if self.currency:
            document["currency"] = self.currency
        if self.expires_at is not None:
            document["expires_at"] = self.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Scope:
        """Return the scope that ``as_json`` described."""
        if not isinstance(document, Mapping):
            raise InvalidValue("/scope", "A scope is a map.")
        if not document.keys() <= cls._KEYS:
            raise InvalidValue("/scope", f"A scope has {', '.join(sorted(cls._KEYS))} and nothing else.")
        found = dict(document)
        if isinstance(found.get("capabilities"), list):
            found["capabilities"] = tuple(found["capabilities"])  # type: ignore[arg-type]
        if "expires_at" in found:
            try:
                found["expires_at"] = msgspec.convert(found["expires_at"], datetime)
            except msgspec.ValidationError:
                raise InvalidValue("/scope/expires_at", "An expiry is RFC 3339 text with its offset.") from None
        return cls(**found)  # type: ignore[arg-type]


def _check_text(text: object, path: str) -> None:
    if not isinstance(text, str):
        raise InvalidValue(path, f"Send text, not a value of type {type(text).__name__}.")
    if len(text) > MAX_TEXT:
        raise InvalidValue(path, f"The text has {len(text)} characters; {MAX_TEXT} is the most.")
    if has_unsafe_characters(text):
        raise InvalidValue(path, "The text holds control or invisible characters; remove them.")
