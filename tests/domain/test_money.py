from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.money import format_amount, format_money, minor_unit_digits


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1250, "EUR", "12.50 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "USD", "0.00 USD"),
        (-5, "EUR", "-0.05 EUR"),
        (-1999, "GBP", "-19.99 GBP"),
        (1500, "JPY", "1500 JPY"),
        (-1500, "KRW", "-1500 KRW"),
        (1500, "VND", "1500 VND"),
        (1500, "CLP", "1500 CLP"),
        (1500, "ISK", "1500 ISK"),
        (1500, "HUF", "15.00 HUF"),
        (1, "BHD", "0.001 BHD"),
        (12345, "KWD", "12.345 KWD"),
        (-12345, "TND", "-12.345 TND"),
        (12345, "CLF", "1.2345 CLF"),
        (123456789012, "EUR", "1234567890.12 EUR"),
    ],
)
def test_format_money(amount, currency, text):
    assert format_money(amount, currency) == text


@given(st.integers(), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_nothing_is_lost_or_rounded(amount, currency):
    digits = minor_unit_digits(currency)
    assert int(format_amount(amount, currency).replace(".", "")) == amount
    if -(10**20) < amount < 10**20:
        assert Decimal(format_amount(amount, currency)) == Decimal(amount).scaleb(-digits)
