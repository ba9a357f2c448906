"""Canonical JSON: the one spelling of a document that is hashed, committed to and signed (RFC 8785).

Only the part of I-JSON (RFC 7493) that every reader agrees on is allowed: text, whole numbers below 2^53,
booleans, null, lists and objects. Fractions are refused, for languages print them differently; money is minor
units.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, TypeAlias, cast

import msgspec
import rfc8785

from agent_sessions.exceptions import InvalidValue

JSON: TypeAlias = "str | int | bool | list[JSON] | dict[str, JSON] | None"
"""A canonical document. Unlike a session's state (``agent_sessions.types.JSONValue``) it can hold null."""

MAX_INTEGER: Final = 2**53 - 1
"""Largest magnitude that readers with IEEE doubles keep exactly (RFC 7493 section 2.2)."""

MAX_DEPTH: Final = 64
"""Levels of lists and objects that a document can have; more is an attack on the reader's stack."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode
_beyond_bmp = re.compile(rb"[\xf0-\xf4]").search


def canonical_bytes(value: object, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Write a value as RFC 8785 canonical JSON, in UTF-8.

    Raises InvalidValue, with a JSON pointer to the place, for floats, integers of 2^53 and more, lone
    surrogates, types that JSON does not have (tuples, dates and subclasses of str or int too: convert them
    first), keys that are not text and more than ``max_depth`` levels.
    """
    if not _fits(value, max_depth):
        _refuse(value, max_depth)
    try:
        encoded = _encode(value)
    except (TypeError, UnicodeEncodeError):
        _refuse(value, max_depth)
    # msgspec spells everything as RFC 8785 does, but orders keys by their UTF-8 bytes where RFC 8785 section
    # 3.2.3 orders by UTF-16 units. That differs only when a key has a character beyond U+FFFF. The library
    # that sorts them right takes forty times as long, so an emoji in a value must not send a whole document
    # there.
    if not encoded.isascii() and _beyond_bmp(encoded) and _has_key_beyond_bmp(value):
        return rfc8785.dumps(cast(Any, value))
    return encoded


def parse_strict(raw: bytes, *, max_depth: int = MAX_DEPTH) -> JSON:
    """Read JSON that has one meaning only.

    Raises InvalidValue for invalid UTF-8, malformed JSON, a key that is twice in one object, fractions and
    exponents, integers of 2^53 and more, NaN and Infinity, lone surrogates, and more than ``max_depth``
    levels.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValue("", f"is not UTF-8 (byte {error.start})") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise InvalidValue("", f"is not JSON: {error.msg} (character {error.pos})") from None
    except RecursionError:
        raise InvalidValue("", f"has more than {max_depth} levels") from None
    if not _fits(value, max_depth):
        _refuse(value, max_depth)
    if "\\u" in text:  # only an escape can bring in half a character; the bytes themselves were valid UTF-8
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            _refuse(value, max_depth)
    return cast(JSON, value)


def read_canonical(raw: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, JSON] | None:
    """Read an object that ``canonical_bytes`` wrote, many times faster than ``parse_strict``; None for all else.

    What is spelled again to the very same bytes has one meaning, whatever reader had read it.
    """
    try:
        value = _decode(raw)
        if type(value) is dict and canonical_bytes(value, max_depth=max_depth) == raw:
            return value
    except (msgspec.MsgspecError, InvalidValue, ValueError, RecursionError):
        pass
    return None


def _fits(value: object, levels: int) -> bool:
    """Whether types, sizes of numbers and depth are right (the encoder looks at keys). Hot: every event."""
    items: Any
    if type(value) is dict:
        items = value.values()
    elif type(value) is list:
        items = value
    else:
        kind = type(value)
        return (
            kind is str
            or kind is bool
            or value is None
            or (kind is int and -MAX_INTEGER <= cast(int, value) <= MAX_INTEGER)
        )
    if levels == 0:
        return False
    for item in items:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                return False
        elif not _fits(item, levels - 1):
            return False
    return True


def _has_key_beyond_bmp(value: object) -> bool:
    if type(value) is dict:
        for key, item in value.items():
            if not key.isascii() and max(key) > "\uffff":
                return True
            if type(item) in (dict, list) and _has_key_beyond_bmp(item):
                return True
    elif type(value) is list:
        return any(type(item) in (dict, list) and _has_key_beyond_bmp(item) for item in value)
    return False


class _Refused:
    """Stands in a parsed document for what cannot be in one, so that the error can say where it was."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


_TOO_LARGE: Final = f"is a whole number beyond {MAX_INTEGER}, which not every reader keeps exactly; send it as text"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Refused:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Refused("has the same key twice")


def _integer(text: str) -> int | _Refused:
    # Sixteen digits and a sign are enough for 2^53; longer ones cost quadratic time to convert.
    return int(text) if len(text) <= 17 else _Refused(_TOO_LARGE)


def _refuse(value: object, levels: int) -> NoReturn:
    found = _first_problem(value, "", levels)
    if found is None:  # pragma: no cover - the checks above and below would have to disagree
        found = "", "cannot be written as canonical JSON"
    raise InvalidValue(*found)


def _first_problem(value: object, path: str, levels: int) -> tuple[str, str] | None:
    """Find what ``_fits`` or the encoder did not like: its JSON pointer and what is wrong with it."""
    children: list[tuple[str, object]]
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return path, f"has a key of type {type(key).__name__}; keys are text"
            if not _is_whole_text(key):
                return path, "has a key with half a character (a lone surrogate)"
        children = [(key.replace("~", "~0").replace("/", "~1"), item) for key, item in value.items()]
    elif type(value) is list:
        children = [(str(number), item) for number, item in enumerate(value)]
    else:
        problem = _scalar_problem(value)
        return None if problem is None else (path, problem)
    if levels == 0:
        return path, "is nested too deeply"
    for name, item in children:
        found = _first_problem(item, f"{path}/{name}", levels - 1)
        if found is not None:
            return found
    return None


def _scalar_problem(value: object) -> str | None:
    if type(value) is str:
        return None if _is_whole_text(value) else "has half a character (a lone surrogate)"
    if type(value) is int:
        return None if -MAX_INTEGER <= value <= MAX_INTEGER else _TOO_LARGE
    if type(value) is bool or value is None:
        return None
    if type(value) is float:
        return "is a number with a fraction or exponent (or none at all); send minor units, or text"
    if isinstance(value, _Refused):
        return value.problem
    return f"has the type {type(value).__name__}, which JSON does not have"


def _is_whole_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
