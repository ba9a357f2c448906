"""Sixteen clients at once on one session, and web processes that are killed in the middle of their work."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection

from agent_sessions import selectors
from agent_sessions.store.shopping import cart_lines
from shop_demo.agent import Agent
from shop_demo.models import Variant
from shop_demo.serving import serving
from shop_demo.web import Answer, Problem, fetch
from tests.faults.conftest import dice  # noqa: F401 - a fixture
from tests.faults.support import PATIENCE, Child, at_once

CART = "/.well-known/agents/api/cart"
CLIENTS, CALLS = 16, 6
KILLS = 50


@pytest.fixture
def skus(goods: None) -> list[str]:
    """Things of which there is no end."""
    Variant.objects.update(stock=1_000_000)
    return list(Variant.objects.order_by("sku").values_list("sku", flat=True))


def send(method: str, url: str, token: str, body: Any = None, **headers: str) -> Answer:
    content = None if body is None else json.dumps(body).encode()
    sent = {"X-Agent-Session": token, "Content-Type": "application/json", **headers}
    return fetch(method, url, content=content, headers=sent)


def quantities(session_id: uuid.UUID) -> dict[str, int]:
    return dict(cart_lines(selectors.current_state(session_id).state).values())


def version_of(answer: Answer) -> int:
    return int(answer.headers["ETag"].strip('"v'))


# Sixteen at once


def test_sixteen_clients_get_what_was_acknowledged_or_are_told_what_changed(
    shop: str, skus: list[str], agent: Agent
) -> None:
    def shopper(number: int) -> list[tuple[str, Answer]]:
        """Every second client says which version its call is based on; four share each item."""
        sku, answers = skus[number % 4], []
        for _ in range(CALLS):
            headers = {"If-Match": send("GET", shop + CART, agent.token).headers["ETag"]} if number % 2 else {}
            answers.append((sku, send("POST", shop + CART, agent.token, {"item_id": sku}, **headers)))
        return answers

    results = at_once([lambda n=n: shopper(n) for n in range(CLIENTS)])

    acknowledged: Counter[str] = Counter()
    versions = []
    for answers in results:
        assert not isinstance(answers, Exception), answers
        for sku, answer in answers:
            if answer.status == 201:
                acknowledged[sku] += 1
                versions.append(version_of(answer))
                continue
            told = answer.json()
            assert (answer.status, told["code"]) in [(409, "version_conflict"), (412, "version_conflict")], told
            assert "Since then: " in told["error"]
            assert told["details"]["changes"], "it says what changed"
    session_id = selectors.session_of_token(agent.token).session_id
    assert quantities(session_id) == dict(acknowledged)
    assert sorted(versions) == list(range(2, 2 + sum(acknowledged.values()))), "each got a version of its own"
    assert acknowledged.total() > CLIENTS, "more than a few got through"
    assert selectors.verify_session(session_id).ok


# Killed in the middle of it


@dataclass
class Shopper:
    """One client, which adds one piece of its own item again and again until nobody answers."""

    site: str
    token: str
    sku: str
    acknowledged: int = 0
    unanswered: int = 0
    version: int = 0
    odd: list[str] = field(default_factory=list)

    def shop(self) -> None:
        while True:
            try:
                answer = send("POST", self.site + CART, self.token, {"item_id": self.sku})
            except Problem:
                self.unanswered += 1
                return
            if "Content-Length" not in answer.headers:  # the process was killed before it had told everything
                self.unanswered += 1
                return
            if answer.status == 201:
                self.version = version_of(answer)
                self.acknowledged += 1
            elif answer.status != 409:
                self.odd.append(f"{answer.status} {answer.text}")
                return


def web_process(tell: Callable[..., None]) -> None:
    """Serve the shop until killed."""
    with serving(0) as port:
        tell("port", port)
        threading.Event().wait()


def is_settled() -> bool:
    """Whether the database has finished with a killed process: it may still be at its last statements."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0] == 0


def wait_for(what: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, message
        time.sleep(0.002)


def test_a_web_process_that_is_killed_again_and_again_loses_nothing_it_acknowledged(
    skus: list[str],
    dice: random.Random,  # noqa: F811
) -> None:
    tokens: list[str] = []
    total: Counter[tuple[str, str]] = Counter()
    unanswered = 0

    for _ in range(KILLS):
        with Child(web_process) as process:
            while not process.told or not process.told[-1].startswith("port"):
                assert process.hear(), "The web process does not start."
            site = f"http://localhost:{process.told[-1].split()[1]}"
            # One session that outlived the last process, and a new one: two clients on each.
            opened = send("POST", site + "/.well-known/agents/api/session", "", {}).json()["data"]
            tokens = [*tokens[-1:], opened["session_token"]]
            shoppers = [Shopper(site, token, sku) for token in tokens for sku in skus[:2]]
            threads = [threading.Thread(target=one.shop, daemon=True) for one in shoppers]
            for thread in threads:
                thread.start()
            enough = dice.randrange(1, 25)
            wait_for(
                lambda s=shoppers, n=enough: sum(one.acknowledged for one in s) >= n or any(one.odd for one in s),
                "Nobody gets on.",
            )
            process.kill()
            process.wait()
        for thread in threads:
            thread.join(PATIENCE)
        wait_for(is_settled, "The database does not finish with the killed process.")

        for one in shoppers:
            assert not one.odd, one.odd
            session_id = selectors.session_of_token(one.token).session_id
            before = total[one.token, one.sku]
            found = quantities(session_id).get(one.sku, 0)
            assert before + one.acknowledged <= found <= before + one.acknowledged + one.unanswered
            assert selectors.read_head(session_id).version >= one.version
            report = selectors.verify_session(session_id)
            assert report.ok, report
            total[one.token, one.sku] = found
            unanswered += one.unanswered

    assert unanswered >= KILLS, "the processes were killed in the middle of it"
