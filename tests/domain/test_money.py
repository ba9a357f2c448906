from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.money import format_amount, format_money, minor_unit_digits, reads_as


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


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("62.50", 6250, "EUR"), ("62,50", 6250, "EUR"), ("62.5", 6250, "EUR"), ("€ 62.50", 6250, "EUR"),
        ("62", 6200, "EUR"), ("62.00 EUR", 6200, "EUR"), ("1.250,00", 125_000, "EUR"), ("1,250.00", 125_000, "EUR"),
        ("1,250", 125_000, "EUR"), ("1250", 125_000, "EUR"), ("1 250,00", 125_000, "EUR"), ("6250", 6250, "JPY"),
        ("6,250", 6250, "JPY"), ("1.250", 1250, "KWD"), ("1.250", 1_250_000, "KWD"), ("٦٢٫٥٠", 6250, "EUR"),
        ("0", 0, "EUR"), ("0.5", 50, "EUR"),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_people_write_it(text: str, amount: int, currency: str) -> None:
    assert reads_as(text, amount, currency)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("", 0, "EUR"), ("yes", 0, "EUR"), ("62", 6250, "EUR"), ("6250", 6250, "EUR"), ("62.51", 6250, "EUR"),
        ("62.50", 625_000, "EUR"), ("62.50", 6250, "JPY"), ("-5", 500, "EUR"), ("−5", 500, "EUR"), (".5", 50, "EUR"),
        ("5.", 500, "EUR"), ("1.2.3", 123, "EUR"), ("12.34.56", 123_456, "EUR"), ("1,25", 12_500, "EUR"),
        ("9" * 10_000, 1, "EUR"),
    ],
)  # fmt: skip
def test_another_amount_is_not_taken_for_it(text: str, amount: int, currency: str) -> None:
    assert not reads_as(text, amount, currency)
