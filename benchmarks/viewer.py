"""``python -m benchmarks.viewer``: the pages of a long session in the admin, beside plain SQL that reads the same rows.

A session of ``--versions`` versions and ``--events`` events is made through the services. Each page is asked for as a
browser does; what it asked the database is then asked again with nothing around it. Memory is what Python allocated at
most during one request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.viewer_settings"

ROUNDS = 7
OTHERS = ("of 100 versions, ms", "most memory, MB")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer")
    parser.add_argument("--versions", type=int, default=10_000, help="versions of the session (default: 10000)")
    parser.add_argument("--events", type=int, default=30_000, help="events of the session (default: 30000)")
    wanted = parser.parse_args(arguments)

    from benchmarks.database import fresh_database
    from benchmarks.report import table

    with fresh_database():
        short, long = _make(100, 300), _make(wanted.versions, wanted.events)
        client = _reader()
        header = ("page", "queries", "of 100 versions", "ms", "plain SQL, ms", "against plain SQL", *OTHERS)
        rows = list(_rows(client, short, long, wanted.versions, wanted.events))
    print(table(header, rows))
    grown = [row[0] for row in rows if int(row[1]) > int(row[2])]
    print("Pages that ask more of a longer session:", ", ".join(grown) or "none")
    return 1 if grown else 0


def _rows(client: Any, short: uuid.UUID, long: uuid.UUID, versions: int, events: int) -> Iterator[tuple[str, ...]]:
    for name, address in _pages(versions, events):
        page = f"/admin/agent_sessions/session/{long}/{address}"
        took = _median(lambda page=page: _get(client, page))
        queries = _queries(client, page)  # after it was asked for: the first time can make a key
        plain = _median(lambda queries=queries: _ask(queries))
        beside = f"/admin/agent_sessions/session/{short}/{dict(_pages(100, 300))[name]}"
        little = _median(lambda page=beside: _get(client, page))
        yield (
            name,
            str(len(queries)),
            str(len(_queries(client, beside))),
            f"{took:.0f}",
            f"{plain:.1f}",
            f"{took / plain:.1f}",
            f"{little:.0f}",
            f"{_memory(client, page):.1f}",
        )


def _pages(versions: int, events: int) -> Iterator[tuple[str, str]]:
    middle = versions // 2
    yield "overview", ""
    yield "timeline, the latest", "timeline/"
    yield "timeline, in the middle", f"timeline/?after={events // 2}"
    yield "timeline, what failed", "timeline/?failed=1"
    yield "a version in the middle", f"at/{middle}/"
    yield "the last version", f"at/{versions}/"
    yield "difference: the middle and the first", f"at/{middle}/?compare=1"
    yield "difference: the first and now", "at/1/?compare=now"
    yield "versions", "versions/"
    yield "events", "events/"
    yield "proof", "proof/"
    yield "evidence, all of it verified", "evidence/"
    yield "evidence, the download", "evidence/?as=json"


def _make(versions: int, events: int) -> uuid.UUID:
    """A session that changes its cart and its notes, with refusals and looks at the cart in between."""
    from agent_sessions import services
    from agent_sessions.domain.calls import Call
    from agent_sessions.domain.identity import Agent

    line: dict[str, Any] = {"item": "mug", "quantity": 1, "unit_price": 1250, "currency": "EUR"}
    patch: Any = {"shopping": {"lines": {f"mug-{number}": line for number in range(8)}}, "agent": {"about": "x" * 1200}}
    one = services.open_session(agent=Agent("Bench"), purpose="find a mug").session_id
    looks = Call("cart.view", "GET")
    refused = Call("checkout", "POST", policy_result="deny", policy_rule="spend_cap", response_status=403)
    written = 1
    for number in range(1, versions):
        services.change_session(one, expected_version=number, patch=patch, call=Call("cart.update", "PATCH"))
        patch = {"shopping": {"lines": {f"mug-{number % 8}": {"quantity": number % 9 + 1}}}, "agent": {"n": number}}
        written += 1
        while written < events * (number + 1) // versions:
            kind, call = ("capability.refused", refused) if written % 50 == 0 else ("cart.viewed", looks)
            services.record_event(one, kind=kind, call=call)
            written += 1
    return one


def _reader() -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    return client


def _get(client: Any, page: str) -> None:
    response = client.get(page)
    assert response.status_code == 200, f"{page}: {response.status_code}"
    for _ in response.streaming_content if response.streaming else ():
        pass


def _queries(client: Any, page: str) -> list[tuple[str, Any]]:
    from django.db import connection

    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        _get(client, page)
    return asked


def _ask(queries: list[tuple[str, Any]]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for sql, params in queries:
            cursor.execute(sql, params)
            if cursor.description is not None:
                cursor.fetchall()


def _median(act: Callable[[], None]) -> float:
    """Return the median time in milliseconds of some runs after a first one."""
    act()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _memory(client: Any, page: str) -> float:
    tracemalloc.start()
    _get(client, page)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
