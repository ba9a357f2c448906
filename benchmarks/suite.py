"""The benchmarks. Each takes the name of the database options in force and a scale, and yields results."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks import handwritten, ours, peers
from benchmarks.clients import CLIENTS, WARM_UP, Job, compete
from benchmarks.handwritten import PlainJSONSession
from benchmarks.http import over_http
from benchmarks.measure import Contestant, Result, Scale, block, turns
from benchmarks.ours import BLOCKS, HALF_WAY, OurSession
from benchmarks.profiling import breakdown
from benchmarks.workload import SIZES

_VACUUMED = 384
"""Changes between two runs of VACUUM: a cart of 256 kB has 1 490 lines, and autovacuum comes once 50 rows and a fifth
of all are replaced.
"""
Benchmark = Callable[[str, Scale], Iterator[Result]]


def stored(options: str, scale: Scale) -> Iterator[Result]:
    """Bytes on disk per change: tables, indexes and TOAST, before and after.

    Rows that a change has replaced are vacuumed now and then, as autovacuum does while a server is in use: their space
    is used again and not stored for good.
    """
    for kb in SIZES:
        count = BLOCKS[256] * scale.count(10)
        session, plain = OurSession(kb), PlainJSONSession(kb)
        before, plain_before = ours.stored_bytes(), ours.relation_bytes(handwritten.TABLES)
        for number in range(count):
            if number % _VACUUMED == 0:
                ours.vacuum(*ours.UPDATED_TABLES)
            session.change()
        after = ours.stored_bytes()
        plain_count = BLOCKS[256] if kb == 256 else count
        for number in range(plain_count):
            if number % _VACUUMED == 0:
                ours.vacuum(handwritten.UPDATED_TABLE)
            plain.change()
        plain_after = ours.relation_bytes(handwritten.TABLES)
        facts = ours.event_and_content_bytes(session.id)
        facts["change"] = (sum(after.values()) - sum(before.values())) / count
        facts["hand-written"] = (sum(plain_after.values()) - sum(plain_before.values())) / plain_count
        for name, table in {"events": ours.EVENT_TABLE, "versions": ours.VERSION_TABLE}.items():
            facts[name] = (after[table] - before[table]) / count
        yield Result("stored", options, kb=kb, facts=facts, note=f"{count} changes")


def change(options: str, scale: Scale) -> Iterator[Result]:
    """A change, one client."""
    for kb in SIZES:
        rivals = [
            Contestant(ours.NAME, OurSession(kb).change, operations=BLOCKS[kb]),
            Contestant(handwritten.NAME, PlainJSONSession(kb).change),
        ]
        yield Result("change", options, kb=kb, sides=turns(rivals, operations=64, scale=scale))


def clients(options: str, scale: Scale) -> Iterator[Result]:
    """A change, eight clients with a session each."""
    jobs = [Job(kb=kb, rounds=scale.rounds, seconds=scale.seconds(0.6)) for kb in SIZES]
    for job, outcome in zip(jobs, compete(jobs), strict=True):
        yield Result("change", options, kb=job.kb, clients=CLIENTS, sides=outcome.sides)


def contention(options: str, scale: Scale) -> Iterator[Result]:
    """Eight clients that all change one session: acknowledged changes, and whether any was lost."""
    session, plain = OurSession(2), PlainJSONSession(2)
    job = Job(kb=2, rounds=scale.rounds, seconds=scale.seconds(0.6), shared=(session.id, plain.id))
    [outcome] = compete([job])
    plain.read()
    versions = {ours.NAME: OurSession(2, session.id).version, handwritten.NAME: plain.version}
    for name, version in versions.items():
        acknowledged = outcome.done[name] + WARM_UP * CLIENTS
        assert version == 1 + acknowledged, f"{name}: {acknowledged} changes acknowledged, {version - 1} versions"
    facts = {f"refused: {name}": outcome.refused[name] / outcome.done[name] for name in versions}
    yield Result("contention", options, kb=2, clients=CLIENTS, sides=outcome.sides, facts=facts)


def variants(options: str, scale: Scale) -> Iterator[Result]:
    """Other ways to write the same by hand, for information."""
    for kb in SIZES:
        with_state, without_state = OurSession(kb), OurSession(kb)
        rivals = [
            Contestant(ours.NAME, with_state.change, lambda: ours.use_cache(True), BLOCKS[kb]),
            Contestant(f"{ours.NAME}, no state in memory", without_state.change, lambda: ours.use_cache(False)),
            Contestant("hand-written (jsonb, foreign keys)", PlainJSONSession(kb).change),
            Contestant("hand-written, no state in memory", PlainJSONSession(kb).read_then_change),
            Contestant("hand-written, state as text", PlainJSONSession(kb, suffix="_text").change),
            Contestant("hand-written, no foreign keys", PlainJSONSession(kb, suffix="_loose").change),
            Contestant("hand-written with Django's ORM", PlainJSONSession(kb).change_through_orm),
        ]
        sides = turns(rivals, operations=16 if kb == 256 else 48, scale=scale, informal=True)
        ours.use_cache(True)
        yield Result("variants", options, kb=kb, sides=sides)


def flat(options: str, scale: Scale) -> Iterator[Result]:
    """Whether a change costs the same at every size of state."""
    contestants = [Contestant(f"{kb} kB", OurSession(kb).change) for kb in SIZES]
    yield Result("flat", options, sides=turns(contestants, operations=BLOCKS[256], scale=scale))


def read(options: str, scale: Scale) -> Iterator[Result]:
    """The current state against a primary-key SELECT of a plain row."""
    for kb in SIZES:
        session = OurSession(kb).advance_to(1 + HALF_WAY[kb])
        rivals = [
            Contestant("current_state, cached", session.read, lambda: ours.use_cache(True)),
            Contestant("current_state, from history", session.read, lambda: ours.use_cache(False)),
            Contestant("SELECT by primary key (jsonb)", PlainJSONSession(kb, only_reads=True).read),
            Contestant("the same, state as text", PlainJSONSession(kb, suffix="_text", only_reads=True).read),
        ]
        sides = turns(rivals, operations=50, scale=scale)
        ours.use_cache(True)
        yield Result("read", options, kb=kb, sides=sides)


def history(options: str, scale: Scale) -> Iterator[Result]:
    """A change late against a change early in a session's life, and a state in the middle of it."""
    late = 1000 * scale.count(10)
    old = OurSession(2).advance_to(late)
    young = OurSession(2)

    def renew() -> None:
        nonlocal young
        young = OurSession(2).advance_to(10)

    contestants = [
        Contestant("version 10", lambda: young.change(), renew),
        Contestant(f"version {late}", old.change),
    ]
    sides = turns(contestants, operations=64, scale=scale)
    yield Result("late", options, kb=2, sides=sides)

    # Every version is read once: a state of the past is not measured out of a cache.
    middle = list(range(late // 4, late * 3 // 4))
    random.Random(1).shuffle(middle)
    versions = iter(middle)
    contestants = [
        Contestant(
            f"state_at_version, around {late // 2} of {late}",
            lambda: old.read_at(next(versions)),
            lambda: ours.use_cache(False),
        ),
        Contestant("SELECT by primary key (jsonb)", PlainJSONSession(2, only_reads=True).read),
    ]
    yield Result("past", options, kb=2, sides=turns(contestants, operations=20, scale=scale))
    ours.use_cache(True)


def beside(options: str, scale: Scale) -> Iterator[Result]:
    """The peers' writes and reads beside the package's.

    In a whole run only once, with prepared statements, because that is how the peers talk to the server.
    """
    for kb in SIZES:
        session = OurSession(kb).advance_to(1 + HALF_WAY[kb])
        rivals = list(peers.peers(kb))
        writes = [
            Contestant(ours.NAME, session.change, operations=BLOCKS[kb]),
            *(rival.write for rival in rivals),
        ]
        reads = [
            Contestant(f"{ours.NAME}, cached", session.read, lambda: ours.use_cache(True)),
            Contestant(f"{ours.NAME}, from history", session.read, lambda: ours.use_cache(False)),
            *(rival.read for rival in rivals),
        ]
        written = turns(writes, operations=32, scale=scale, informal=True)
        facts = {rival.name: _bytes_per_write(rival) for rival in rivals}
        yield Result("peers: write", options, kb=kb, sides=written, facts=facts)
        yield Result("peers: read", options, kb=kb, sides=turns(reads, operations=32, scale=scale, informal=True))
        ours.use_cache(True)
        for rival in rivals:
            rival.close()


def _bytes_per_write(rival: peers.Peer) -> float:
    before = sum(ours.relation_bytes(*rival.tables).values())
    count = len(block(rival.write, 64))
    return (sum(ours.relation_bytes(*rival.tables).values()) - before) / count


SUITE: dict[str, Benchmark] = {
    "stored": stored,
    "change": change,
    "clients": clients,
    "flat": flat,
    "history": history,
    "read": read,
    "contention": contention,
    "variants": variants,
    "peers": beside,
    "breakdown": breakdown,
    "http": over_http,
}
