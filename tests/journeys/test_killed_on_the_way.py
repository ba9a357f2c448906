"""The process that serves the shop dies anywhere on the way of a request; who got no answer sends it again.

It dies before and after each commit, one after the other, until it gets through; what came of that last one has to come
of every other. What is killed within a transaction is as if it were killed before the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import CheckoutHandoff, Session
from shop_demo.models import Order, ProviderCharge
from tests.journeys.outcomes import Outcome, Watch, run_all_jobs, wrong
from tests.journeys.shopper import POT, Act, Shopper
from tests.journeys.striking import LEASE, Strike, die, here, in_a_child, lose_the_answer

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("shop_here")]


def checkout() -> tuple[Shopper, Act]:
    shopper = Shopper()
    return shopper, shopper.asking("/checkout")


def hold() -> tuple[Shopper, Act]:
    shopper = Shopper()
    return shopper, shopper.asking("/session/holds", {"item_id": POT, "quantity": 1})


def renewal() -> tuple[Shopper, Act]:
    """With a hold, which moves along."""
    shopper, act = hold()
    assert act().status_code < 300
    return shopper, shopper.asking("/session/renew")


def transfer() -> tuple[Shopper, Act]:
    shopper = Shopper()
    code = services.grant_transfer(shopper.session_id, actor=Actor("consumer")).code
    return shopper, shopper.asking("/session/transfer", {"grant": code, "agent_name": "Tea expert"}, token="")


def fork() -> tuple[Shopper, Act]:
    shopper = Shopper()
    return shopper, shopper.asking("/session/forks")


def approval() -> tuple[Shopper, Act]:
    shopper = Shopper(pots=6)
    return shopper, shopper.approving()


def payment() -> tuple[Shopper, Act]:
    shopper = Shopper()
    return shopper, shopper.paying()


Step = Callable[[], tuple[Shopper, Act]]
STEPS: tuple[Step, ...] = (checkout, hold, renewal, transfer, fork, approval, payment)
FORMS = (approval, payment)
"""What people send without a key: what it comes to is compared, but not how often it was tried."""


def go_on(shopper: Shopper, answer: Any) -> None:
    """Buy what is in the cart, as if nothing had happened."""
    with suppress(ValueError, KeyError, TypeError):
        shopper.begins_with(answer.json()["data"])
    if selectors.read_head(shopper.session_id).is_live():
        assert shopper.paying()().status_code == 200


def check(watch: Watch, shopper: Shopper, step: Step, number: int) -> None:
    at = f"{step.__name__}, struck after {number}"
    assert wrong(watch.sessions) == [], at
    family = selectors.read_head(shopper.session_id).family
    live = Session.objects.filter(family=family, ended_at=None).count()
    ordered = Order.objects.filter(session_id__in=watch.sessions).count()
    assert live + ordered == (2 if step is fork else 1), at
    assert CheckoutHandoff.objects.filter(family=family, closed_at=None).count() <= 1, at


def played(step: Step, number: int, strike: Strike, clock: Any, act_in: Callable[..., bool]) -> Any:
    """Play a step that is struck, again and to the end; return whether it was struck, and what came of the step."""
    watch = Watch()
    shopper, act = step()
    struck = act_in(number, strike, act)
    assert wrong(watch.sessions) == [], (step.__name__, number)
    clock.shift(LEASE)
    run_all_jobs()
    answer = act()
    assert answer.status_code < (500 if step in FORMS else 300), (number, answer.content)
    check(watch, shopper, step, number)
    outcome: Outcome = watch.outcome
    go_on(shopper, answer)
    check(watch, shopper, step, number)
    assert watch.rows["Order"] == 1
    assert ProviderCharge.objects.filter(outcome="succeeded").count() == Order.objects.count(), "charged once"
    return struck, outcome


def same(step: Step, outcome: Outcome, expected: Outcome) -> bool:
    return outcome == expected if step not in FORMS else outcome[1]["Order"] == expected[1]["Order"]


def play_until_through(step: Step, strike: Strike, clock: Any, act_in: Callable[..., bool]) -> None:
    outcomes: list[Outcome] = []
    struck = True
    while struck:
        struck, outcome = played(step, len(outcomes) + 1, strike, clock, act_in)
        outcomes.append(outcome)
    print(step.__name__, len(outcomes) - 1)
    assert len(outcomes) > 2, "It was struck several times."
    assert [number for number, one in enumerate(outcomes, 1) if not same(step, one, outcomes[-1])] == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_whose_process_is_killed_anywhere_is_done_once(step: Step, clock: Any) -> None:
    """R3, V7: nothing acknowledged is lost, nothing is done twice, no hold is left over, and the journey goes on."""
    play_until_through(step, die, clock, in_a_child)


@pytest.mark.parametrize("step", [hold, renewal])
def test_a_step_whose_answer_from_the_database_is_lost_is_done_once(step: Step, clock: Any) -> None:
    """V7: also when COMMIT has done its work and nobody was told."""
    play_until_through(step, lose_the_answer, clock, here)
