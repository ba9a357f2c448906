"""``python -m benchmarks.finding``: finding a session, and the overview page, among ``--sessions`` of them.

What the admin asks the database for each way of looking: a page of 50 of the list, and the counts beside the filters.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.viewer_settings")

ROUNDS = 5


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finding")
    parser.add_argument("--sessions", type=int, default=5_000_000, help="how many there are (default: 5000000)")
    parser.add_argument("--explain", metavar="TEXT", help="show the plan of the ways whose name has this in it instead")
    wanted = parser.parse_args(arguments)

    from benchmarks.database import fresh_database
    from benchmarks.many import make_sessions

    with fresh_database():
        make_sessions(wanted.sessions)
        measure(explain=wanted.explain)
    return 0


def measure(*, explain: str | None = None) -> None:
    """Print the table for the sessions that there are."""
    from agent_sessions.selectors import admin_lists, finding
    from benchmarks.report import table

    if explain is not None:
        for name, narrow in _ways():
            if explain in name:
                sessions = narrow(admin_lists.listed_sessions()).order_by("-pk")[: finding.NEWEST]
                print(name, sessions.explain(analyze=True, buffers=True), sep="\n")
        return
    header = ("looked for", "found", "a page, ms", "counts, ms", "failure codes, ms")
    print(table(header, [_row(name, narrow) for name, narrow in _ways()]))
    print(table(("the overview page", "24 hours, ms", "7 days, ms", "30 days, ms"), _overview()))


def _row(name: str, narrow: Callable[[Any], Any]) -> tuple[str, ...]:
    from agent_sessions.selectors import admin_lists, finding

    page, _ = _timed(lambda: admin_lists.page_of_sessions(narrow(admin_lists.listed_sessions()), limit=50))
    newest, every = _timed(lambda: finding.newest(narrow(admin_lists.listed_sessions())))
    codes, _ = _timed(lambda: finding.failure_codes([one.session_id for one in every.sessions]))
    number = f"{len(every.sessions):,}{'+' if every.cut else ''}"
    return name, number, f"{page:.1f}", f"{newest:.1f}", f"{codes:.1f}"


def _overview() -> list[tuple[str, ...]]:
    from django.utils import timezone

    from agent_sessions.admin.dashboard import PERIODS, edges_of
    from agent_sessions.selectors import activity
    from agent_sessions.selectors.divergence import agreement

    now = timezone.now()
    edges = {period: edges_of(period, now) for period in PERIODS}
    parts: dict[str, Callable[[list[Any]], Any]] = {
        "sessions by time, kind and standing; checkouts": activity.activity,
        "failures": lambda times: activity.failures_between(times[0], times[-1]),
        "approvals": lambda times: activity.approval_waits(times[0], times[-1]),
        "alarms": lambda _: activity.alarms(now),
        "what does not agree": lambda _: agreement(),
        "backlog of the purge": lambda _: activity.purge_backlog(now),
    }
    return [
        (name, *(f"{_timed(partial(part, edges[period]))[0]:.1f}" for period in PERIODS))
        for name, part in parts.items()
    ]


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median time in milliseconds of some runs after a first one, and what it returned."""
    result = act()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000, result


def _ways() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every way of looking, for what there is much of and for what there is hardly any of."""
    from django.utils import timezone

    from agent_sessions.models import CheckoutHandoff, Session
    from agent_sessions.selectors import admin_lists, finding

    middle = Session.objects.filter(pk__gte=finding.first_id(timezone.now() - timedelta(days=180))).order_by("pk")[0]
    order = CheckoutHandoff.objects.filter(session_id__gt=middle.pk).exclude(order_ref="").order_by("session_id")[0]
    asked = Session.objects.filter(pk__gt=middle.pk).exclude(parent_request="").order_by("pk")[0]
    recent = Session.objects.exclude(consumer="").order_by("-pk")[0]
    now = timezone.now()

    def search(term: str) -> Callable[[Any], Any]:
        return lambda sessions: admin_lists.find_sessions(sessions, term)

    def having(**columns: str) -> Callable[[Any], Any]:
        return lambda sessions: sessions.filter(**columns)

    def failing(code: str) -> Callable[[Any], Any]:
        return lambda sessions: finding.with_failure(sessions, code)

    def opened(start: timedelta, end: timedelta = timedelta()) -> Callable[[Any], Any]:
        return lambda sessions: finding.opened_between(sessions, now - start, now - end)

    yield "nothing: the newest", lambda sessions: sessions
    yield "search: a whole id", search(str(middle.pk))
    yield "search: the beginning of an id", search(str(middle.pk)[:13])
    yield "search: an order", search(order.order_ref)
    yield "search: a parent request", search(asked.parent_request)
    yield "search: an agent of many", search("Basil")
    yield "search: an agent of few", search("agent-299")
    yield "search: nothing there is", search("nothing like it")
    yield "consumer", having(consumer=recent.consumer)
    yield "consumer and merchant", having(consumer=recent.consumer, merchant=recent.merchant)
    yield "agent: frequent", having(agent_name="Shopping helper")
    yield "agent: rare", having(agent_name="agent-299")
    yield "item: frequent", lambda sessions: finding.with_item(sessions, "MUG-7")
    yield "item: rare", lambda sessions: finding.with_item(sessions, "RARE-1")
    yield "parent request", having(parent_request=asked.parent_request)
    yield "merchant: rare", having(merchant="Fern")
    yield "merchant: none", having(merchant="Nobody")
    for status in ("active", "paused", "quarantined", "ended"):
        yield f"status: {status}", having(status=status)
    for kind in ("standard", "consumer", "approval"):
        yield f"kind: {kind}", having(kind=kind)
    for reason in ("completed", "revoked", "transferred"):
        yield f"how it ended: {reason}", having(end_reason=reason)
    codes = ("step:card_declined", "step:bank_unreachable", "step:none", "rule:spend_cap", "rule:embargo", "rule:none")
    for code in (*codes, "event:capability.refused", "event:approval.rejected", "event:session.none"):
        yield f"failure: {code}", failing(code)
    yield "waits for staff", lambda sessions: admin_lists.waiting_for_approval(sessions, for_staff=True)
    yield "opened in the past 24 hours", opened(timedelta(days=1))
    yield "opened in an hour half a year ago", opened(timedelta(days=180), timedelta(days=180, hours=-1))
    yield (
        "refused in the past 7 days, by its rule",
        lambda sessions: failing("rule:embargo")(opened(timedelta(days=7))(sessions)),
    )
    yield (
        "failed, of one agent, in a month",
        lambda sessions: having(agent_name="Basil of Acme")(
            failing("step:card_declined")(opened(timedelta(days=30))(sessions))
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
