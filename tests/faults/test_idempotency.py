"""The same request many times at once, killed in between, or with its answer lost: one effect, one answer (V7, R3)."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.models import IdempotencyRecord, Message, Session
from agent_sessions.services.idempotency import LEASE
from tests.api.conftest import AgentClient, small_host  # noqa: F401 - a fixture of every test here
from tests.api.store import Shelf
from tests.faults.support import Child, at_once, half_done

SENDERS = 16
CALL = ("POST", "/cart", {"item_id": "mug", "quantity": 1})
"""A call of a capability: its handler runs before the transaction of its effect and its answer."""
TURN = ("POST", "/session/messages", {"role": "agent", "content": "Good day."})
"""A write that is one transaction as a whole."""
WRITES = pytest.mark.parametrize("write", [CALL, TURN], ids=["call", "message"])

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shopper() -> AgentClient:
    agent = AgentClient(raise_request_exception=False)
    agent.open()
    return agent


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def sender(agent: AgentClient, write: Any, sent: dict[str, str]) -> Callable[[], Any]:
    """Send the request from a client of its own."""

    def send() -> Any:
        other = AgentClient()
        other.token = agent.token
        return other.send(*write, headers=sent)

    return send


def effects(agent: AgentClient) -> int:
    """How often the one write that a test makes has been made."""
    head = selectors.session_of_token(agent.token)
    return head.version - 1 + Message.objects.filter(session_id=head.session_id).count()


def require_one_effect(agent: AgentClient, write: Any, sent: dict[str, str]) -> Any:
    """Sent once more the request is answered, and then it has been carried out once."""
    answer = sender(agent, write, sent)()
    assert answer.status_code in (200, 201), answer.content
    assert effects(agent) == 1
    assert half_done(selectors.session_of_token(agent.token).session_id) == []
    return answer


# Many at once


@WRITES
def test_of_sixteen_at_once_one_has_an_effect_and_all_get_its_answer(shopper: AgentClient, write: Any) -> None:
    sent = key()

    answers = at_once([sender(shopper, write, sent)] * SENDERS)

    told = require_one_effect(shopper, write, sent)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {201, 409}, [answer.content for answer in answers]
    assert {answer.content for answer in answers if answer.status_code == 201} == {told.content}
    assert sum(answer.headers.get("Idempotent-Replayed") != "true" for answer in answers) == 1 + statuses[409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"request_in_progress"}


def test_sixteen_openings_at_once_open_one_session() -> None:
    sent, agent = key(), AgentClient()

    answers = at_once([lambda: AgentClient().send("POST", "/session", {}, headers=sent)] * SENDERS)

    assert Session.objects.count() == 1
    told = agent.send("POST", "/session", {}, headers=sent)
    assert {answer.content for answer in answers if answer.status_code == 201} == {told.content}
    agent.token = told.json()["data"]["session_token"]
    assert agent.data("GET", "/cart")["cart_size"] == 0


def test_sixteen_ends_at_once_end_it_once(shopper: AgentClient) -> None:
    sent = key()

    answers = at_once([sender(shopper, ("DELETE", "/session"), sent)] * SENDERS)

    assert {answer.status_code for answer in answers} <= {200, 409}
    events = selectors.events(selectors.session_of_token(shopper.token).session_id)
    assert [event["kind"] for event in events].count("session.ended") == 1
    assert shopper.send("DELETE", "/session", headers=sent).headers["Idempotent-Replayed"] == "true"


@WRITES
def test_sixteen_keys_at_once_are_sixteen_requests(shopper: AgentClient, write: Any) -> None:
    if write is CALL:
        write = ("PATCH", "/cart", {"item_id": "mug", "quantity": 1})
        shopper.data(*CALL, status=201)
    before = effects(shopper)

    answers = at_once([sender(shopper, write, key()) for _ in range(SENDERS)])

    made = sum(200 <= answer.status_code < 300 for answer in answers)
    assert {answer.status_code for answer in answers} <= {200, 201, 409, 503}
    assert made >= 1
    assert effects(shopper) == before + made
    assert IdempotencyRecord.objects.count() == made, "who was refused can send the same key again"


@WRITES
def test_of_sixteen_who_take_a_dead_claim_over_one_gets_it(shopper: AgentClient, write: Any) -> None:
    sent = key()
    send_and_die(shopper, write, sent, "after the claim")

    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
        at_once([sender(shopper, write, sent)] * SENDERS)
        require_one_effect(shopper, write, sent)


# Killed, or cut off


POINTS = {
    "after the claim": False,
    "after the lock": False,
    "after the answer": False,
    "before the commit": False,
    "after the commit": True,
}
"""Where a process is killed, and whether its effect is there then."""


def statement(sql: str) -> str:
    """Which statement of a write with a key ``sql`` is, if it is one of its own."""
    if "INSERT INTO agent_sessions_idempotencyrecord" in sql:
        return "the claim"
    if not sql.startswith('UPDATE "agent_sessions_idempotencyrecord"'):
        return ""
    return "the answer" if '"answer" = ' in sql.partition("WHERE")[0] else "the lock"


def send_and_die(agent: AgentClient, write: Any, sent: dict[str, str], point: str) -> None:
    """Send a request from a process that is killed at that point."""

    def work(tell: Callable[..., None]) -> None:
        commit = connection.commit
        last = [""]

        def die_if(moment: str) -> None:
            if moment == point:
                os.kill(os.getpid(), signal.SIGKILL)

        def watch(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            result = execute(sql, *rest)
            last[0] = statement(sql)
            die_if(f"after {last[0]}")
            return result

        def watched_commit() -> None:
            of_the_effect = last[0] == "the answer"
            if of_the_effect:
                die_if("before the commit")
            commit()
            if of_the_effect:
                die_if("after the commit")

        connection.commit = watched_commit  # type: ignore[method-assign]
        with connection.execute_wrapper(watch):
            sender(agent, write, sent)()

    with Child(work) as child:
        assert child.wait() == signal.SIGKILL, "it was to be killed on the way"


@WRITES
@pytest.mark.parametrize(("point", "stored"), POINTS.items(), ids=POINTS)
def test_a_process_that_is_killed_leaves_all_or_nothing(
    shopper: AgentClient, write: Any, point: str, stored: bool
) -> None:
    sent = key()
    send_and_die(shopper, write, sent, point)

    assert effects(shopper) == stored
    again = sender(shopper, write, sent)()
    if stored:
        assert again.headers["Idempotent-Replayed"] == "true"
    else:
        assert (again.status_code, again.json()["code"]) == (409, "request_in_progress")
        with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
            again = sender(shopper, write, sent)()
            assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)
    require_one_effect(shopper, write, sent)


@contextmanager
def losing_a_commit(*, stored: bool) -> Iterator[None]:
    """The connection breaks at the COMMIT of the effect, after the database has done it or before."""
    commit = connection.commit
    seen = [False]

    def watch(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen[0] = seen[0] or statement(sql) == "the answer"
        return execute(sql, *rest)

    def broken_commit() -> None:
        if not seen[0]:
            return commit()
        seen[0] = False
        if stored:
            commit()
        raise OperationalError("server closed the connection unexpectedly")

    connection.commit = broken_commit  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(watch):
            yield
    finally:
        del connection.commit


@WRITES
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_who_lost_the_answer_to_the_commit_sends_it_again_and_has_it_once(
    shopper: AgentClient, write: Any, stored: bool, caplog: pytest.LogCaptureFixture
) -> None:
    sent = key()
    with losing_a_commit(stored=stored):
        assert shopper.send(*write, headers=sent).status_code == 500
    assert effects(shopper) == stored

    again = shopper.send(*write, headers=sent)

    assert again.status_code == 201, "and at once: nobody has to wait for the lease"
    assert ("Idempotent-Replayed" in again.headers) is stored
    require_one_effect(shopper, write, sent)


def test_a_handler_that_outlives_its_lease_has_no_second_effect(
    shopper: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends the request again takes it over; the slow one finds that out before it writes."""
    sent, price = key(), Shelf.price
    slow, other_is_done = threading.Event(), threading.Event()

    def price_slowly(*args: Any, **facts: Any) -> Any:
        if not slow.is_set():
            slow.set()
            assert other_is_done.wait(60)
        return price(*args, **facts)

    monkeypatch.setattr(Shelf, "price", price_slowly)

    def come_later() -> Any:
        assert slow.wait(60)
        with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
            answer = sender(shopper, CALL, sent)()
        other_is_done.set()
        return answer

    first, second = at_once([sender(shopper, CALL, sent), come_later])

    assert (second.status_code, first.status_code) == (201, 409)
    assert first.json()["code"] == "request_in_progress"
    assert require_one_effect(shopper, CALL, sent).content == second.content


def test_many_who_purge_at_once_do_each_other_no_harm(shopper: AgentClient) -> None:
    head = selectors.session_of_token(shopper.token)
    for number in range(30):
        services.run_once(head, lambda: None, operation="test", key=str(number), request=None)
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        purged = at_once([lambda: services.purge_idempotency_records(limit=10)] * 8)
        left = IdempotencyRecord.objects.count()
        again = services.purge_idempotency_records()

    assert sum(purged) + left == 30, purged
    assert sum(purged) >= 10
    assert again == left
