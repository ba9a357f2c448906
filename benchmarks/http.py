"""The package over HTTP: the demo's shop behind gunicorn, each call in turns with an empty view on the same server.

Each worker has four threads and as many clients, so that it has something to do while the database answers: what is
measured is the rate that a server holds, and not how long a single client waits.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection

from benchmarks import machine
from benchmarks.measure import Result, Scale, Side, side

API = "/.well-known/agents/api"
EMPTY = "an empty view (POST)"
CART_ADD = "cart.add"
FROM_MEMORY = "prices in memory"
STORES = {
    FROM_MEMORY: "benchmarks.http_store.PricesInMemory",
    "prices by a query": "shop_demo.store.DemoStore",
}
WORKING = ("workers", "database", "clients")
THREADS = 4
OPERATIONS = 20
_PATIENCE = 30


class Client:
    """One agent, with a connection of its own for each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.items: list[str] = []
        self.token = self.ended = ""
        self.number = 0

    def ask(self, method: str, path: str, body: object = None, *, expected: int = 200) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["X-Agent-Session"] = self.token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text).get("data")

    def prepare(self) -> None:
        """Begin a block with a session that holds one line, and an ended one whose artifact is sealed."""
        self.token = ""
        created = self.ask("POST", f"{API}/session", {"agent_name": "Bench"}, expected=201)
        self.token = created["session_token"]
        self.add()
        self.ask("DELETE", f"{API}/session")
        self.ended, self.token = self.token, ""
        self.ask("GET", f"{API}/audit/{self.ended}")
        self.create()
        self.add()

    def create(self) -> None:
        self.token = ""
        created = self.ask("POST", f"{API}/session", {"agent_name": "Bench"}, expected=201)
        self.token = created["session_token"]

    def add(self) -> None:
        self.number += 1
        item = self.items[self.number % len(self.items)]
        self.ask("POST", f"{API}/cart", {"item_id": item, "quantity": 1}, expected=201)

    def operations(self) -> dict[str, Callable[[], Any]]:
        return {
            EMPTY: lambda: self.ask("POST", "/empty", {"item_id": "x", "quantity": 1}, expected=201),
            "session create": self.create,
            CART_ADD: self.add,
            "cart.view": lambda: self.ask("GET", f"{API}/cart"),
            "search with a session": lambda: self.ask("GET", f"{API}/search?q=tea"),
            "audit fetch": lambda: self.ask("GET", f"{API}/audit/{self.ended}"),
        }


def over_http(options: str, scale: Scale) -> Iterator[Result]:
    """Requests per second of each call, with one and with two worker processes.

    The targets hang on a store that has its prices in memory, so that what is measured is the package; beside it
    stands the demo's, which asks the database.
    """
    items = _stock_shop()
    for note, store in STORES.items():
        for workers in (1, 2):
            with _server(workers, store) as (port, master):
                clients = [Client(port) for _ in range(workers * THREADS)]
                for client in clients:
                    client.items = items
                sides, facts = _turns(clients, scale, master)
                yield Result("http", options, clients=workers, sides=sides, facts=facts, note=note)


def _turns(clients: list[Client], scale: Scale, master: int) -> tuple[list[Side], dict[str, float]]:
    """Measure each call, and how long processors worked for one of it: those of workers, database and clients, ms."""
    names = list(clients[0].operations())
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    worked: dict[str, float] = dict.fromkeys([f"{name}: {who}" for name in names for who in WORKING], 0.0)
    operations = scale.count(OPERATIONS)
    with ThreadPoolExecutor(len(clients)) as pool:
        for number in range(-1, scale.rounds):  # the first round is thrown away
            list(pool.map(Client.prepare, clients))
            for name in names if number % 2 == 0 else reversed(names):
                before, start = _worked(master), time.perf_counter()
                taken = list(pool.map(lambda client, name=name: _block(client, name, operations), clients))
                elapsed, after = time.perf_counter() - start, _worked(master)
                if number >= 0:
                    times[name] += taken
                    rates[name].append(sum(map(len, taken)) / elapsed)
                    for who in WORKING:
                        worked[f"{name}: {who}"] += after[who] - before[who]
    calls = operations * len(clients) * scale.rounds
    facts = {of: seconds * 1000 / calls for of, seconds in worked.items()}
    return [side(name, times[name], rates[name], rates[names[0]]) for name in names], facts


def _worked(master: int) -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        backends = [pid for (pid,) in cursor.fetchall()]
    spent = (machine.seconds_of(*machine.children(master)), machine.seconds_of(*backends), time.process_time())
    return dict(zip(WORKING, spent, strict=True))


def _block(client: Client, name: str, operations: int) -> list[float]:
    operation, taken = client.operations()[name], []
    for _ in range(operations):
        start = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - start)
    return taken


def _stock_shop() -> list[str]:
    """Fill the shop in a process with its settings, with stock that no run empties; return ids of items."""
    code = """
import django; django.setup()
from django.core.management import call_command
from shop_demo.models import Variant
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("seed_shop", verbosity=0)
Variant.objects.update(stock=1_000_000)
print("\\n" + " ".join(Variant.objects.order_by("pk").values_list("sku", flat=True)[:5]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()[-1].split()


@contextmanager
def _server(workers: int, store: str) -> Iterator[tuple[int, int]]:
    """Run the server; gives its port and the process whose children are the workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers),
        "--worker-class", "gthread", "--threads", str(THREADS), "--log-level", "warning", "benchmarks.http_wsgi",
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**_environment(), "BENCH_STORE": store})
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                Client(port).ask("GET", "/.well-known/agents.json")
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("The benchmark's server does not answer.") from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_PATIENCE)


def _environment() -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.http_settings"}
