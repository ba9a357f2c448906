"""``python -m benchmarks.purge``: the rate of the purge beside one plain DELETE, and what web requests notice of it.

``--backlog`` sessions are made whose time is over, a million if you like, by copying a few real ones in the database:
the content of the copies does not open, which the purge does not try. They ended one after the other over a month, and
their ids and rows are in that order, as those of a shop are. Of the oldest, ``--sessions`` are deleted and as many are
purged; the rest is what the purge has before it while requests come. Those come at a steady rate that leaves the
processors room, as a shop's do; the purge runs in a process of its own, stopped and continued in turns, so that both
halves meet the same machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

P99_WITHIN = 1.5
TEMPLATES = 10
_AGE = timedelta(days=397)
_OVER = timedelta(days=30)
_PURGE = """
import django; django.setup()
from agent_sessions import services
begun = []
services.purge(limit=10**9, pause={pause}, progress=lambda *_: begun or (begun.append(1), print(flush=True)))
"""
# Which session each copy is of, in the order of their ends; the ids (UUID version 7) are in that order too.
_COPIES = """
    CREATE TEMP TABLE copies AS
    SELECT old, n, ended_at, (lpad(to_hex((extract(epoch FROM ended_at) * 1000)::bigint), 12, '0') || '7'
        || substr(digits, 1, 3) || '8' || substr(digits, 4, 15))::uuid AS new
    FROM (
        SELECT id AS old, n, md5(n || id::text) AS digits,
            now() - %(age)s - %(over)s * (1 - n::float / %(copies)s) AS ended_at
        FROM generate_series(1, %(copies)s) n, agent_sessions_session
        WHERE ended_at IS NOT NULL AND kind = 'quote'
    ) made ORDER BY ended_at, old"""
_TABLES = ("sessionkey", "sessionversion", "auditevent", "message")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.purge")
    parser.add_argument("--backlog", type=int, default=10_000, help="sessions whose time is over (default: 10000)")
    parser.add_argument("--sessions", type=int, default=2_000, help="of those, to delete, and to purge (default: 2000)")
    parser.add_argument("--rounds", type=int, default=6, help="turns with and without the purge (default: 6)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each turn (default: 3)")
    parser.add_argument("--per-second", type=float, default=20.0, help="requests per second (default: 20)")
    parser.add_argument("--pause", type=float, default=1.0, help="the purge's pause, as the job has it (default: 1)")
    wanted = parser.parse_args(arguments)

    from benchmarks.database import fresh_database

    with fresh_database():
        _make(wanted.backlog)
        ratio = measure(wanted)
    return 0 if ratio <= P99_WITHIN else 1


def measure(wanted: argparse.Namespace) -> float:
    """Print both tables for the sessions that there are; return p99 with the purge as a multiple of that without."""
    from benchmarks.report import table

    busy = os.getloadavg()[0]
    rows = list(_rates(wanted.sessions))
    print(table(("what", "sessions", "seconds", "per second", "against DELETE"), rows))
    rows, ratio = _requests(wanted)
    print(table(("cart.add over HTTP", "requests", "p50 ms", "p99 ms"), rows))
    print(f"p99 with the purge against without: {ratio:.2f}, to reach: at most {P99_WITHIN}")
    print(f"load of the machine before: {busy:.1f}, after: {os.getloadavg()[0]:.1f}")
    return ratio


# The rate


def _rates(number: int) -> Iterator[tuple[str, ...]]:
    """Delete sessions with all that hangs on them in one transaction, and purge as many by both rules."""
    from agent_sessions import services

    doomed = _ids(number)
    started = time.perf_counter()
    _delete(doomed)
    plain = time.perf_counter() - started
    yield "plain DELETE of the same rows", f"{number:,}", f"{plain:.1f}", f"{number / plain:,.0f}", "1"
    moments: dict[str, tuple[float, int]] = {}
    started = time.perf_counter()
    services.purge(limit=number, progress=lambda rule, done: moments.update({rule.name: (time.perf_counter(), done)}))
    for name in ("personal", "decision_log"):
        finished, erased = moments[name]
        yield f"purge, {name}", *_row(erased, finished - started, plain, number)
        started = finished


def _row(erased: int, taken: float, plain: float, number: int) -> tuple[str, ...]:
    rate = erased / taken
    return f"{erased:,}", f"{taken:.1f}", f"{rate:,.0f}", f"{rate / (number / plain):.2f}"


def _make(number: int) -> None:
    """Make sessions that ended more than 13 months ago, nothing erased yet."""
    from django.db import connection

    for _ in range(TEMPLATES):
        _template()
    with connection.cursor() as cursor:
        cursor.execute(_COPIES, {"age": _AGE, "over": _OVER, "copies": -(-number // TEMPLATES)})
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE agent_sessions_{table} DISABLE TRIGGER USER")
        _copy(cursor, "session", "id", token_digest="sha256(uuid_send(c.new))", family="c.new", kind="'standard'",
              ended_at="c.ended_at")  # fmt: skip
        for table in _TABLES:
            _copy(cursor, table, "session_id")
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE agent_sessions_{table} ENABLE TRIGGER USER")
        cursor.execute("DROP TABLE copies")
    _vacuum()


def _template() -> None:
    """A session as shops have them: a cart, what the consumer wants, some turns, ended."""
    from agent_sessions import services
    from agent_sessions.domain.identity import Agent

    line: dict[str, Any] = {"item": "mug", "quantity": 1, "unit_price": 1250, "currency": "EUR"}
    one = services.open_session(agent=Agent("Bench"), kind="quote", purpose="find a mug")
    for number in range(4):
        patch: Any = {"shopping": {"lines": {f"mug-{number}": line}}, "agent": {f"note-{number}": "as it said"}}
        services.change_session(one.session_id, expected_version=1 + number, patch=patch)
    for role in ("user", "agent"):
        services.add_message(one.session_id, role=role, content="A mug for my tea, please. " * 4)
    services.end_session(one.session_id)


def _copy(cursor: Any, table: str, key: str, **columns: str) -> None:
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [f"agent_sessions_{table}"]
    )
    names = [name for (name,) in cursor.fetchall()]
    chosen = ", ".join({key: "c.new", **columns}.get(name, f't."{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    cursor.execute(
        f"INSERT INTO agent_sessions_{table} ({listed}) SELECT {chosen} "
        f"FROM agent_sessions_{table} t JOIN copies c ON c.old = t.{key} ORDER BY c.ended_at, c.new"
    )


def _ids(number: int) -> list[Any]:
    from agent_sessions.models import Session

    return list(
        Session.objects.filter(kind="standard").order_by("ended_at", "pk").values_list("pk", flat=True)[:number]
    )


def _delete(ids: list[Any]) -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for table in reversed(_TABLES):
            cursor.execute(f"DELETE FROM agent_sessions_{table} WHERE session_id = ANY(%s)", [ids])
        cursor.execute("DELETE FROM agent_sessions_session WHERE id = ANY(%s)", [ids])


def _vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


# What web requests notice


def _requests(wanted: argparse.Namespace) -> tuple[list[tuple[str, ...]], float]:
    from benchmarks.http import FROM_MEMORY, STORES, Client, _server, _stock_shop

    items = _stock_shop()
    with _server(2, STORES[FROM_MEMORY]) as port, _purging(wanted.pause) as purge:
        client = Client(port)
        client.items = items
        client.create()
        _steady(client, wanted.per_second, wanted.seconds)
        times: dict[str, list[list[float]]] = {"without": [], "with": []}
        for turn in range(wanted.rounds):
            for side in ("without", "with") if turn % 2 == 0 else ("with", "without"):
                purge.send_signal(signal.SIGCONT if side == "with" else signal.SIGSTOP)
                time.sleep(0.2)
                client.create()
                times[side].append(_steady(client, wanted.per_second, wanted.seconds))
        if purge.poll() is not None:
            raise SystemExit("The purge was finished before the requests were: make more sessions (--backlog).")
    flat = {name: sorted(1000 * one for block in blocks for one in block) for name, blocks in times.items()}
    rows = [
        (f"{name} the purge", f"{len(all_of):,}", f"{statistics.median(all_of):.1f}", f"{_p99(all_of):.1f}")
        for name, all_of in flat.items()
    ]
    return rows, _p99(flat["with"]) / _p99(flat["without"])


def _p99(times: list[float]) -> float:
    return times[min(len(times) - 1, len(times) * 99 // 100)]


def _steady(client: Any, per_second: float, seconds: float) -> list[float]:
    """Send requests at a steady rate; each counts from when it was due, so that none hides behind a slow one."""
    started, taken = time.perf_counter(), []
    for number in range(int(per_second * seconds)):
        due = started + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        client.add()
        taken.append(time.perf_counter() - due)
    return taken


@contextmanager
def _purging(pause: float) -> Iterator[subprocess.Popen[str]]:
    """A purge in a process of its own, stopped once it has begun."""
    code = _PURGE.format(pause=pause)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
