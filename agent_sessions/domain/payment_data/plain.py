"""Bringing text into plain digits, and reading what is wrapped in it once more: percent-encoding, base64, JSON."""

from __future__ import annotations

import binascii
import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec

BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_SEPARATORS: Final = "·•‧∙⋅∕⁄"
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that are letters or symbols by their category, and look like nothing."""
_TAG_ZERO: Final = 0xE0030
_NUMBER: Final = "&"
"""Stands for one character that is a number and no digit, such as a half or a circled ten."""
_UNSEEN: Final = dict.fromkeys([*range(0x20), 0x7F]) | {ord(blank): blank for blank in "\t\n\v\f\r"}
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_decode_json: Final = msgspec.json.Decoder().decode


def plain(text: str) -> str:
    """Return ``text`` with every digit of any script as an ASCII digit, and without what cannot be seen.

    Spaces, dashes and low lines of all kinds come out as a space. Other characters stay, as NFKC has them.
    """
    text = text.translate(_UNSEEN)
    if text.isascii():
        return text
    return "".join(map(_plain, unicodedata.normalize("NFKC", "".join(map(_digit, text)))))


@lru_cache(maxsize=4096)
def _digit(character: str) -> str:
    if character.isascii():
        return character
    if _TAG_ZERO <= ord(character) <= _TAG_ZERO + 9:  # the invisible twin of a digit
        return str(ord(character) - _TAG_ZERO)
    # Before NFKC, which leaves some circled digits alone.
    value = unicodedata.digit(character, None)
    if value is not None:
        return str(value)
    return character if unicodedata.numeric(character, None) is None else _NUMBER


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category in ("Cf", "Mn", "Me") or character in _BLANKS:
        return ""
    if category in ("Zs", "Zl", "Zp", "Pd", "Pc") or character in _SEPARATORS:
        return " "
    return character


def unwrapped(text: str) -> Iterator[Any]:
    """Yield what ``text`` holds one level further in: JSON values, and texts that were percent- or base64-encoded."""
    if text.lstrip()[:1] in ("{", "[", '"') and (found := _json(text)) is not None:
        yield found
    if _PERCENT.search(text):
        yield unquote(text)
    for match in BASE64.finditer(text):
        if (inner := decoded(match.group().encode())) is not None:
            found = _json(inner) if inner[:1] in ("{", "[") else None
            yield inner if found is None else found


def decoded(token: bytes) -> str | None:
    """Return the text that a token of 16 characters or more stands for, None if it is not base64 of one."""
    try:
        return b64decode(token.translate(_STANDARD) + b"=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        return None


def _json(text: str) -> Any:
    try:
        return _decode_json(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
