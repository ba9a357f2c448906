"""The stories again, on a database that is lost at a commit: its answer does not come, or all of it is killed.

It is lost at some of the commits of each story, some before they were stored and some after, by a proxy that sees them
go by. An agent that is told that the shop has failed sends the same again with the same key; a person sends the form.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import InterfaceError, OperationalError, connection

from agent_sessions import selectors
from shop_demo.human import Human
from shop_demo.stories import STORIES
from shop_demo.web import Answer, Problem, fetch
from tests.faults.cluster import PATIENCE, Cluster
from tests.faults.proxy import Break, Plan, Proxy
from tests.journeys.company import WRITES, Company
from tests.journeys.outcomes import History, Watch, done, run_all_jobs, unpaid, wrong
from tests.journeys.striking import LEASE

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="it is about PostgreSQL: set DATABASE_URL"),
]
ROOT: Final = Path(__file__).parents[2]
TRIES: Final = 50


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        migrate = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
        environment = {**os.environ, "DATABASE_URL": server.url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True, timeout=PATIENCE)
        yield server


@pytest.fixture(autouse=True)
def proxy(transactional_db: None, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The test's database is on a server of its own, behind a proxy."""
    with Proxy(("127.0.0.1", cluster.port)) as between, monkeypatch.context() as patch:
        behind: dict[str, object] = {
            "HOST": "127.0.0.1",
            "PORT": str(between.port),
            "NAME": "postgres",
            "USER": "postgres",
        }
        behind |= {"OPTIONS": {"sslmode": "disable", "gssencmode": "disable"}}
        for name, value in behind.items():
            patch.setitem(connection.settings_dict, name, value)
        connection.close()
        yield between
        connection.close()


class Unlucky:
    """Sends what the players send; when the database was lost, brings it back and sends the same again."""

    def __init__(self, proxy: Proxy, clock: Any, plan: Plan, bring_back: Callable[[], None]) -> None:
        self._proxy = proxy
        self._clock = clock
        self._plan = plan
        self._bring_back = bring_back
        self.lost: list[str] = []
        self.waited = False
        self.link = ""

    def agent(self, method: str, url: str, *, headers: Any = None, **more: Any) -> Answer:
        """Whoever is told that the request is still running asks again when that cannot be any more."""
        told = {**(headers or {}), "Idempotency-Key": str(uuid.uuid4())}
        if method not in WRITES:
            return fetch(method, url, headers=told, **more)
        for _ in range(TRIES):
            answer, lost = self._send(method, url, headers=told, **more)
            if answer.status == 409 and answer.json()["code"] == "request_in_progress":
                self._wait()
            elif not lost or answer.status < 500:
                return answer
        raise AssertionError(f"{method} {url} does not get through: {answer.text}")

    def person(self, method: str, url: str, **more: Any) -> Answer:
        """Whoever gets an error page waits until a payment that was under way is decided."""
        if "/handoff/" in url:
            self.link = url
        for _ in range(TRIES):
            answer, lost = self._send(method, url, **more)
            if not lost or answer.status < 500:
                return answer
            self._wait()
            run_all_jobs()
        raise AssertionError(f"{method} {url} does not get through: {answer.text}")

    def jobs(self) -> None:
        for _ in range(TRIES):
            broken = self._proxy.broken
            try:
                with self._proxy.breaking(self._plan):
                    run_all_jobs()
            except (OperationalError, InterfaceError):
                assert self._proxy.broken > broken
            if self._proxy.broken == broken:
                return
            self._recover("the jobs")
            self._wait()

    def _send(self, method: str, url: str, **more: Any) -> tuple[Answer, bool]:
        broken = self._proxy.broken
        with self._proxy.breaking(self._plan):
            answer = fetch(method, url, **more)
        lost = self._proxy.broken > broken
        assert lost or answer.status < 500, (method, url, answer.text)
        if lost:
            self._recover(f"{method} {url.rpartition('/')[2]}")
        return answer, lost

    def _wait(self) -> None:
        """Let so much time pass that whatever the database was lost at counts as dead."""
        self.waited = True
        self._clock.shift(LEASE)

    def _recover(self, where: str) -> None:
        self.lost.append(where)
        self._bring_back()
        connection.close()


def nothing() -> None:
    pass


def every(number: int) -> Plan:
    """Let each commit of that number, twice that number and so on break, not stored and stored in turn."""
    return lambda commit: Break(stored=commit // number % 2 == 0) if commit % number == 0 else None


def at_the_latest(breaks: list[tuple[int, Break]]) -> Plan:
    """Let each happen once, at the commit of its number or the first after it that can break."""
    return lambda commit: breaks.pop(0)[1] if breaks and commit >= breaks[0][0] else None


def played(company: Company, unlucky: Unlucky, name: str) -> None:
    """Play a story with agents and jobs that lose the database; it ends as it does for the lucky."""
    histories, rows = company.plain(name)
    told, added = company.play(name, by_agents=unlucky.agent, jobs=unlucky.jobs)
    assert added == rows, (name, unlucky.lost)
    if unlucky.waited:  # what the shop changed just before is marked for safety; it is not any more
        assert sorted(map(marks_aside, told)) == sorted(map(marks_aside, histories)), (name, unlucky.lost)
    else:
        assert sorted(map(done, told)) == sorted(map(done, histories)), (name, unlucky.lost)
    assert wrong(selectors.session_ids()) + unpaid() == [], (name, unlucky.lost)


def marks_aside(history: History) -> list[str]:
    return [kind for kind, _ in done(history) if kind != "session.marked_stale"]


def test_a_story_whose_commits_are_lost_with_their_answers_ends_as_it_did(company: Company, proxy: Proxy) -> None:
    """R3, V7: whether the commit was carried out or not, nobody was told: each effect is there once."""
    lost = 0
    for name in STORIES:
        unlucky = Unlucky(proxy, company.clock, every(5), nothing)
        played(company, unlucky, name)
        assert unlucky.lost, name
        lost += len(unlucky.lost)
    print(lost, "answers lost")


@pytest.mark.parametrize("first", [1, 3])
def test_a_form_whose_commits_are_lost_with_their_answers_counts_once(
    company: Company, proxy: Proxy, first: int
) -> None:
    """R3: who sees an error page waits, sends the form again, and in the end follows the link anew: paid just once."""
    for name in ("declined", "approval", "price", "rollback"):
        start = proxy.commits + first
        breaks = {start + 4 * number: Break(stored=number % 2 == 0) for number in range(3)}
        unlucky, watch = Unlucky(proxy, company.clock, breaks.get, nothing), Watch()
        with suppress(Problem):  # the story may want a page that only the lucky see
            company.play(name, by_people=unlucky.person)
        assert unlucky.lost, name
        pay_if_it_is_not_paid(unlucky.link)
        assert watch.rows["Order"] == 1, (name, unlucky.lost)
        assert wrong(selectors.session_ids()) + unpaid() == [], (name, unlucky.lost)


def pay_if_it_is_not_paid(link: str) -> None:
    person = Human()
    page = person.open(link)
    if page.form_with("token") is not None:
        person.pay(page)


def test_a_story_whose_database_is_killed_ends_as_it_did(company: Company, proxy: Proxy, cluster: Cluster) -> None:
    """R3: killed before a commit and after another; what was acknowledged is there when it is back."""
    for name in STORIES:
        start = proxy.commits
        kills = [(start + 4, Break(stored=False, strike=cluster.kill)), (start + 9, Break(True, cluster.kill))]
        unlucky = Unlucky(proxy, company.clock, at_the_latest(kills), cluster.start)
        played(company, unlucky, name)
        assert len(unlucky.lost) == 2, (name, unlucky.lost)
