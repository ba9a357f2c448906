"""Leaves of the log: what the shop commits to, in canonical JSON.

A *session leaf* says how far a session's chain goes: the hash of its last event covers all events before it. A
*site leaf* says the same of the site's own chain. A *generation leaf* is the first of every log and ties it to the last
head of the log before (after a restore from a backup, for instance). A *keys leaf* brings in a new key for the log,
signed by the old one.

The log's origin is in every leaf, so that a leaf of one log proves nothing in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from agent_sessions.audit.notes import Sign, parse_checkpoint, parse_note
from agent_sessions.audit.shapes import COUNT, HASH, SIGNATURE, SOME_TEXT, TEXT_OR_NULL, Member, literal, shape_problems
from agent_sessions.audit.vkeys import SIGNS, NoteKey, is_key_name, read_vkey
from agent_sessions.crypto.canonical import JSON, canonical_bytes, parse_strict
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.crypto.signing import verify
from agent_sessions.exceptions import InvalidValue, KeyProblem, NoteRefused

SESSION_LEAF: Final = "agent-session-leaf/v1"
SITE_LEAF: Final = "agent-session-site-leaf/v1"
GENERATION_LEAF: Final = "agent-session-generation/v1"
KEYS_LEAF: Final = "agent-session-keys/v1"

KEYS_DOMAIN: Final = b"agent-session-keys/v1\0"
"""What the old key signs begins with it, so that no other signature passes for one that brings in a key."""


@dataclass(frozen=True, slots=True)
class SessionLeaf:
    """How far a session goes: ``seq`` and ``head`` (hex hash) are those of its last event so far."""

    log: str
    session: str
    seq: int
    head: str


@dataclass(frozen=True, slots=True)
class SiteLeaf:
    """How far the site's own chain goes (holds, erasures, keys): ``seq`` and ``head`` are those of its last event."""

    log: str
    seq: int
    head: str


@dataclass(frozen=True, slots=True)
class GenerationLeaf:
    """Why this log begins, and after what: ``former`` is the last exported checkpoint of the log before, or None."""

    log: str
    former: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class KeysLeaf:
    """A new key of the log (``key``) and the one that signed it in (``former``), both as vkeys."""

    log: str
    former: str
    key: str
    signature: bytes


Leaf: TypeAlias = SessionLeaf | SiteLeaf | GenerationLeaf | KeysLeaf


def session_leaf(*, log: str, session: str, seq: int, head: str) -> bytes:
    """Write a session leaf. ``session`` is the run id, ``head`` the hex hash of event ``seq``. Raises InvalidValue."""
    return _written({"head": head, "log": log, "seq": seq, "session": session, "type": SESSION_LEAF, "v": 1})


def site_leaf(*, log: str, seq: int, head: str) -> bytes:
    """Write a leaf of the site's own chain; ``head`` is the hex hash of event ``seq`` of it. Raises InvalidValue."""
    return _written({"head": head, "log": log, "seq": seq, "type": SITE_LEAF, "v": 1})


def generation_leaf(*, log: str, former: str | None, reason: str) -> bytes:
    """Write the first leaf of a log. ``former`` is the signed note of the last head of the log before, None for the
    first log of all; ``reason`` is a sentence or a word without personal data. Raises InvalidValue.
    """
    return _written({"former": former, "log": log, "reason": reason, "type": GENERATION_LEAF, "v": 1})


def keys_leaf(*, log: str, former: NoteKey, key: NoteKey, sign: Sign) -> bytes:
    """Write the leaf that brings in a new key; ``sign`` signs with the former. Raises InvalidValue."""
    body: dict[str, JSON] = {"former": former.text, "key": key.text, "log": log, "type": KEYS_LEAF, "v": 1}
    return _written({**body, "signature": to_base64(sign(KEYS_DOMAIN + canonical_bytes(body)))})


def parse_leaf(written: bytes) -> Leaf:
    """Read a leaf; InvalidValue for whatever is not exactly what one of the functions above writes.

    The signature in a keys leaf is checked; whether its former key was the log's is for the reader to know.
    """
    document = parse_strict(written)
    kind = document.get("type") if type(document) is dict else None
    shape = _SHAPES.get(kind) if type(kind) is str else None
    if shape is None or type(document) is not dict:
        raise InvalidValue("/type", "is none of the types of leaves")
    problems = shape_problems(document, shape, "")
    if problems:
        raise InvalidValue(f"/{problems[0].where}", problems[0].message)
    if canonical_bytes(document) != written:
        raise InvalidValue("", "is not canonical (RFC 8785)")
    parts: dict[str, Any] = {name: value for name, value in document.items() if name not in ("type", "v")}
    if kind == SESSION_LEAF:
        return SessionLeaf(**parts)
    if kind == SITE_LEAF:
        return SiteLeaf(**parts)
    if kind == GENERATION_LEAF:
        if parts["former"] is not None:
            _check_former(parts["former"])
        return GenerationLeaf(**parts)
    signature = from_base64(parts.pop("signature"))
    _check_keys(parts, signature)
    return KeysLeaf(**parts, signature=signature)


def _written(document: Mapping[str, JSON]) -> bytes:
    written = canonical_bytes(dict(document))
    parse_leaf(written)
    return written


def _check_former(former: str) -> None:
    try:
        parse_checkpoint(parse_note(former).text)
    except NoteRefused as error:
        raise InvalidValue("/former", f"is not a checkpoint: {error.problem}") from None


def _check_keys(parts: Mapping[str, str], signature: bytes) -> None:
    try:
        former, key = read_vkey(parts["former"]), read_vkey(parts["key"])
    except KeyProblem as error:
        raise InvalidValue("", f"has a key that cannot be used: {error.message}") from None
    for name, one in (("/former", former), ("/key", key)):
        if one.kind != SIGNS or one.name != parts["log"] or one.text != parts[name[1:]]:
            raise InvalidValue(name, "is not a key of this log")
    if former.public == key.public:
        raise InvalidValue("/key", "is the former key again")
    if not verify(former.public, KEYS_DOMAIN + canonical_bytes({**parts, "type": KEYS_LEAF, "v": 1}), signature):
        raise InvalidValue("/signature", "was not made by the former key over this")


_ORIGIN: Final = Member("a log's name", lambda value: type(value) is str and is_key_name(value))
_VERSION: Final = Member("the number 1", lambda value: value == 1 and type(value) is int)
_COMMON: Final = {"log": _ORIGIN, "v": _VERSION}
_SHAPES: Final[Mapping[str, Mapping[str, Member]]] = {
    SESSION_LEAF: {**_COMMON, "head": HASH, "seq": COUNT, "session": SOME_TEXT, "type": literal(SESSION_LEAF)},
    SITE_LEAF: {**_COMMON, "head": HASH, "seq": COUNT, "type": literal(SITE_LEAF)},
    GENERATION_LEAF: {**_COMMON, "former": TEXT_OR_NULL, "reason": SOME_TEXT, "type": literal(GENERATION_LEAF)},
    KEYS_LEAF: {
        **_COMMON,
        "former": SOME_TEXT,
        "key": SOME_TEXT,
        "signature": SIGNATURE,
        "type": literal(KEYS_LEAF),
    },
}
