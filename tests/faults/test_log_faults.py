"""The sequencer dies anywhere: no head is lost, none is signed twice with other roots, and the next run goes on (A4).

The points are found from outside, by watching the statements, the commits and the system calls of a sink.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from agent_sessions import services
from agent_sessions.models import TreeHead
from agent_sessions.sinks import DirectorySink
from tests.faults import support
from tests.faults.support import Child
from tests.sequenced import DISK, left_out, wrong_with_the_log

pytestmark = pytest.mark.django_db(transaction=True)

KILLS_AT_RANDOM = 4


@pytest.fixture
def sinks(tmp_path: Path, settings: Any) -> list[DirectorySink]:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(DirectorySink(name, tmp_path / name))
    entries = [{"name": name, "class": DISK, "directory": tmp_path / name} for name in ("one", "two")]
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "LOG_SINKS": entries}
    return made


class Roots:
    """Every head that was ever seen anywhere; two roots of one size are two histories."""

    def __init__(self, sinks: list[DirectorySink]) -> None:
        self._sinks = sinks
        self._seen: dict[tuple[str, int], bytes] = {}

    def look(self) -> None:
        """Compare the database and the sinks with all that was seen before."""
        assert wrong_with_the_log() == []
        stored = {
            (head.generation.origin, head.size): (bytes(head.root), set(head.exported_to))
            for head in TreeHead.objects.select_related("generation")
        }
        for place, (root, _) in stored.items():
            assert self._seen.setdefault(place, root) == root
        for sink in self._sinks:
            kept = {
                (one.head.origin, one.head.size): one.head.root for log in sink.origins() for one in sink.heads(log)
            }
            # Nobody has a head that the database does not, and nobody is said to have one who does not.
            assert kept.items() <= {place: root for place, (root, _) in stored.items()}.items()
            assert {place for place, (_, names) in stored.items() if sink.name in names} <= set(kept)


def die_at(number: int) -> None:
    """Kill this process before the n-th thing from now on that changes something; so after the one before, too."""
    points = count(1)

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            if next(points) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **options)

        return watched

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        return (dying(execute) if sql.startswith(("INSERT", "UPDATE")) else execute)(sql, params, many, context)

    connection.commit = dying(connection.commit)
    connection.execute_wrappers.append(watch)
    os.link = dying(os.link)
    os.fsync = dying(os.fsync)


def test_a_run_that_is_killed_at_any_point_is_gone_on_with(sinks: list[DirectorySink]) -> None:
    """A4: between append and signature, signature and export, one sink and the next, export and mark."""
    roots = Roots(sinks)
    killed = 0
    for number in count(1):
        while services.sequence_log().waiting:  # so that the next run does everything
            pass
        support.open_session()

        def work(tell: Callable[..., None], number: int = number) -> None:
            connection.ensure_connection()
            die_at(number)
            services.sequence_log()

        with Child(work) as child:
            died = child.wait() == signal.SIGKILL
        roots.look()
        if not died:
            break
        killed += 1

    assert killed >= 18
    assert left_out() == []
    assert not TreeHead.objects.filter(exported_at=None).exists()


def test_a_kill_between_signature_and_export_keeps_the_signature(sinks: list[DirectorySink], tmp_path: Path) -> None:
    """A4: the head was not seen by anybody, and it is the one that is exported."""
    support.open_session()

    def work(tell: Callable[..., None]) -> None:
        os.link = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        services.sequence_log()

    with Child(work) as child:
        assert child.wait() == signal.SIGKILL
    signed = TreeHead.objects.get()
    assert signed.exported_at is None
    assert list(sinks[0].heads("shop.example/agent-sessions/1")) == []
    support.open_session()

    services.sequence_log()

    for sink in sinks:
        assert [one.note for one in sink.heads("shop.example/agent-sessions/1")] == [signed.note]
    assert TreeHead.objects.get(size=signed.size).exported_at is not None


def test_sequencers_can_be_killed_at_any_moment(sinks: list[DirectorySink], dice: random.Random) -> None:
    """A4: two at once, on the same sessions and the same sinks."""
    roots = Roots(sinks)

    def work(tell: Callable[..., None]) -> None:
        while True:
            tell("run", services.sequence_log(limit=2).size)

    for _ in range(KILLS_AT_RANDOM):
        with Child(work) as one, Child(work) as other:
            for _ in range(3):
                support.open_session()
            assert one.hear()
            time.sleep(dice.uniform(0, 0.1))  # the moment of the kill; nothing depends on it
            for child in (one, other):
                child.kill()
            for child in (one, other):
                assert child.wait() == signal.SIGKILL
        roots.look()

    services.sequence_log()
    services.sequence_log()
    roots.look()
    assert left_out() == []
