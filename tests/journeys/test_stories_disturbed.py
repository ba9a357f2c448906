"""The stories again, while something goes wrong around them: they end as they did, and nothing is done twice.

What is disturbed is what lies between the players and the shop: requests arrive twice, the jobs are run by two at once,
the clock is set.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions import selectors
from agent_sessions.models import Hold, Session
from shop_demo.agent import Refused
from shop_demo.models import Order
from shop_demo.stories import STORIES
from shop_demo.web import Answer, Problem, fetch
from tests.faults.support import at_once
from tests.journeys.company import HOUR, WRITES, Company
from tests.journeys.outcomes import Watch, done, run_all_jobs, wrong

pytestmark = pytest.mark.timeout(300)
BEGINNINGS = ("/session", "/renew", "/forks", "/transfer", "/approvals", "/holds", "/checkout")
MONTH = timedelta(days=30)


def test_a_story_whose_every_request_arrives_twice_ends_as_it_did(company: Company) -> None:
    """V7: the same Idempotency-Key, the same answer, one effect. A refused request is decided, and noted, anew."""

    def twice(method: str, url: str, *, headers: Any = None, **more: Any) -> Answer:
        told = {**(headers or {}), "Idempotency-Key": str(uuid.uuid4())}
        first = fetch(method, url, headers=told, **more)
        if method in WRITES:
            again = fetch(method, url, headers=told, **more)
            assert again.status == first.status, (method, url, first.text, again.text)
            if first.status < 300 and "/.well-known/" in url:
                assert again.headers["Idempotent-Replayed"] == "true"
                assert (again.body, again.headers["ETag"]) == (first.body, first.headers["ETag"])
        return first

    for name in STORIES:
        histories, rows = company.plain(name)
        of_twice, rows_of_twice = company.play(name, by_agents=twice)
        assert rows_of_twice == rows, name
        assert [done(one) for one in of_twice] == [done(one) for one in histories], name
    assert wrong(selectors.session_ids()) == []


def test_a_form_that_a_person_sends_twice_counts_once(company: Company) -> None:
    """A payment is made once, an approval answered once."""

    def twice(method: str, url: str, **more: Any) -> Answer:
        first = fetch(method, url, **more)
        if method == "POST":
            assert fetch(method, url, **more).status < 500
        return first

    for name in ("declined", "crash", "approval", "devices"):
        assert company.play(name, by_people=twice)[1] == company.plain(name)[1], name
    assert wrong(selectors.session_ids()) == []


def test_jobs_that_two_run_at_once_do_what_one_does(company: Company) -> None:
    """The beat runs twice, before every write of an agent and whenever the story lets the jobs run."""

    def two_run_the_jobs() -> None:
        assert at_once([run_all_jobs, run_all_jobs]) == [None, None]

    def after_the_jobs(method: str, url: str, **more: Any) -> Answer:
        if method in WRITES:
            two_run_the_jobs()
        return fetch(method, url, **more)

    for name in STORIES:
        histories, rows = company.plain(name)
        twice, rows_of_twice = company.play(name, by_agents=after_the_jobs, jobs=two_run_the_jobs)
        assert rows_of_twice == rows, name
        assert [Counter(one) for one in twice] == [Counter(one) for one in histories], name
    assert wrong(selectors.session_ids()) == []


def test_a_clock_that_is_set_back_and_forward_again_changes_nothing(company: Company) -> None:
    """L6: nothing ends that should not, no deadline moves, and no time in a history runs backwards."""

    def an_hour_ago(act: Callable[..., Any], *args: Any, **more: Any) -> Any:
        company.clock.shift(-HOUR)
        try:
            return act(*args, **more)
        finally:
            company.clock.shift(HOUR)

    def back(method: str, url: str, **more: Any) -> Answer:
        if url.endswith(BEGINNINGS):  # what is begun an hour ago is over an hour earlier
            return fetch(method, url, **more)
        answer: Answer = an_hour_ago(fetch, method, url, **more)
        return answer

    def jobs() -> None:
        an_hour_ago(run_all_jobs)
        run_all_jobs()

    for name in STORIES:
        told = company.play(name, by_agents=back, by_people=partial(an_hour_ago, fetch), jobs=jobs)
        assert told == company.plain(name), name
    assert wrong(selectors.session_ids()) == []


@pytest.mark.parametrize("late", ["the agent", "the human"])
def test_a_clock_that_jumps_ahead_ends_every_story_cleanly(company: Company, late: str) -> None:
    """L6, X1: whoever comes when all deadlines have passed is refused; nothing is sold or held any more."""
    for name in STORIES:
        statuses: list[int] = []
        jumped: list[datetime] = []

        def ahead(method: str, url: str, statuses: Any = statuses, jumped: Any = jumped, **more: Any) -> Answer:
            if method in WRITES and len(statuses) >= (4 if late == "the agent" else 1) and not jumped:
                company.clock.shift(MONTH)
                jumped.append(timezone.now())
            statuses.append(0)
            answer = fetch(method, url, **more)
            statuses[-1] = answer.status
            return answer

        watch = Watch()
        sender = {"by_agents" if late == "the agent" else "by_people": ahead}
        with suppress(Refused, Problem):
            company.play(name, **sender)
        assert jumped, name
        assert not [one for one in statuses if one >= 500], name
        run_all_jobs()
        opened_before = Session.objects.filter(created_at__lt=jumped[0])
        assert not opened_before.filter(ended_at=None).exists(), name
        assert not Hold.objects.filter(released_at=None, held_at__lt=jumped[0]).exists(), name
        late_orders = Order.objects.filter(session_id__in=watch.sessions)
        assert not late_orders.filter(session_id__in=opened_before.values("pk")).exists(), name
    assert wrong(selectors.session_ids()) == []
