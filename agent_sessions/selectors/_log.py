"""What the log's sequencer and its readers ask of the tables: what has moved, and the nodes of the tree (A4)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from agent_sessions.audit.merkle import Place
from agent_sessions.models import LogGeneration, LogLeaf, LogNode
from agent_sessions.selectors import _rows

# Where an event stands in the order of writing. Transactions commit out of order, so on PostgreSQL it is the number of
# the transaction that wrote it: all below the oldest one that still runs are settled. On SQLite there is one writer.
_PLACE: Final = {"postgresql": "xact", "sqlite": "rowid"}
_SETTLED: Final = {
    "postgresql": "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
    "sqlite": "SELECT COALESCE(MAX(rowid), 0) + 1 FROM agent_sessions_auditevent",
}
_MOVED: Final = """
SELECT * FROM (
    SELECT s.id, s.head_seq, s.head_hash, s.ended_at IS NOT NULL, COALESCE((
        SELECT MAX(l.seq) FROM agent_sessions_logleaf l WHERE l.session = s.id AND l.generation_id = %s
    ), 0) AS logged
    FROM agent_sessions_session s WHERE s.id > %s {recent}
) moved WHERE moved.head_seq > moved.logged ORDER BY moved.id LIMIT %s
"""
_RECENT: Final = "AND s.id IN (SELECT e.session_id FROM agent_sessions_auditevent e WHERE e.{place} >= %s)"
_OLDEST: Final = """
SELECT MIN(e.created_at), COUNT(*) FROM agent_sessions_auditevent e WHERE e.{place} >= %s AND NOT EXISTS (
    SELECT 1 FROM agent_sessions_logleaf l WHERE l.session = e.session_id AND l.generation_id = %s AND l.seq >= e.seq
)
"""

BEFORE_ALL: Final = uuid.UUID(int=0)


class Moved(NamedTuple):
    """A session whose chain goes beyond its last leaf (event ``logged``, 0 for none) of this generation."""

    session: uuid.UUID
    seq: int
    head: bytes
    ended: bool
    logged: int


def settled(connection: BaseDatabaseWrapper) -> int:
    """Return the place below which every event that will ever be there can be seen by the next statement."""
    return int(_rows.select(connection, _SETTLED[connection.vendor], ())[0][0])


def moved_sessions(
    connection: BaseDatabaseWrapper, generation: LogGeneration, *, position: int, after: uuid.UUID, limit: int
) -> list[Moved]:
    """Return sessions that have moved, by id from beyond ``after``.

    Looked at are those with events from the place ``position`` on, with position 0 all sessions.
    """
    params: list[object] = [generation.number, _rows.uuid_param(connection, after)]
    recent = ""
    if position:
        recent = _RECENT.format(place=_PLACE[connection.vendor])
        params.append(position)
    rows = _rows.select(connection, _MOVED.format(recent=recent), [*params, limit])
    return [Moved(_rows.as_uuid(one), seq, bytes(head), bool(ended), logged) for one, seq, head, ended, logged in rows]


def unsequenced(connection: BaseDatabaseWrapper, generation: LogGeneration) -> tuple[datetime | None, int]:
    """Return the time of the oldest event that no leaf covers, and how many there are."""
    sql = _OLDEST.format(place=_PLACE[connection.vendor])
    ((oldest, count),) = _rows.select(connection, sql, (generation.position, generation.number))
    return (None if oldest is None else _rows.as_time(oldest)), count


def read_nodes(generation: int, places: Sequence[Place]) -> dict[Place, bytes]:
    """Read stored nodes of a generation's tree: those of level 0 are its leaves. Two queries at most."""
    alias = _rows.write_connection().alias
    levels: dict[int, list[int]] = defaultdict(list)
    for level, position in places:
        levels[level].append(position)
    found: dict[Place, bytes] = {}
    leaves = levels.pop(0, [])
    if leaves:
        rows = LogLeaf.objects.using(alias).filter(generation_id=generation, index__in=leaves)
        found.update((Place(0, index), bytes(made)) for index, made in rows.values_list("index", "hash"))
    if levels:
        wanted = Q()
        for level, positions in levels.items():
            wanted |= Q(level=level, index__in=positions)
        nodes = LogNode.objects.using(alias).filter(wanted, generation_id=generation)
        found.update((Place(*key), bytes(made)) for *key, made in nodes.values_list("level", "index", "hash"))
    return found
