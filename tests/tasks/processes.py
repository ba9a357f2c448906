"""Real workers and a real beat of the demo project, on the tests' database and on queues of their own in Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from celery import Celery
from django.db import connection

PATIENCE = 60
"""Seconds that anything here may take before it counts as hanging."""
ROOT = Path(__file__).parents[2]


class Jobs:
    """Processes of ``celery -A shop_demo`` that have one queue between them; none is left after the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker = os.environ["BROKER_URL"]
        self._prefix = f"agent-sessions-tests-{uuid.uuid4()}:"
        self._running = ExitStack()
        self._logs: list[Path] = []
        self._app = Celery(broker=self._broker, set_as_current=False)
        self._app.conf.broker_transport_options = {"global_keyprefix": self._prefix}

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._running.close()
        self._app.close()
        with redis.Redis.from_url(self._broker) as client:
            for key in client.scan_iter(f"{self._prefix}*"):
                client.delete(key)

    def beat(self) -> None:
        """Start the beat: every job is due every second."""
        self._start("beat", "--schedule", str(self._folder / "schedule"))

    def worker(self, *, processes: int = 1) -> Worker:
        """Start a worker and wait until it is ready; ``processes`` is how many jobs it runs at a time."""
        name = f"worker-{len(self._logs)}"
        started = self._start("worker", f"--concurrency={processes}", f"--hostname={name}@tests")
        self.until(lambda: f"{name}@tests ready." in self.log())
        return Worker(started, self._app, f"{name}@tests")

    def send(self, job: str) -> None:
        """Put a job into the queue, as the beat does."""
        self._app.send_task(job)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; tell what the processes printed if it takes too long."""
        latest = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < latest, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return "\n".join(path.read_text() for path in self._logs)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{len(self._logs)}.log"
        self._logs.append(log)
        command = [sys.executable, "-m", "celery", "-A", "shop_demo", *arguments, "--loglevel=info"]
        return self._running.enter_context(_group(command, self._environment(), log))

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.tasks.settings",
            "DATABASE_URL": _database_url(),
            "BROKER_URL": self._broker,
            "QUEUE_PREFIX": self._prefix,
        }


class Worker:
    """A running worker: one process that talks to the broker, and those of its pool, which run the jobs."""

    def __init__(self, process: subprocess.Popen[bytes], app: Celery, name: str) -> None:
        self._process = process
        self._app = app
        self._name = name

    def kill(self) -> None:
        """Kill all of it, as losing the machine would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def pool(self) -> list[int]:
        """Return the ids of the processes that run jobs."""
        stats = self._app.control.inspect([self._name], timeout=PATIENCE, limit=1).stats()
        assert stats, f"{self._name} does not answer."
        return list(stats[self._name]["pool"]["processes"])


@contextmanager
def _group(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process whose children die with it at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def _database_url() -> str:
    """Return the address of the database that this test runs on, which is not the one that DATABASE_URL names."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
