"""The test payment provider behaves like an outside party."""

from __future__ import annotations

import pytest
from django.db import transaction

from shop_demo.models import ProviderCharge
from shop_demo.payments import Charge, ProviderTimeout, provider

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("token", "answer"),
    [("tok_success", Charge("succeeded")), ("tok_declined", Charge("declined", "insufficient_funds"))],
)
def test_it_answers_as_the_token_says(token: str, answer: Charge) -> None:
    assert provider.charge(token, 100, "EUR", "k") == answer
    assert provider.status("k") == answer


@pytest.mark.parametrize(
    ("token", "truth"),
    [("tok_timeout", Charge("succeeded")), ("tok_timeout_declined", Charge("declined", "card_expired"))],
)
def test_a_lost_answer_can_be_asked_for(token: str, truth: Charge) -> None:
    with pytest.raises(ProviderTimeout):
        provider.charge(token, 100, "EUR", "k")

    assert provider.status("k") == truth


def test_one_key_is_charged_once_whatever_comes_with_it() -> None:
    provider.charge("tok_declined", 100, "EUR", "k")

    assert provider.charge("tok_success", 200, "EUR", "k") == Charge("declined", "insufficient_funds")
    assert ProviderCharge.objects.get().amount == 100


def test_what_was_cancelled_before_it_arrived_is_never_charged() -> None:
    assert provider.status("k") is None

    assert provider.cancel("k") == Charge("declined", "cancelled")
    assert provider.charge("tok_success", 100, "EUR", "k") == Charge("declined", "cancelled")


def test_cancelling_what_was_charged_tells_so() -> None:
    provider.charge("tok_success", 100, "EUR", "k")

    assert provider.cancel("k") == Charge("succeeded")


def test_a_refund_is_made_once_and_only_of_what_was_paid() -> None:
    provider.charge("tok_success", 100, "EUR", "paid")
    provider.charge("tok_declined", 100, "EUR", "declined")
    for key in ("paid", "paid", "declined", "unknown"):
        provider.refund(key)

    assert provider.status("paid") == Charge("refunded")
    assert provider.status("declined") == Charge("declined", "insufficient_funds")


@pytest.mark.django_db(transaction=True)
def test_it_is_never_called_inside_a_transaction() -> None:
    """What it has done does not roll back."""
    with pytest.raises(RuntimeError), transaction.atomic():
        provider.charge("tok_success", 100, "EUR", "k")

    assert not ProviderCharge.objects.exists()
