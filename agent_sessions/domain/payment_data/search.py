"""Searching a document, keys and values, for payment data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any, Final

import msgspec

from agent_sessions.domain.payment_data.brands import SHORTEST
from agent_sessions.domain.payment_data.labels import Label, fits, label_of
from agent_sessions.domain.payment_data.plain import plain, unwrapped
from agent_sessions.domain.payment_data.rules import MASK, Finding, Rule, pointer_of
from agent_sessions.domain.payment_data.sieve import may_hold
from agent_sessions.domain.payment_data.texts import holds_card, rule_broken_by

_RULES: Final = {
    Label.CARD: Rule.CARD_NUMBER,
    Label.TRACK: Rule.TRACK_DATA,
    Label.CODE: Rule.SECURITY_CODE,
    Label.DOUBTFUL_CODE: Rule.SECURITY_CODE,
    Label.PIN: Rule.PIN,
    Label.PIN_BLOCK: Rule.PIN,
}
_LEVELS: Final = 2
"""How often what is wrapped is unwrapped: JSON in base64, and no deeper."""
_DEEPEST: Final = 100
# Letters of the most common scripts, which the sieve cannot tell from digits; none that look like ASCII letters.
_LETTERS: Final = re.compile(
    "[\u00c0-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u0180-\u01c3\u01cd-\u01f0\u01f4-\u024f\u0386-\u03ff\u0400-\u0482\u048a-\u052f\u05d0-\u05ea\u0620-\u064a\u0904-\u0939\u0e01-\u0e30"
    "\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff\uac00-\ud7a3]+"
)
_encode: Final = msgspec.json.Encoder().encode
_NONE: Final[frozenset[str]] = frozenset()


def find_payment_data(value: object, *, exempt: Set[str] = _NONE) -> Finding | None:
    """Return the first payment data in a JSON value, None if it holds none (S8).

    ``exempt`` are JSON pointers, ``*`` standing for any one key, of what is an identifier of the shop's own and may
    look like a card's number. Track data, security codes and PINs are found there all the same.
    """
    return next(all_payment_data(value, exempt=exempt), None)


def all_payment_data(value: object, *, exempt: Set[str] = _NONE) -> Iterator[Finding]:
    """Yield every place of a JSON value that holds payment data, in the order of the document."""
    if not _suspicious(value):
        return
    patterns = [pattern.split("/")[1:] for pattern in exempt]
    for segments, rule, masked in _search(value, [], None, "", _LEVELS):
        if rule is Rule.CARD_NUMBER and any(_matches(pattern, segments) for pattern in patterns):
            continue
        yield Finding(_safe(segments, masked), rule)


_Found = tuple[list[str], Rule, bool]
"""The keys that lead there, the rule, and whether the last key is what was found."""


def _suspicious(value: object) -> bool:
    try:
        return may_hold(_encode(value))
    except (TypeError, ValueError, RecursionError):  # a host's own types, half a surrogate pair
        return True


def _search(value: Any, path: list[str], label: Label | None, holder: str, levels: int) -> Iterator[_Found]:
    if isinstance(value, dict):
        if len(path) < _DEEPEST:
            for key, item in value.items():
                yield from _search_entry(str(key), item, path, label, holder, levels)
    elif isinstance(value, list | tuple):
        if len(path) < _DEEPEST:
            for index, item in enumerate(value):
                yield from _search(item, [*path, str(index)], label, holder, levels)
    else:
        rule = _rule_of(value, label, levels)
        if rule is not None:
            yield path, rule, False


def _search_entry(
    key: str, item: Any, path: list[str], label: Label | None, holder: str, levels: int
) -> Iterator[_Found]:
    inside = [*path, key]
    rule = _rule_of_text(key, None, levels)
    if rule is not None:
        yield inside, rule, True
    own = label_of(key, holder) if len(key) <= 64 else None
    # A map behind ``card_number`` has keys of its own to say what is what; ``value`` in it is what was announced.
    yield from _search(item, inside, own or label, key, levels)


def _rule_of(value: Any, label: Label | None, levels: int) -> Rule | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    if isinstance(value, int):
        value = str(abs(value)) if abs(value) < 10**24 else ""
    return _rule_of_text(value, label, levels) if isinstance(value, str) else None


def _rule_of_text(text: str, label: Label | None, levels: int) -> Rule | None:
    if label is None and not _may_hold(text):
        return None
    shown = plain(text)
    if label is not None and text and fits(label, shown):
        return _RULES[label]
    rule = rule_broken_by(shown, labelled=label is Label.CARD)
    if rule is not None or not levels:
        return rule
    for inner in unwrapped(text):
        if inner != text:
            for _, found, _ in _search(inner, [], label, "", levels - 1):
                return found
    return None


def _may_hold(text: str) -> bool:
    if len(text) < SHORTEST and text.isascii():  # there is room for a security code and its name only
        return "cv" in text.lower() or "%" in text or '":' in text or not text.isprintable()
    try:
        return may_hold(_encode(text if text.isascii() else _LETTERS.sub("x", text)))
    except UnicodeEncodeError:  # half a surrogate pair
        return True


def _matches(pattern: list[str], segments: list[str]) -> bool:
    return len(pattern) == len(segments) and all(
        one == "*" or one.replace("~1", "/").replace("~0", "~") == other
        for one, other in zip(pattern, segments, strict=True)
    )


def _safe(segments: list[str], masked: bool) -> str:
    """Return the pointer, without keys that hold a number, or that make one together."""
    shown = [MASK if _may_hold(one) and rule_broken_by(plain(one)) else one for one in segments]
    if masked:
        shown[-1] = MASK
    if holds_card(plain(" ".join(shown))) or holds_card(plain("".join(shown))):
        shown = [MASK if any(character.isdigit() for character in one) else one for one in shown]
    return pointer_of(shown)
