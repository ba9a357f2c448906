"""Amounts of money as people write them."""

from __future__ import annotations

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


def format_amount(amount: int, currency: str) -> str:
    """Return ``amount``, minor units of ``currency``, as a decimal number without the currency's code."""
    digits = minor_unit_digits(currency)
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), 10**digits)
    return f"{sign}{whole}.{part:0{digits}}" if digits else f"{sign}{whole}"


def format_money(amount: int, currency: str) -> str:
    """Return ``amount``, minor units of ``currency`` (ISO 4217), with its code: ``12.50 EUR``."""
    return f"{format_amount(amount, currency)} {currency}"
