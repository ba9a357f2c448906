"""What a session can hold: text, whole numbers, booleans, lists and maps (``JSONValue``).

Everything refused here is something that would be read differently by another machine, or not at all: floats
and integers beyond 2^53 (RFC 8785, RFC 7493), NUL (PostgreSQL), lone surrogates (UTF-8), nulls (RFC 7396
deletes with them) and Python types without a JSON form.
"""

from __future__ import annotations

from typing import Any, NoReturn

from agent_sessions.exceptions import InvalidValue

MAX_INTEGER = 2**53 - 1
"""Largest magnitude of an integer that every JSON reader keeps exactly (RFC 7493)."""
MAX_KEY_LENGTH = 200
"""Characters."""
MAX_DEPTH = 32
"""Maps and lists inside one another, the outermost counted."""

_INSTEAD = {
    "float": "send money in integer minor units, other decimals as text or as a scaled integer",
    "Decimal": "send money in integer minor units, other decimals as text or as a scaled integer",
    "Fraction": "send it as text or as a scaled integer",
    "datetime": "send a time as RFC 3339 text with its offset",
    "date": "send a date as text, YYYY-MM-DD",
    "time": "send a time of day as text, HH:MM:SS",
    "timedelta": "send a duration as a whole number of seconds",
    "UUID": "send its text",
    "bytes": "attach a file and refer to it by id, or send base64 text",
    "bytearray": "attach a file and refer to it by id, or send base64 text",
    "memoryview": "attach a file and refer to it by id, or send base64 text",
    "tuple": "send a list",
    "set": "send a list, or a map keyed by id",
    "frozenset": "send a list, or a map keyed by id",
}


class _Refused(Exception):
    """A problem on its way up, which gathers the keys that lead to it, innermost first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.keys: list[str] = []

    def pointer(self) -> str:
        return "".join(f"/{escape_key(key)}" for key in reversed(self.keys))


class _BadKey(_Refused):
    """A problem with a key, told at its map: the key itself may be unfit to be shown."""


def escape_key(key: str) -> str:
    """Escape one key for a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def check_value(value: object, path: str = "") -> None:
    """Check that a session can hold ``value``; ``path`` is the JSON pointer of the place it is meant for.

    Raises InvalidValue with the pointer of the first thing that cannot be held and what to send instead.
    """
    try:
        _check(value, 1, False)
    except _Refused as refused:
        raise InvalidValue(path + refused.pointer(), refused.problem) from None


def check_patch(patch: object, path: str = "") -> None:
    """Check that ``patch`` is an RFC 7396 merge patch of values that a session can hold.

    Like ``check_value``, except that null may stand for any value of a map, where it deletes. Inside a list
    it may not: a list is replaced as a whole. Raises InvalidValue.
    """
    if type(patch) is not dict:
        raise InvalidValue(path, f"A patch is a map from slice to its changes, not {_described(patch)}.")
    try:
        _check_map(patch, 1, True)
    except _Refused as refused:
        raise InvalidValue(path + refused.pointer(), refused.problem) from None


def _check(value: Any, level: int, nulls: bool) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value, "Text")
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise _Refused("An integer beyond 2^53 - 1 is not read exactly everywhere; send it as text.")
    elif kind is dict:
        _check_map(value, level, nulls)
    elif kind is list:
        _check_list(value, level)
    elif kind is not bool and not (nulls and value is None):
        _refuse(value)


def _check_map(items: dict[Any, Any], level: int, nulls: bool) -> None:
    # The level bounds the recursion: neither a deep nor a self-referential structure can exhaust the stack.
    if level > MAX_DEPTH:
        raise _Refused(f"Maps and lists go deeper than {MAX_DEPTH} levels; keep it flatter, with ids.")
    key = ""
    try:
        for key, value in items.items():
            if type(key) is not str or not key.isascii() or not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
                _check_key(key)
            kind = type(value)
            # What is common and plain passes without a call.
            if kind is str:
                if not value.isascii() or "\0" in value:
                    _check_text(value, "Text")
            elif kind is dict:
                _check_map(value, level + 1, nulls)
            elif kind is int and -MAX_INTEGER <= value <= MAX_INTEGER:
                pass
            elif value is not None or not nulls:
                _check(value, level + 1, nulls)
    except _BadKey as refused:
        raise _Refused(refused.problem) from None
    except _Refused as refused:
        refused.keys.append(key)
        raise


def _check_list(items: list[object], level: int) -> None:
    if level > MAX_DEPTH:
        raise _Refused(f"Maps and lists go deeper than {MAX_DEPTH} levels; keep it flatter, with ids.")
    index = 0
    try:
        for index, value in enumerate(items):  # noqa: B007 - read when a value is refused
            _check(value, level + 1, False)
    except _Refused as refused:
        refused.keys.append(str(index))
        raise


def _check_key(key: object) -> None:
    if type(key) is not str:
        raise _BadKey(f"A key is {_described(key)}; keys are text.")
    if not key:
        raise _BadKey("A key is empty; give it a name.")
    if len(key) > MAX_KEY_LENGTH:
        raise _BadKey(f"A key has {len(key)} characters; {MAX_KEY_LENGTH} is the most. Move it into the value.")
    try:
        _check_text(key, "A key")
    except _Refused as refused:
        raise _BadKey(refused.problem) from None


def _check_text(text: str, what: str) -> None:
    if "\0" in text:
        raise _Refused(f"{what} holds a NUL character, which a database cannot store; remove it.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Refused(f"{what} holds half of a surrogate pair; send whole Unicode characters.") from None


def _refuse(value: object) -> NoReturn:
    if value is None:
        raise _Refused("Null is no value: leave it out. In a patch it deletes the key of a map, outside lists.")
    kind = type(value)
    instead = _INSTEAD.get(kind.__name__)
    if instead is None:
        plain = next((base.__name__ for base in (str, int, dict, list) if isinstance(value, base)), None)
        instead = f"send the plain {plain} it stands for" if plain else "send text, whole numbers, lists or maps"
    raise _Refused(f"A session cannot hold {_described(value)}: {instead}.")


def _described(value: object) -> str:
    return "null" if value is None else f"a value of type {type(value).__name__}"
