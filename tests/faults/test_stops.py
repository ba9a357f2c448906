"""PostgreSQL stops at once, under load, again and again: what it acknowledged is there when it is back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.cluster import PATIENCE, Cluster

STOPS = 100
WRITERS = 2
ROOT = Path(__file__).parents[2]


@contextmanager
def python(*arguments: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of the tests on another database; it is gone after the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def say(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{words}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    words = process.stdout.readline().strip()
    assert words, f"It has ended: {process.args}"
    return words


def until_down(writer: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what the writer was told is stored, until it notices that the server is gone."""
    while (words := hear(writer)) != "down":
        yield words


@pytest.mark.postgres
def test_what_was_acknowledged_survives_an_immediate_stop_of_the_server(dice: random.Random) -> None:
    acknowledged = 0
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster())
        with python("django", "migrate", "--verbosity=0", url=cluster.url) as migrate:
            assert migrate.wait(PATIENCE) == 0
        checker = stack.enter_context(python("tests.faults.checker", url=cluster.url))
        writers = [
            stack.enter_context(python("tests.faults.writer", str(dice.getrandbits(32)), url=cluster.url))
            for _ in range(WRITERS)
        ]
        for stop in range(STOPS):
            for writer in writers:
                say(writer, "go")
            writes = [hear(writer) for writer in writers]  # from here on all of them are at it
            time.sleep(dice.uniform(0, 0.1))  # the moment of the stop; nothing depends on it
            cluster.stop_immediately()
            for writer in writers:
                writes += until_down(writer)
            cluster.start()
            say(checker, ",".join(writes))
            assert (found := hear(checker)) == "right", f"stop {stop}: {found}"
            acknowledged += len(writes)
        say(checker, "all")
        assert (found := hear(checker)) == "right", found
    print(f"{acknowledged} writes acknowledged, {STOPS} stops")
