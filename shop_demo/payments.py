"""A payment provider for trying things out. It behaves like an outside party: it has books of its own, answers may be
lost on the way, and one idempotency key is charged once, whatever is sent with it how often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import transaction

from shop_demo.models import ProviderCharge

SUCCEEDED, DECLINED, REFUNDED = "succeeded", "declined", "refunded"


@dataclass(frozen=True, slots=True)
class TestToken:
    """What a test token stands for: what becomes of the charge, and whether the answer gets through.

    ``method`` is card or paypal; of a card ``brand`` and ``last4`` may be kept.
    """

    name: str
    title: str
    hint: str
    outcome: str
    code: str = ""
    answer_lost: bool = False
    method: str = "card"
    brand: str = ""
    last4: str = ""

    __test__ = False  # not a test, whatever pytest makes of the name


TOKENS: Final = {
    token.name: token
    for token in (
        TestToken("tok_success", "Card that succeeds", "Paid at once.", SUCCEEDED, brand="visa", last4="4242"),
        TestToken(
            "tok_declined", "Card that is declined", "Insufficient funds.", DECLINED, "insufficient_funds",
            brand="visa", last4="9995",
        ),
        TestToken(
            "tok_timeout", "Card that times out", "Paid, but the answer is lost.", SUCCEEDED, "", True,
            brand="mastercard", last4="4444",
        ),
        TestToken(
            "tok_timeout_declined", "Card that times out, unpaid", "Declined, but the answer is lost.",
            DECLINED, "card_expired", True, brand="visa", last4="0069",
        ),
        TestToken("tok_paypal", "PayPal", "Paid at once.", SUCCEEDED, method="paypal"),
    )
}  # fmt: skip
REASONS: Final = {
    "insufficient_funds": "The card was declined: there is not enough money on it.",
    "card_expired": "The card was declined: it has expired.",
    "cancelled": "The payment never reached the payment provider and was cancelled.",
}


class ProviderTimeout(Exception):
    """No answer came. The money may have moved: ask with ``status``, never send another charge."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider says of a charge. ``outcome`` is succeeded, declined or refunded; ``code`` says why."""

    outcome: str
    code: str = ""


class TestProvider:
    """Call it outside of transactions: what it has done does not roll back, so it refuses to be called inside one."""

    __test__ = False

    def charge(self, token: str, amount: int, currency: str, idempotency_key: str) -> Charge:
        """Charge ``amount`` minor units. Raises ProviderTimeout when no answer came, KeyError for an unknown token.

        A key that was seen before gets the first answer again and charges nothing.
        """
        known = TOKENS[token]
        row = self._book(idempotency_key, token, amount, currency, known.outcome, known.code)
        if known.answer_lost:
            raise ProviderTimeout
        return Charge(row.outcome, row.code)

    def status(self, idempotency_key: str) -> Charge | None:
        """Say what became of a charge; None if it never arrived."""
        with transaction.atomic(durable=True):
            row = ProviderCharge.objects.filter(key=idempotency_key).first()
        return None if row is None else Charge(row.outcome, row.code)

    def cancel(self, idempotency_key: str) -> Charge:
        """Make sure that a charge that has not arrived never will be made; return what became of it."""
        row = self._book(idempotency_key, "", 0, "", DECLINED, "cancelled")
        return Charge(row.outcome, row.code)

    def refund(self, idempotency_key: str) -> None:
        """Give the money of a charge back. Doing it again changes nothing."""
        with transaction.atomic(durable=True):
            ProviderCharge.objects.filter(key=idempotency_key, outcome=SUCCEEDED).update(outcome=REFUNDED)

    def _book(self, key: str, token: str, amount: int, currency: str, outcome: str, code: str) -> ProviderCharge:
        facts = {"token": token, "amount": amount, "currency": currency, "outcome": outcome, "code": code}
        with transaction.atomic(durable=True):
            return ProviderCharge.objects.get_or_create(key=key, defaults=facts)[0]


provider = TestProvider()
