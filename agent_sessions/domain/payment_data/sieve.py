"""Telling at once that a JSON document holds no payment data: what passes for that is searched by nobody.

It works on the document's bytes, with functions that run at the speed of memory. It may suspect what is harmless, but
lets nothing through that ``search`` would find.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from agent_sessions.domain.payment_data.plain import decoded

_BROKEN: Final = ord("x")
_ZERO: Final = ord("0")
# Digits come out as 0, what may stand between them not at all, everything else as x. The first byte of a character
# beyond ASCII counts as a digit, as some are.
_SEPARATORS: Final = b" \t\r\n\f\v-._/\\+*|~'" + bytes(range(0x80, 0xC0))
_AS_DIGITS: Final = bytes(_ZERO if 48 <= byte <= 57 or byte >= 0xC0 else _BROKEN for byte in range(256))
_TWELVE: Final = b"0" * 12
_AS_WORDS: Final = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
_NO_WORDS: Final = bytes(byte for byte in range(256) if not chr(byte).isalnum() or byte >= 0x80).translate(None, b'":')
# What follows a quote and a colon is the end of a key. A digit may be missing that was not an ASCII one.
_WORDS: Final = re.compile(
    rb'c(?:v[vcnd2"]|cv|av[2cnv"]|[is][dc]":|ard(?:verification|code))|pin(?:":|number|value|block)|securitycode'
    rb"|verificationvalue"
)
_ENCODED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_SHORTEST_TOKEN: Final = 16
_AS_TOKENS: Final = bytes(
    byte if byte < 0x80 and (chr(byte).isalnum() or chr(byte) in "+/_-") else 32 for byte in range(256)
)
# Control characters are written out in JSON, and may stand between digits and letters.
_ESCAPES: Final = re.compile(rb"\\(?:[tnrfb]|u00[01][0-9a-f])")


def may_hold(document: bytes) -> bool:
    """Tell whether a JSON document (UTF-8) has to be searched."""
    whole = document
    if b"\\" in document:
        if b"\\\\u" in document or b"\\\\/" in document:  # JSON inside of JSON, with more escapes than it needs
            return True
        whole, document = _ESCAPES.sub(b" ", document), _ESCAPES.sub(b"", document)
    if b"%" in document and _ENCODED.search(document):
        return True
    if _TWELVE in document.translate(_AS_DIGITS, _SEPARATORS):
        return True
    if _WORDS.search(_letters(document).translate(_AS_WORDS, _NO_WORDS)):
        return True
    return any(len(token) >= _SHORTEST_TOKEN and decoded(token) for token in whole.translate(_AS_TOKENS).split())


def _letters(document: bytes) -> bytes:
    """Return the document with ASCII letters for those that look like them."""
    if document.isascii():
        return document
    return unicodedata.normalize("NFKC", document.decode().lower()).encode()
