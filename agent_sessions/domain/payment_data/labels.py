"""Keys that say what stands behind them, however they are spelled: ``cardNumber``, ``card-number``, ``CARD NUMBER``."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from agent_sessions.domain.payment_data.brands import LONGEST, SHORTEST
from agent_sessions.domain.payment_data.plain import plain


class Label(Enum):
    """What a key announces. The doubtful ones are words with other meanings too, so their values have to fit."""

    CARD = "card number"
    TRACK = "track data"
    CODE = "security code"
    DOUBTFUL_CODE = "security code, perhaps"
    PIN = "pin, perhaps"
    PIN_BLOCK = "pin block"


_A_CARD: Final = r"(?:(?:credit|debit|payment|bank)?card|cc)"
_KNOWN: Final = re.compile(
    rf"(?P<CARD>{_A_CARD}(?:number|num|no|pan)|(?:credit|debit)card|primaryaccountnumber|(?:funding)?pan)"
    r"|(?P<TRACK>track[12]?data|track[12]|track2equivalent(?:data)?|mag(?:netic)?stripe(?:data)?)"
    rf"|(?P<CODE>(?:{_A_CARD})?(?:cvv2?|cvc2?|cvn2?|cvd|cav2)(?:code|number|num|no|value)?"
    rf"|{_A_CARD}(?:security|verification)(?:code|value|number))"
    rf"|(?P<DOUBTFUL_CODE>(?:{_A_CARD})?(?:cid|csc|cv2|ccv)|[a-z]*(?:cvv2?|cvc2?)"
    r"|(?:credit|debit|payment|bank)?cardcode|securitycode|verificationvalue)"
    rf"|(?P<PIN>(?:{_A_CARD}|atm|debit)?pin(?:number|value)?)"
    r"|(?P<PIN_BLOCK>(?:encrypted)?pinblock)"
)
"""Keys in lower case, without what is between their words."""
_HOLDERS: Final = re.compile(_A_CARD)
"""Keys of maps in which ``number`` is a card's."""
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_BETWEEN: Final = re.compile(r"[\s._/-]+")
_TRACK: Final = re.compile(r"[%;]?B?[0-9]{12,19}(?:[=D^].*)?", re.IGNORECASE | re.DOTALL | re.ASCII)
_NOT_SAID: Final = re.compile(r"[xX*#?•●\s._-]*")
"""What stands in the place of a value that was masked."""


def label_of(key: str, holder: str) -> Label | None:
    """Return what ``key`` announces in a map that stands behind the key ``holder``, None if nothing."""
    word = _word(key)
    if word == "number" and _HOLDERS.fullmatch(_word(holder)):
        return Label.CARD
    known = _KNOWN.fullmatch(word)
    return None if known is None else Label[known.lastgroup or ""]


def _word(key: str) -> str:
    return _OTHER.sub("", plain(key).lower())


def fits(label: Label, text: str) -> bool:
    """Tell whether ``text``, in plain digits, is what ``label`` announces, and not a mask, a word or a reference."""
    if label in (Label.CODE, Label.PIN_BLOCK):
        return _NOT_SAID.fullmatch(text) is None
    digits = _BETWEEN.sub("", text)
    if label is Label.TRACK:
        return _TRACK.fullmatch(digits) is not None
    if not digits.isascii() or not digits.isdigit():
        return False
    least, most = {Label.DOUBTFUL_CODE: (3, 4), Label.PIN: (4, 12)}.get(label, (SHORTEST, LONGEST))
    return least <= len(digits) <= most
