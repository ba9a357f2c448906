"""The sequencer: puts where sessions stand into the log, signs its head and takes that out of the database (A4).

One at a time over all machines: who appends has the generation's row locked. It may be killed anywhere; the next run
goes on from what is stored. Nothing is remembered between runs but the generation's ``position``: the place in the
order of writing below which every event has been looked at. It moves only when all that was found there has its leaf,
and what has its leaf is not found again, so a batch may end anywhere. Position 0 stands for all sessions: in a new
generation, and when the order of writing has begun anew (the database was moved to another server).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from agent_sessions.audit.events import ENDED, event_hash
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import AuditEvent, LogGeneration, LogLeaf, SiteEvent, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.selectors._log import BEFORE_ALL, Moved, moved_sessions, settled
from agent_sessions.services._log_heads import collect_cosignatures, export_head, newest_head, sign_head
from agent_sessions.services._log_sinks import note_failure
from agent_sessions.services._log_tree import Kind, NewLeaf, append_leaves, lock_open_generation
from agent_sessions.services.log_generations import begin_after, open_generation
from agent_sessions.sinks import SinkBehind, SinkFailed, configured_sinks

logger = logging.getLogger("agent_sessions")

_CHUNK: Final = 1000
"""Sessions of one transaction: so long does another sequencer wait at most."""
_LATE: Final = timedelta(minutes=5)
"""Leaves that have waited so long for a head that counts are told of with every run."""
_APART: Final = timedelta(hours=1)
"""Between two generations that begin by themselves: each takes in all sessions, at the word of a sink."""


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What a run did: how many ``leaves`` it appended to ``log``, which has ``size`` now.

    ``counted`` is the size of the newest head that counts (0: none). ``remaining``: sessions are left for the next run.
    """

    log: str
    leaves: int
    size: int
    counted: int
    remaining: bool

    @property
    def waiting(self) -> int:
        """How many leaves no head that counts covers: it waits for its sinks, or may not be signed without them."""
        return self.size - self.counted


def sequence_log(*, limit: int = 50_000, progress: Callable[[int], object] = lambda _: None) -> Sequenced:
    """Append a leaf for every session that has moved, up to ``limit`` sessions; sign the head, and export it.

    ``progress`` is called with the number of leaves so far after each transaction. Two runs at once share the work. If
    a sink keeps what the database does not have, the log begins a new generation, once an hour at most, and says so. A
    sink that fails is logged as an error; the head waits and is sent again by the next run.

    Raises InvalidValue for a limit below 1 and for sinks that cannot be made, KeyProblem, LogDamaged, SessionBusy, and
    SinkFailed if the first generation would begin and no sink says which heads it keeps.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many sessions one run deals with: a whole number, 1 or more.")
    sinks = configured_sinks()
    generation = open_generation() or begin_after(None, reason="The database had no open log.")
    leaves, remaining = _append_moved(limit, progress)
    try:
        before = newest_head(generation)
        if before is not None and before.exported_at is not None:
            collect_cosignatures(before, sinks)
        head = sign_head(generation, sinks)
        if head is not None:
            export_head(head, sinks)
    except SinkBehind as behind:
        logger.error("The log: %s", behind.message)
        remaining = _begin_again(generation, behind) or remaining
    except SinkFailed as failed:
        note_failure(failed)
    done = _described(leaves, remaining)
    _tell_if_late(done)
    return done


def _begin_again(generation: LogGeneration, behind: SinkBehind) -> bool:
    """Begin a new generation because a sink knows more, unless this one has just begun; tell whether it was."""
    if generation.number > 1 and abs(timezone.now() - generation.created_at) < _APART:
        logger.error(
            "The log: %s has begun in the last hour, so no other begins by itself and nothing is signed. See what the "
            "sink %r keeps; take it out of LOG_SINKS, or run begin_log_generation.",
            generation.origin,
            behind.sink,
        )
        return False
    begin_after(generation.number, reason=f"The sink {behind.sink} knows more than the database."[:200])
    return True


def _append_moved(limit: int, progress: Callable[[int], object]) -> tuple[int, bool]:
    """Append leaves in transactions of ``_CHUNK`` sessions; return how many, and whether the limit left any."""
    leaves = looked_at = 0
    done = _Done()
    while True:
        most = min(_CHUNK, limit - looked_at)
        done = _rows.in_transaction("The log", lambda before=done, most=most: _append(before, most))  # type: ignore[misc]
        leaves, looked_at = leaves + done.leaves, looked_at + done.sessions
        if done.leaves:
            progress(leaves)
        if done.finished or looked_at >= limit:
            return leaves, not done.finished


@dataclass(frozen=True, slots=True)
class _Done:
    """What a transaction did, and where the next goes on: in which log, after which session, and where this run began
    to look there.
    """

    leaves: int = 0
    sessions: int = 0
    log: int | None = None
    after: uuid.UUID = BEFORE_ALL
    place: int | None = None
    finished: bool = False


def _append(before: _Done, most: int) -> _Done:
    """Append the leaves of up to ``most`` sessions, after those of the transaction before."""
    generation = lock_open_generation()
    if generation is None:
        return _Done(finished=True)
    connection = _rows.write_connection()
    after, place = before.after, before.place
    if place is None or generation.number != before.log:  # a log that has begun since has none of the sessions yet
        after = BEFORE_ALL
        # Read before the sessions are: what is written from here on is looked at again by the next run.
        place = settled(connection)
        if place < generation.position:
            logger.warning("The log: the database numbers its writing anew, so all sessions are looked at.")
            generation.position = 0
    moved = moved_sessions(connection, generation, position=generation.position, after=after, limit=most)
    finished = len(moved) < most
    leaves = _session_leaves(generation, moved)
    if finished:
        leaves += _site_leaves(generation)
    if leaves:
        append_leaves(generation, leaves)
    if finished:
        generation.position = max(generation.position, place)
    generation.save(using=connection.alias, update_fields=["position"])
    last = moved[-1].session if moved else after
    return _Done(len(leaves), len(moved), generation.number, last, place, finished)


def _session_leaves(generation: LogGeneration, moved: list[Moved]) -> list[NewLeaf]:
    """Make a leaf at each session's end, which its artifact goes up to, and one at its head if that lies beyond."""
    ended = AuditEvent.objects.using(_rows.write_connection().alias).filter(
        session_id__in=[one.session for one in moved if one.ended and one.seq > one.logged + 1], kind=ENDED
    )
    ends = {one: (seq, bytes(event)) for one, seq, event in ended.values_list("session_id", "seq", "canonical")}
    leaves = []
    for one in moved:
        seq, event = ends.get(one.session, (0, b""))
        if one.logged < seq < one.seq:
            head = bytes.fromhex(event_hash(event))
            leaves.append(NewLeaf.of_session(generation.origin, one.session, seq, head))
        leaves.append(NewLeaf.of_session(generation.origin, one.session, one.seq, one.head))
    return leaves


def _site_leaves(generation: LogGeneration) -> list[NewLeaf]:
    """Make a leaf of the site's own chain if it has moved."""
    alias = _rows.write_connection().alias
    last = SiteEvent.objects.using(alias).order_by("-seq").first()
    logged = LogLeaf.objects.using(alias).filter(session__isnull=True, generation=generation, kind=Kind.SITE)
    if last is None or logged.filter(seq__gte=last.seq).exists():
        return []
    return [NewLeaf.of_site(generation.origin, last.seq, bytes(last.hash))]


def _described(leaves: int, remaining: bool) -> Sequenced:
    generation = open_generation()
    if generation is None:  # closed by hand, and not yet begun again
        return Sequenced("", leaves, 0, 0, True)
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=generation)
    counted = heads.filter(exported_at__isnull=False).order_by("-size").values_list("size", flat=True).first()
    return Sequenced(generation.origin, leaves, generation.size, counted or 0, remaining)


def _tell_if_late(done: Sequenced) -> None:
    uncovered = LogLeaf.objects.using(_rows.write_connection().alias).filter(
        generation__origin=done.log, index=done.counted
    )
    since = uncovered.values_list("created_at", flat=True).first() if done.waiting else None
    if since is not None and timezone.now() - since > _LATE:
        minutes = (timezone.now() - since).total_seconds() // 60
        logger.error(
            "The log: %d leaves have waited for their sinks, the oldest for %d minutes.", done.waiting, minutes
        )
