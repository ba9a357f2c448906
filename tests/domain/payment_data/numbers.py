"""Numbers that payment providers publish for tests, and numbers made to the rules of the brands."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from agent_sessions.domain.payment_data.brands import _RANGES

PUBLISHED = (
    # Stripe
    "4242424242424242", "4000056655665556", "5555555555554444", "2223003122003222", "5200828282828210",
    "5105105105105100", "378282246310005", "371449635398431", "6011111111111117", "6011000990139424",
    "3056930009020004", "36227206271667", "3566002020360505", "6200000000000005", "6205500000000000004",
    # Braintree, Adyen, CyberSource
    "4111111111111111", "4012888888881881", "2222405343248877", "6759411100000008", "586824160825533338",
    "6799990100000000019", "6243030000000001", "38520000023237", "30569309025904", "3530111333300000",
)  # fmt: skip


def completed(body: str) -> str:
    """Return a number with its check digit, worked out by hand: every second digit from the right counts twice."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """A number of any brand, in any of its ranges and lengths."""
    _, first, last, lengths = draw(st.sampled_from(_RANGES))
    prefix = str(draw(st.integers(int(first), int(last))))
    size = draw(st.sampled_from(lengths)) - len(prefix) - 1
    return completed(prefix + draw(st.text(string.digits, min_size=size, max_size=size)))
