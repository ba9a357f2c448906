"""Amounts of money as people write them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LONGEST = 40
_SEPARATOR = re.compile(r"[.,]")
_NUMBER = re.compile(r"[0-9]([0-9.,]*[0-9])?")
_GROUPED = re.compile(r"[0-9]+|[0-9]{1,3}([.,][0-9]{3})+")

# ISO 4217, table A.1: currencies whose minor unit is not a hundredth.
_CURRENCIES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS = {code: digits for digits, codes in _CURRENCIES.items() for code in codes.split()}


def minor_unit_digits(currency: str) -> int:
    """Return how many decimals an ISO 4217 currency is written with; 2 for one that is not known."""
    return _DIGITS.get(currency, 2)


# A cart is told with each of its answers, and few of its amounts are new.
@lru_cache(maxsize=1024)
def format_amount(amount: int, currency: str) -> str:
    """Return ``amount``, minor units of ``currency``, as a decimal number without the currency's code."""
    digits = minor_unit_digits(currency)
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 10**digits)
    return f"{sign}{whole}.{part:0{digits}}" if digits else f"{sign}{whole}"


def format_money(amount: int, currency: str) -> str:
    """Return ``amount``, minor units of ``currency`` (ISO 4217), with its code: ``12.50 EUR``."""
    return f"{format_amount(amount, currency)} {currency}"


def reads_as(text: str, amount: int, currency: str) -> bool:
    """Tell whether a person who typed ``text`` meant ``amount``, minor units of ``currency``.

    With a point or a comma, with the currency's name or sign or without, in the digits of any script; decimals that are
    nought may be left out.
    """
    plain = "".join(_plain(character) for character in text[:_LONGEST])
    if _NUMBER.fullmatch(plain) is None or "-" in text or "−" in text:
        return False
    digits, meant = minor_unit_digits(currency), set()
    if _GROUPED.fullmatch(plain) is not None:
        meant.add(int(_SEPARATOR.sub("", plain)) * 10**digits)
    whole, separator, part = _last_separated(plain)
    if separator and len(part) <= digits and _GROUPED.fullmatch(whole) is not None:
        meant.add(int(_SEPARATOR.sub("", whole)) * 10**digits + int(part.ljust(digits, "0")))
    return amount in meant


def _plain(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return {".": ".", ",": ",", "٫": ".", "٬": ","}.get(character, "")


def _last_separated(plain: str) -> tuple[str, str, str]:
    at = max(plain.rfind("."), plain.rfind(","))
    return (plain, "", "") if at < 0 else (plain[:at], plain[at], plain[at + 1 :])
