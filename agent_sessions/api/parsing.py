"""Reading a request's body: JSON that has one meaning only, of bounded size (contract items 2, 4, 32, 33, 36)."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from django.http import HttpRequest, UnreadablePostError

from agent_sessions.api.errors import BodyTooLarge, MalformedRequest
from agent_sessions.conf import settings
from agent_sessions.domain.values import MAX_DEPTH

MAX_DIGITS: Final = 32
"""Characters of one number; the time to read a longer one grows with the square of its length."""
_JSON_TYPES: Final = ("application/json", "text/json")


def read_body(request: HttpRequest) -> bytes:
    """Read the body, at most MAX_BODY_BYTES of it.

    Raises BodyTooLarge (before reading, where the length is declared) and MalformedRequest if the sender hung up.
    """
    limit = settings.max_body_bytes
    declared = str(request.META.get("CONTENT_LENGTH") or "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise BodyTooLarge(limit)
    try:
        body = request.read(limit + 1)
    except UnreadablePostError:
        raise MalformedRequest("The body ended before its declared length.") from None
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


def read_object(body: bytes, content_type: str) -> dict[str, Any]:
    """Read a body as a JSON object; an empty one is an empty object, whatever its type says (item 2).

    Raises MalformedRequest for another content type or charset, for malformed JSON and what is not an object, for a
    key that is twice in one object, NaN and Infinity, numbers of more than 32 characters, text with NUL or half a
    surrogate pair, and more than 32 levels.
    """
    if not body or body.isspace():
        return {}
    _check_type(content_type)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    value = _parse(text)
    if type(value) is not dict:
        raise MalformedRequest("The body is not a JSON object.")
    _check_depth(value, 1)
    if "\\u" in text:  # only an escape can bring in what text must not hold
        _check_text(value)
    return value


def _check_type(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() not in _JSON_TYPES:
        raise MalformedRequest("Send the body with Content-Type: application/json.")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise MalformedRequest("Send the body in UTF-8.")


def _parse(text: str) -> object:
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"The body is not JSON: {error.msg} (character {error.pos}).") from None
    except RecursionError:
        raise _too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("The body has the same key twice in one object.")
    return found


def _integer(text: str) -> int:
    return int(_short(text))


def _fraction(text: str) -> float:
    number = float(_short(text))
    if number in (float("inf"), float("-inf")):
        raise MalformedRequest("The body has a number that is too large.")
    return number


def _short(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise MalformedRequest(f"The body has a number of more than {MAX_DIGITS} characters.")
    return text


def _constant(_: str) -> NoReturn:
    raise MalformedRequest("The body has NaN or Infinity, which JSON does not have.")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)


def _check_depth(value: Any, level: int) -> None:
    if level > MAX_DEPTH:
        raise _too_deep()
    for item in value.values() if type(value) is dict else value:
        if type(item) in (dict, list):
            _check_depth(item, level + 1)


def _too_deep() -> MalformedRequest:
    return MalformedRequest(f"The body has more than {MAX_DEPTH} levels.")


def _check_text(value: Any) -> None:
    if type(value) is str:
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedRequest("The body has text with a NUL or half a surrogate pair.")
    elif type(value) is dict:
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif type(value) is list:
        for item in value:
            _check_text(item)
