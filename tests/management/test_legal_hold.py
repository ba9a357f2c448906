"""manage.py legal_hold: place, review, lift and list, for those who have no admin at hand (A6)."""

from __future__ import annotations

import io
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management.base import CommandError

from agent_sessions import selectors, services
from agent_sessions.models import LegalHold
from tests.management.running import run
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db


def test_a_hold_is_placed_reviewed_and_lifted(opened: Any, clock: Any) -> None:
    one = opened().session_id
    status, printed, _ = run("legal_hold", "place", "--session", str(one), "--matter", "Case 12", "--by", "7")
    hold = LegalHold.objects.get()
    assert (status, printed) == (0, f"{hold.pk}  session   {one}  review 2026-08-29  Case 12\n")
    assert hold.placed_by == "staff:7"
    assert run("legal_hold", "list")[1] == printed

    printed = run("legal_hold", "review", str(hold.pk), "--review", "2027-01-31", "--by", "7")[1]
    assert printed == f"{hold.pk}  session   {one}  review 2027-01-31  Case 12\n"
    printed = run("legal_hold", "lift", str(hold.pk), "--reason", "settled", "--by", "8")[1]
    assert printed == f"{hold.pk}  session   {one}  lifted 2026-03-02  Case 12\n"
    assert run("legal_hold", "list")[1] == ""
    assert run("legal_hold", "list", "--all")[1] == printed
    assert selectors.holds_on(one) == []


def test_a_hold_on_a_consumer_stores_no_reference(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A6: it is read, so that it stands in no shell history; of the pseudonym nothing is left once it is lifted."""
    monkeypatch.setattr("sys.stdin", io.StringIO("customer-4711\n"))
    status, printed, _ = run("legal_hold", "place", "--consumer", "--matter", "M")
    hold = LegalHold.objects.get()
    assert (status, hold.scope, hold.consumer) == (0, "consumer", services.consumer_pseudonym("customer-4711"))
    assert "customer-4711" not in printed
    assert not is_stored("customer-4711")

    printed = run("legal_hold", "lift", str(hold.pk), "--reason", "settled")[1]
    assert printed == f"{hold.pk}  consumer  - of default  lifted 2026-03-02  M\n"
    assert not is_stored(services.consumer_pseudonym("customer-4711"))


def test_a_hold_on_an_order_and_on_a_period(clock: Any) -> None:
    run("legal_hold", "place", "--order", "A-1", "--merchant", "b", "--matter", "M")
    run("legal_hold", "place", "--from", "2026-01-01", "--until", "2026-02-01T12:00:00+01:00", "--matter", "M")
    order, period = LegalHold.objects.get(scope="order"), LegalHold.objects.get(scope="period")
    assert (order.order_ref, order.merchant) == ("A-1", "b")
    assert (period.period_start, period.period_end) == (
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, 11, tzinfo=UTC),
    )  # fmt: skip
    assert "  2026-01-01 00:00 to 2026-02-01 11:00 UTC  " in run("legal_hold", "list")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["place", "--matter", "M"], "Name one of"),
        (["place", "--order", "A", "--consumer", "--matter", "M"], "Name one of"),
        (["place", "--from", "yesterday", "--until", "2026-01-01", "--matter", "M"], "--from: write a day"),
        (["place", "--from", "2026-13-01", "--until", "2026-01-01", "--matter", "M"], "--from: write a day"),
        (["place", "--from", "2026-01-01", "--matter", "M"], "/period_end"),
        (["place", "--session", str(uuid.UUID(int=1)), "--matter", "M"], "There is no session"),
        (["lift", str(uuid.UUID(int=1)), "--reason", "R"], "legal_hold list --all"),
        (["place", "--order", "A", "--matter", "M", "--by", "Ada Example"], "pseudonymous"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(words: list[str], told: str, clock: Any) -> None:
    before = everything_stored()
    with pytest.raises(CommandError, match=re.escape(told)):
        run("legal_hold", *words)
    assert everything_stored() == before


def test_it_reminds_of_reviews(clock: Any) -> None:
    run("legal_hold", "place", "--order", "A", "--matter", "M", "--review", "2026-03-03")
    assert run("legal_hold", "remind")[1] == "0 reminded\n"
    clock.shift(timedelta(days=1))
    assert run("legal_hold", "remind")[1] == "1 reminded\n"
