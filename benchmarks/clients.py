"""Eight clients at once: processes that all run one contestant for a while, then all the other, in turns."""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import multiprocessing.synchronize
import queue
import traceback
import uuid
from time import perf_counter
from typing import Any

import msgspec

from benchmarks.measure import Side, side

CLIENTS = 8
WARM_UP = 5
"""Operations of each side that each client does before the first turn."""
_PATIENCE = 120


class Job(msgspec.Struct):
    """What all clients do: ``rounds`` turns of each side, ``seconds`` long. ``shared`` holds, for a fight
    over one session, the ids of both sides' sessions.
    """

    kb: int
    rounds: int
    seconds: float
    shared: tuple[uuid.UUID, uuid.UUID] | None = None


class Turn(msgspec.Struct):
    """What one client did in one turn."""

    side: str
    number: int
    elapsed: float
    times: list[float]
    refused: int = 0


class Outcome(msgspec.Struct):
    sides: list[Side]
    done: dict[str, int]
    refused: dict[str, int]


def compete(jobs: list[Job]) -> list[Outcome]:
    """Run the jobs one after the other on the same eight processes."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(CLIENTS), context.Queue()
    processes = [context.Process(target=_client, args=(jobs, barrier, answers), daemon=True) for _ in range(CLIENTS)]
    for process in processes:
        process.start()
    try:
        collected = [_collect(jobs[number], answers) for number in range(len(jobs))]
    finally:
        barrier.abort()
        for process in processes:
            process.join(timeout=10)
            process.kill()
    return collected


def _collect(job: Job, answers: Any) -> Outcome:
    turns: list[Turn] = []
    for _ in range(CLIENTS):
        try:
            answer = answers.get(timeout=_PATIENCE + 2 * job.rounds * job.seconds)
        except queue.Empty:
            raise RuntimeError("A client of the benchmark has stopped answering.") from None
        if isinstance(answer, str):
            raise RuntimeError(f"A client of the benchmark failed:\n{answer}")
        turns += msgspec.msgpack.decode(answer, type=list[Turn])
    names = list(dict.fromkeys(turn.side for turn in turns))
    rates = {
        name: [
            sum(len(turn.times) / turn.elapsed for turn in turns if turn.side == name and turn.number == number)
            for number in range(job.rounds)
        ]
        for name in names
    }
    return Outcome(
        sides=[
            side(name, [turn.times for turn in turns if turn.side == name], rates[name], rates[names[0]])
            for name in names
        ],
        done={name: sum(len(turn.times) for turn in turns if turn.side == name) for name in names},
        refused={name: sum(turn.refused for turn in turns if turn.side == name) for name in names},
    )


def _client(jobs: list[Job], barrier: multiprocessing.synchronize.Barrier, answers: Any) -> None:
    try:
        import django

        django.setup()
        for job in jobs:
            answers.put(msgspec.msgpack.encode(_work(job, barrier)))
        barrier.wait(_PATIENCE)  # an early leaver's exit must not disturb the last measurement
    except BaseException:  # noqa: BLE001  the parent is told and raises
        answers.put(traceback.format_exc())
        barrier.abort()


def _work(job: Job, barrier: multiprocessing.synchronize.Barrier) -> list[Turn]:
    from benchmarks.handwritten import NAME as THEIRS
    from benchmarks.handwritten import PlainJSONSession
    from benchmarks.ours import NAME as OURS
    from benchmarks.ours import OurSession

    operations: list[tuple[str, Any]]
    if job.shared:
        ours, theirs = OurSession(job.kb, job.shared[0]), PlainJSONSession(job.kb, session_id=job.shared[1])
        operations = [(OURS, ours.contend), (THEIRS, theirs.contend)]
    else:
        ours, theirs = OurSession(job.kb), PlainJSONSession(job.kb)
        operations = [(OURS, ours.change), (THEIRS, theirs.change)]
    for _, operation in operations * WARM_UP:
        operation()
    done = []
    for number in range(job.rounds):
        for name, operation in operations if number % 2 == 0 else reversed(operations):
            barrier.wait(_PATIENCE)
            done.append(_turn(name, number, operation, job))
    return done


def _turn(name: str, number: int, operation: Any, job: Job) -> Turn:
    start = now = perf_counter()
    times, refused = [], 0
    while now - start < job.seconds:
        answer = operation()
        refused += answer if job.shared else 0
        after = perf_counter()
        times.append(after - now)
        now = after
    return Turn(name, number, now - start, times, refused)
