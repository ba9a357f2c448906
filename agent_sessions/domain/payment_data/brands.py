"""Which digits are a card's number: the ranges that brands number their cards in, the lengths, the check digit.

Ranges: ISO/IEC 7812-1 (issuer identification number, check digit), the table in
https://en.wikipedia.org/wiki/Payment_card_number and, where it differs, https://github.com/braintree/credit-card-type.
Lengths that no range lists are no card's: that keeps most order numbers and times out.
"""

from __future__ import annotations

from typing import Final

SHORTEST: Final = 12
LONGEST: Final = 19

_UP_TO_19: Final = (16, 17, 18, 19)
_RANGES: Final[tuple[tuple[str, str, str, tuple[int, ...]], ...]] = (
    ("visa", "4", "4", (16, 18, 19)),
    ("mastercard", "51", "55", (16,)),
    ("mastercard", "2221", "2720", (16,)),
    ("amex", "34", "34", (15,)),
    ("amex", "37", "37", (15,)),
    ("discover", "6011", "6011", _UP_TO_19),
    ("discover", "644", "659", _UP_TO_19),
    ("diners", "300", "305", (14, 16, 19)),
    ("diners", "3095", "3095", (14, 16, 19)),
    ("diners", "36", "36", (14, 16, 19)),
    ("diners", "38", "39", (14, 16, 19)),
    ("jcb", "3528", "3589", _UP_TO_19),
    ("jcb", "1800", "1800", (15,)),
    ("jcb", "2131", "2131", (15,)),
    ("unionpay", "62", "62", _UP_TO_19),
    ("unionpay", "8100", "8171", _UP_TO_19),
    # In these Maestro has cards of 12 digits and more; in the rest of its ranges only long ones are looked for,
    # because telephone numbers begin like that.
    ("maestro", "5018", "5018", (12, 13, 14, 15)),
    ("maestro", "5020", "5020", (12, 13, 14, 15)),
    ("maestro", "5038", "5038", (12, 13, 14, 15)),
    ("maestro", "5893", "5893", (12, 13, 14, 15)),
    ("maestro", "6304", "6304", (12, 13, 14, 15)),
    ("maestro", "6759", "6763", (12, 13, 14, 15)),
    ("maestro", "50", "50", _UP_TO_19),
    ("maestro", "56", "58", _UP_TO_19),
    ("maestro", "63", "63", _UP_TO_19),
    ("maestro", "67", "67", _UP_TO_19),
    ("rupay", "60", "60", (16,)),
    ("rupay", "81", "82", (16,)),
    ("mir", "2200", "2204", _UP_TO_19),
    ("troy", "9792", "9792", (16,)),
)
_LEGACY_VISA: Final = 13
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _by_prefix() -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for brand, first, last, lengths in _RANGES:
        for prefix in range(int(first.ljust(4, "0")), int(last.ljust(4, "9")) + 1):
            found.setdefault(str(prefix), []).append((brand, lengths))
    return found


_BY_PREFIX: Final = _by_prefix()
"""What the first four digits say; looked at before the check digit, which takes longer."""


def brand_of(digits: str, *, labelled: bool = False) -> str:
    """Return the brand whose card has the number ``digits`` (ASCII), or "" if none does.

    ``labelled``: it stands where a card's number is expected, so that Visa's old numbers of 13 digits count too. There
    are none in use any more, and a tenth of some countries' EANs look like one.
    """
    size = len(digits)
    for brand, lengths in _BY_PREFIX.get(digits[:4], ()):
        if size in lengths or (labelled and size == _LEGACY_VISA and brand == "visa"):
            return brand if has_check_digit(digits) else ""
    return ""


def has_check_digit(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the rest (ISO/IEC 7812-1, annex B, called Luhn's)."""
    numbers = [ord(digit) - 48 for digit in reversed(digits)]
    return (sum(numbers[0::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0
