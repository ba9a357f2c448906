"""Which members the documents of the audit trail have, and what may stand in each.

One table per document, read by what makes it and by what verifies it. Unknown members are refused everywhere:
what nobody checks, nobody should be able to add.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent_sessions.audit.events import EVENT_TYPE, parse_time
from agent_sessions.crypto.canonical import JSON
from agent_sessions.crypto.encoding import from_base64, from_base64url
from agent_sessions.exceptions import InvalidValue

ARTIFACT_TYPE: Final = "agent-session-artifact/v1"
ENVELOPE_TYPE: Final = "agent-session-envelope/v1"

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,40}")
_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable ``code``, where (``events[3].prev_hash``), and a sentence for people.

    ``message`` continues ``where``: "events[3].prev_hash" "is not the hash of the event before it". Neither
    holds values from the document, save names of unknown members, escaped.
    """

    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Member:
    """What may stand in one member. ``what`` ends the sentence "is not …"; ``shape`` is set for an object."""

    what: str
    holds: Callable[[JSON], bool]
    required: bool = True
    shape: Mapping[str, Member] | None = None


def shape_problems(value: JSON, shape: Mapping[str, Member], where: str) -> list[Problem]:
    """Compare an object with its table: unknown members, then missing ones, then what stands in the rest."""
    if type(value) is not dict:
        return [Problem("wrong_value", where or "document", "is not an object")]
    found = [
        Problem("unknown_member", _inside(where, name), "is a member that this format does not have")
        for name in value
        if name not in shape
    ]
    found += [
        Problem("missing_member", _inside(where, name), "is missing")
        for name, member in shape.items()
        if member.required and name not in value
    ]
    for name, member in shape.items():
        if name not in value:
            continue
        if member.shape is not None:
            found += shape_problems(value[name], member.shape, _inside(where, name))
        elif not member.holds(value[name]):
            found.append(Problem("wrong_value", _inside(where, name), f"is not {member.what}"))
    return found


def _inside(where: str, name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return f"{where}.{name}" if where else name
    return f"{where}[{json.dumps(name[:40])}]"  # escaped: a name could hold what steers a terminal


def _is_text(value: JSON) -> bool:
    return type(value) is str


def _is_some_text(value: JSON) -> bool:
    return type(value) is str and value != ""


def _is_hex(value: JSON, digits: int) -> bool:
    return type(value) is str and len(value) == digits and _HEX.fullmatch(value) is not None


def _is_time(value: JSON) -> bool:
    if type(value) is not str:
        return False
    try:
        parse_time(value)
    except InvalidValue:
        return False
    return True


def _is_whole(value: JSON, least: int, most: int | None = None) -> bool:
    return type(value) is int and value >= least and (most is None or value <= most)


def _is_base64(value: JSON, size: int, decode: Callable[[str], bytes]) -> bool:
    if type(value) is not str:
        return False
    try:
        return len(decode(value)) == size
    except ValueError:
        return False


def _are_commitments(value: JSON) -> bool:
    return type(value) is dict and value != {} and all(_is_base64(c, 32, from_base64url) for c in value.values())


def _are_hashes(value: JSON) -> bool:
    return type(value) is list and len(value) <= 63 and all(_is_base64(item, 32, from_base64) for item in value)


def _are_texts(value: JSON) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _is_some_list(value: JSON) -> bool:
    return type(value) is list and value != []


def literal(text: str) -> Member:
    return Member(f'the text "{text}"', lambda value: value == text and type(value) is str)


def _object(shape: Mapping[str, Member], *, required: bool = True) -> Member:
    return Member("an object", lambda value: type(value) is dict, required, shape)


_TEXT: Final = Member("text", _is_text)
SOME_TEXT: Final = Member("text with something in it", _is_some_text)
TEXT_OR_NULL: Final = Member("text or null", lambda value: value is None or type(value) is str)
_TEXTS: Final = Member("a list of texts", _are_texts)
_LIST: Final = Member("a list", lambda value: type(value) is list)
_ANYTHING: Final = Member("a value", lambda _value: True)
_TIME: Final = Member("a UTC time as 2026-01-31T23:59:59.000000Z", _is_time)
HASH: Final = Member("64 lowercase hex digits", lambda value: _is_hex(value, 64))
COUNT: Final = Member("a whole number from 1", lambda value: _is_whole(value, 1))
WHOLE: Final = Member("a whole number from 0", lambda value: _is_whole(value, 0))
_COMMITMENTS: Final = "an object of commitments: 43 characters of base64url each"
SIGNATURE: Final = Member("base64 of 64 bytes", lambda value: _is_base64(value, 64, from_base64))


def _optional_number() -> Member:
    return Member("a whole number from 0", lambda value: _is_whole(value, 0), required=False)


HEADER: Final[Mapping[str, Member]] = {
    "agent": _object({"name": TEXT_OR_NULL, "operator": TEXT_OR_NULL, "version": TEXT_OR_NULL}),
    "capabilities": _TEXTS,
    "created_at": _TIME,
    "expires_at": _TIME,
    "merchant": _TEXT,
    "scope": _ANYTHING,
    "session_kind": _TEXT,
    "site": _TEXT,
    "token_hash": HASH,
}
"""What is known of a session when it starts; in its first event (contract item 72)."""

EVENT: Final[Mapping[str, Member]] = {
    "actor": _TEXT,
    "base_version": _optional_number(),
    "capability": _TEXT,
    "duration_ms": _optional_number(),
    "event_id": SOME_TEXT,
    "header": _object(HEADER, required=False),
    "kind": SOME_TEXT,
    "method": _TEXT,
    "params": Member("an object", lambda value: type(value) is dict),
    "policy_result": Member("allow or deny", lambda value: value in ("allow", "deny")),
    "policy_rule": Member(SOME_TEXT.what, _is_some_text, required=False),
    "prev_hash": Member(f"empty or {HASH.what}", lambda value: value == "" or _is_hex(value, 64)),
    "private": Member(_COMMITMENTS, _are_commitments, required=False),
    "response_status": Member("an HTTP status", lambda value: _is_whole(value, 100, 599)),
    "run_id": SOME_TEXT,
    "seq": COUNT,
    "timestamp": _TIME,
    "type": literal(EVENT_TYPE),
    "version": _optional_number(),
}

ENVELOPE: Final[Mapping[str, Member]] = {
    **HEADER,
    "end_reason": SOME_TEXT,
    "ended_at": _TIME,
    "event_count": COUNT,
    "head_hash": HASH,
    "key_id": Member("16 lowercase hex digits", lambda value: _is_hex(value, 16)),
    "purpose_commitment": Member(
        "43 characters of base64url", lambda value: _is_base64(value, 32, from_base64url), required=False
    ),
    "root_hash": HASH,
    "run_id": SOME_TEXT,
    "type": literal(ENVELOPE_TYPE),
}

PROOF: Final[Mapping[str, Member]] = {
    "checkpoint": _TEXT,
    "hashes": Member("a list of up to 63 hashes: base64 of 32 bytes each", _are_hashes),
    "leaf_index": WHOLE,
    "tree_size": WHOLE,
}
"""Members of the proof that a leaf is in a log (``audit.proofs``)."""

INCLUSION: Final[Mapping[str, Member]] = {
    **PROOF,
    "leaf": Member("an object", lambda value: type(value) is dict),
}
"""Members of the proof that a session is in a log: the leaf, and the proof for it."""

ARTIFACT: Final[Mapping[str, Member]] = {
    "after": Member("a list with something in it", _is_some_list, required=False),
    "agent": _object({"name": TEXT_OR_NULL, "purpose": TEXT_OR_NULL, "version": TEXT_OR_NULL}),
    "created_at": _TIME,
    "ended_at": _TIME,
    "envelope": _object(ENVELOPE),
    "events": _LIST,
    "inclusion": _object(INCLUSION, required=False),
    "openings": _LIST,
    "public_key": Member("base64 of 44 bytes (DER)", lambda value: _is_base64(value, 44, from_base64)),
    "root_hash": HASH,
    "run_id": SOME_TEXT,
    "runtime_signature": SIGNATURE,
    "session_id": HASH,
    "signature": SIGNATURE,
    "site": _TEXT,
    "type": literal(ARTIFACT_TYPE),
}

OPENING: Final[Mapping[str, Member]] = {
    "path": _TEXT,
    "salt": Member("43 characters of base64url", lambda value: _is_base64(value, 32, from_base64url)),
    "seq": COUNT,
    "value": _ANYTHING,
}
