"""What one text holds, once it is in plain digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent_sessions.domain.payment_data.brands import LONGEST, SHORTEST, brand_of
from agent_sessions.domain.payment_data.rules import Rule

_RUN: Final = re.compile(r"[0-9](?:[\s\-._/\\+*|~']{0,9}[0-9]){11,}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+")
_FRACTION: Final = re.compile(r"[0-9]{1,3}\.[0-9]+")
_TRACK: Final = re.compile(r"[Bb][0-9]{12,19}\^|;[0-9]{12,19}=[0-9]{4}|(?<![0-9])[0-9]{12,19}=[0-9]{7}")
_CODE: Final = re.compile(
    r"(?<![a-z])(?:cvv2?|cvc2?|cvn2?|ccv|security code|card verification (?:code|value|number))"
    r"\W{0,3}(?:(?:is|code|number|no)\W{1,3}){0,2}[0-9]{3,4}(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
# An id in its usual spelling is none of a card's, whatever digits follow one another in it.
_IDS: Final = re.compile(
    r"(?<![0-9a-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-z])",
    re.IGNORECASE,
)
_AS_PRINTED: Final = {
    4: (
        (4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 4, 4, 4, 2), (4, 4, 4, 4, 1), (4, 6, 5), (4, 6, 4),
        (4, 4, 4), (4, 4, 4, 2), (4, 4, 4, 3),
    ),
    6: ((6, 13),),
    8: ((8, 8), (8, 11)),
}  # fmt: skip
"""Groups of digits as they stand on cards and in forms, by the size of the first."""


def rule_broken_by(text: str, *, labelled: bool = False) -> Rule | None:
    """Return the rule that ``text``, in plain digits, breaks. ``labelled``: a card's number is expected there."""
    if _TRACK.search(text):
        return Rule.TRACK_DATA
    if holds_card(text, labelled=labelled):
        return Rule.CARD_NUMBER
    if _CODE.search(text):
        return Rule.SECURITY_CODE
    return None


def holds_card(text: str, *, labelled: bool = False) -> bool:
    """Tell whether a card's number stands anywhere in ``text``, touching no other digit."""
    for run in _RUN.finditer(_IDS.sub(" id ", text)):
        if not labelled and _FRACTION.fullmatch(run.group()):
            continue
        if any(brand_of(number, labelled=labelled) for number in _candidates(run.group())):
            return True
    return False


def _candidates(run: str) -> Iterator[str]:
    """Yield the numbers that digits with separators between them may be.

    One group of digits; all of it, if the same separator stands everywhere; and what is grouped as on a card, so that
    a number is found between a position and a date.
    """
    groups = _DIGITS.findall(run)
    yield from (group for group in groups if SHORTEST <= len(group) <= LONGEST)
    if len(groups) == 1:
        return
    if SHORTEST <= sum(map(len, groups)) <= LONGEST:
        between = {separator.strip() for separator in _DIGITS.split(run)[1:-1]}
        if len(between) == 1:
            yield "".join(groups)
    sizes = tuple(map(len, groups))
    for start, size in enumerate(sizes):
        for layout in _AS_PRINTED.get(size, ()):
            if sizes[start : start + len(layout)] == layout:
                yield "".join(groups[start : start + len(layout)])
