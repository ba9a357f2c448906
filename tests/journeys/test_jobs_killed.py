"""The process that runs a job is killed in the middle of a journey; the next run does the rest, and the journey ends.

It dies after each commit of the job, one after the other, until it gets through; what came of that last one has to come
of every other. Before a commit the database holds what it held after the one before.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from agent_sessions.conf import settings as package_settings
from agent_sessions.models import Artifact, AuditEvent, Hold
from shop_demo.models import Order, Variant
from tests.journeys.outcomes import Outcome, Watch, run_all_jobs, unpaid, wrong
from tests.journeys.shopper import POT, Act, Shopper
from tests.journeys.striking import LEASE, die, in_a_child

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("shop_here")]
SECOND = timedelta(seconds=1)
GoOn = Callable[[], int]
"""Plays a journey to its end; returns how many orders there have to be then."""


def buys(shopper: Shopper) -> int:
    assert shopper.paying()().status_code == 200
    assert Order.objects.filter(session_id=shopper.session_id).count() == 1
    return 1


def kinds(shopper: Shopper) -> list[str]:
    return list(AuditEvent.objects.filter(session_id=shopper.session_id).values_list("kind", flat=True))


# What each job finds, and how the journey goes on after it


def expire_sessions(clock: Any) -> GoOn:
    """One holds a pot and has given the link to a person, one waits for approval: nobody comes in time."""
    waits, asks = Shopper(), Shopper(pots=6)
    waits.send("POST", "/session/holds", {"item_id": POT, "quantity": 1})
    pays_late = waits.paying()
    asks.approving()
    clock.shift((package_settings.ttl("standard") or timedelta()) + SECOND)

    def go_on() -> int:
        for one in (waits, asks):
            assert kinds(one).count("session.ended") == 1
            assert Artifact.objects.filter(session_id=one.session_id).count() == 1
            assert one.ask("POST", "/checkout").status_code == 401
        pays_late()
        assert not Order.objects.filter(session_id=waits.session_id).exists()
        return buys(Shopper())

    return go_on


def expire_approvals(clock: Any) -> GoOn:
    """Two wait for a person, who comes too late; one asks again."""
    first, second = Shopper(pots=6, kind="consumer"), Shopper(pots=7, kind="consumer")
    first.approving()
    answers_late = second.approving()
    clock.shift(package_settings.approval_ttl + SECOND)

    def go_on() -> int:
        assert [kinds(one).count("approval.expired") for one in (first, second)] == [1, 1]
        assert "Approval window expired. Consumer must re-authorize." in answers_late().content.decode()
        assert second.ask("POST", "/checkout").status_code == 403
        assert first.approving()().status_code < 400
        return buys(first)

    return go_on


def release_expired_holds(clock: Any) -> GoOn:
    """The last pots are held and not bought in time; somebody else gets one of them."""
    patient, quick = Shopper(pots=2), Shopper()
    Variant.objects.filter(sku=POT).update(stock=2)
    patient.send("POST", "/session/holds", {"item_id": POT, "quantity": 2})
    patient.send("POST", "/session/holds", {"item_id": "SENCHA-50G", "quantity": 3})
    clock.shift(package_settings.hold_ttl + SECOND)

    def go_on() -> int:
        assert kinds(patient).count("hold.expired") == 2
        assert not Hold.objects.filter(released_at=None).exists()
        bought = buys(quick)
        assert 400 <= patient.ask("POST", "/checkout").status_code < 500, "one pot of two is sold"
        patient.send("PATCH", "/cart", {"item_id": POT, "quantity": 1})
        bought += buys(patient)
        assert Variant.objects.get(sku=POT).stock == 0
        Variant.objects.filter(sku=POT).update(stock=1000)
        return bought

    return go_on


def mark_stale_sessions(clock: Any) -> GoOn:
    """The pot in two carts costs more from now on."""
    shoppers = [Shopper() for _ in range(2)]
    pot = Variant.objects.get(sku=POT)
    pot.price_minor += 100
    pot.save()

    def go_on() -> int:
        for one in shoppers:
            assert kinds(one).count("session.marked_stale") == 1
            assert one.ask("POST", "/checkout").status_code == 409
        shoppers[0].send("POST", "/session/revalidate")
        bought = buys(shoppers[0])
        assert Order.objects.get(session_id=shoppers[0].session_id).total == pot.price_minor
        return bought

    return go_on


def resolve_unknown_steps(clock: Any) -> GoOn:
    """The provider took the money of one, declined the other, and neither of its answers came."""
    paid, declined = Shopper(), Shopper()
    looks_again = paid.paying("tok_timeout")
    looks_again()
    declined.paying("tok_timeout_declined")()
    clock.shift(timedelta(minutes=2))

    def go_on() -> int:
        assert looks_again().status_code == 200
        assert Order.objects.filter(session_id=paid.session_id).count() == 1
        assert kinds(declined).count("step.failed") == 1
        return 1 + buys(declined)

    return go_on


JOBS = (expire_sessions, expire_approvals, release_expired_holds, mark_stale_sessions, resolve_unknown_steps)


def running(job: str) -> Act:
    """Return what cron does."""
    return lambda: call_command(job, stdout=io.StringIO(), stderr=io.StringIO())


def played(job: Callable[[Any], GoOn], number: int, clock: Any) -> tuple[bool, Outcome]:
    """Play a journey whose job is killed, and to its end; return whether it was, and what the job came to."""
    at = f"{job.__name__}, killed after {number}"
    watch = Watch()
    go_on = job(clock)
    killed = in_a_child(number, die, running(job.__name__), before=False)
    assert wrong(watch.sessions) == [], at
    clock.shift(LEASE)
    running(job.__name__)()
    assert wrong(watch.sessions) == [], at
    outcome = watch.outcome
    orders = go_on()
    run_all_jobs()
    assert watch.rows["Order"] == orders, at
    assert wrong(watch.sessions) + unpaid() == [], at
    return killed, outcome


@pytest.mark.parametrize("job", JOBS)
def test_a_job_whose_process_is_killed_anywhere_is_finished_by_the_next_run(
    job: Callable[[Any], GoOn], clock: Any
) -> None:
    """R3, L6, X1, X2: nothing is lost, nothing done twice, no hold left over, and the journey ends with one order."""
    outcomes: list[Outcome] = []
    killed = True
    while killed:
        killed, outcome = played(job, len(outcomes) + 1, clock)
        outcomes.append(outcome)
    print(job.__name__, len(outcomes) - 1)
    assert len(outcomes) > 2, "It was killed several times."
    assert [number for number, one in enumerate(outcomes, 1) if one != outcomes[-1]] == []
