"""The process that serves the shop dies anywhere on the way of a request; who got no answer sends it again.

It dies before and after each commit, one after the other, until it gets through; what came of that last one has to come
of every other. What is killed within a transaction is as if it were killed before the commit.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import CheckoutHandoff, Session
from shop_demo.models import Order, ProviderCharge, Variant
from tests.faults.support import Child
from tests.journeys.outcomes import Outcome, Watch, run_all_jobs, wrong
from tests.shop_demo.people import ADDRESS, API, CHECKOUT, HIDDEN, PAYS

pytestmark = pytest.mark.timeout(300)
POT = "CELADON-05L"
LEASE = timedelta(seconds=61)
"""After so long a request whose process is gone counts as dead."""
_WRITES = ("INSERT", "UPDATE", "DELETE", "SELECT agent_sessions_write")
Act = Callable[[], Any]


class Shopper:
    """An agent with a pot in its cart, and the person whom it shops for. What they send is served by this process."""

    def __init__(self, pots: int = 1) -> None:
        self.token = ""
        self.begins_with(self.send("POST", "/session", {"agent_name": "Pocket Assistant"}))
        self.send("POST", "/cart", {"item_id": POT, "quantity": pots})

    def begins_with(self, data: Any) -> None:
        self.token, self.session_id = data["session_token"], uuid.UUID(data["session_id"])

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", token: str | None = None) -> Any:
        token = self.token if token is None else token
        told = {"X-Agent-Session": token, "Idempotency-Key": key}
        headers = {name: value for name, value in told.items() if value}
        client = Client(raise_request_exception=False)
        return client.generic(
            method, API + path, json.dumps(body or {}), content_type="application/json", headers=headers
        )

    def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code < 300, answer.content
        return answer.json()["data"]

    def asking(self, path: str, body: Any = None, *, token: str | None = None) -> Act:
        """Return a request that can be sent again."""
        key, now = str(uuid.uuid4()), self.token if token is None else token
        return lambda: self.ask("POST", path, body, key=key, token=now)

    def paying(self) -> Act:
        """Hand over, and return what the person does: look at the page, and pay if there is something to pay."""
        client = Client(raise_request_exception=False)
        client.get("/" + self.send("POST", "/checkout")["checkout_url"].split("/", 3)[3], follow=True)

        def pay() -> Any:
            page = client.get(CHECKOUT)
            form = dict(HIDDEN.findall(page.content.decode()))
            return client.post(CHECKOUT, {**form, **ADDRESS, "token": PAYS}, follow=True) if form else page

        return pay

    def approving(self) -> Act:
        """Ask for approval, and return what the person does: type what it costs and agree."""
        assert self.ask("POST", "/checkout").status_code == 403
        asked = self.send("POST", "/session/approvals", {"reason": "Pots for the office."})
        address = "/" + asked["approval_url"].split("/", 3)[3]
        client = Client(raise_request_exception=False)
        return lambda: client.post(address, {"total": asked["amount"], "answer": "grant"})


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


@pytest.fixture(autouse=True)
def shop(goods: None, configure: Callable[..., None], clock: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES", STEPS="shop_demo.steps.RULES")
    Variant.objects.update(stock=1000)


@contextmanager
def disturbed(number: int, strike: Callable[[], None]) -> Iterator[None]:
    """Let something strike at the ``number``-th point of the block: before or after a commit.

    A statement that writes outside of a transaction is a commit too.
    """
    reached, commit = 0, connection.commit

    def reach() -> None:
        nonlocal reached
        reached += 1
        if reached == number:
            strike()

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.lstrip().startswith(_WRITES) and not connection.in_atomic_block:
            reach()
        return result

    def watched_commit() -> None:
        reach()
        commit()
        reach()

    connection.commit = watched_commit
    try:
        with connection.execute_wrapper(watch):
            yield
    finally:
        connection.commit = commit


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lose_the_answer() -> None:
    connection.connection.close()
    raise OperationalError("The answer was lost.")


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


def played(step: Step, number: int, strike: Callable[[], None], clock: Any, act_in: Callable[..., bool]) -> Any:
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


def in_a_child(number: int, strike: Callable[[], None], act: Act) -> bool:
    def work(tell: Callable[..., None]) -> None:
        with disturbed(number, strike):
            tell("answered", act().status_code)

    with Child(work) as child:
        return child.wait() == signal.SIGKILL


def here(number: int, strike: Callable[[], None], act: Act) -> bool:
    struck = False

    def note_and_strike() -> None:
        nonlocal struck
        struck = True
        strike()

    with disturbed(number, note_and_strike):
        act()
    connection.close()
    return struck


def same(step: Step, outcome: Outcome, expected: Outcome) -> bool:
    return outcome == expected if step not in FORMS else outcome[1]["Order"] == expected[1]["Order"]


def play_until_through(step: Step, strike: Callable[[], None], clock: Any, act_in: Callable[..., bool]) -> None:
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
