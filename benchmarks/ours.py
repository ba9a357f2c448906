"""The package under measurement, through its public surface; everything the benchmark knows of it is here."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import SessionBusy, VersionConflict
from benchmarks import workload

NAME = "agent_sessions"
KIND = "cart.item_added"
TABLES = "agent_sessions\\_%"
VERSION_TABLE = "agent_sessions_sessionversion"
EVENT_TABLE = "agent_sessions_auditevent"
UPDATED_TABLES = ("agent_sessions_session", "agent_sessions_sessionreference")
BLOCKS = {2: 128, 32: 192, 256: 768}
"""Changes per block, by kB of state: enough that each block pays for its snapshots. By default one is due
after 64 changes, at 32 kB after about 96, at 256 kB after about 760 (``domain.snapshots``).
"""
HALF_WAY = {2: 32, 32: 48, 256: 380}
"""Changes after which a session stands half way between two snapshots, where reads find it on average."""

PHASES: dict[str, tuple[str, ...]] = {
    # Phase of a change -> functions ("module:name" or "module:Class.name"). A phase's time is what is spent in
    # its functions less what is spent in other phases and in the database.
    "apply and validate": (
        "agent_sessions.domain.patch:apply_patch",
        "agent_sessions.domain.state:check_shape",
        "agent_sessions.domain.values:check_patch",
        "agent_sessions.domain.sizes:check_sizes",
    ),
    "unwrap the key, seal, commit to what is sealed": (
        "agent_sessions.crypto.sealing:seal",
        "agent_sessions.crypto.commitments:commitment",
        "agent_sessions.crypto.commitments:salt_for",
        "agent_sessions.crypto.keys:LocalKeyProvider.unwrap",
    ),
    "canonical bytes and hash of the event": (
        "agent_sessions.audit.events:build_event",
        "agent_sessions.audit.events:event_hash",
    ),
}


def is_write(sql: str) -> bool:
    """Tell a query that writes: the package writes through a function in the database."""
    return not sql.lstrip().startswith("SELECT") or "agent_sessions_write" in sql


class OurSession:
    """A session of the package, and the steps a caller takes with it."""

    def __init__(self, kb: int, session_id: Any = None) -> None:
        state = workload.state_of(kb)
        self.changes = workload.changes(state)
        if session_id is None:
            opened = services.open_session(agent=Agent(name="bench"), state=state)
            self.id, self.version = opened.session_id, opened.version
        else:
            self.id, self.version = session_id, selectors.current_state(session_id).version

    def change(self) -> None:
        patch = workload.patch_of(*next(self.changes))
        done = services.change_session(self.id, expected_version=self.version, patch=patch, kind=KIND)
        self.version = done.version

    def advance_to(self, version: int) -> OurSession:
        while self.version < version:
            self.change()
        return self

    def read(self) -> workload.State:
        return selectors.current_state(self.id).state

    def read_at(self, version: int) -> workload.State:
        return selectors.state_at_version(self.id, version).state

    def contend(self) -> int:
        """Read, decide, change, and again until it is acknowledged. Returns how many tries were refused."""
        refused = 0
        while True:
            self.version = selectors.current_state(self.id).version
            try:
                self.change()
            except (VersionConflict, SessionBusy):
                refused += 1
            else:
                return refused


def use_cache(wanted: bool) -> None:
    """Turn the cache of current states on ("hybrid", the default) or off ("history")."""
    settings.AGENT_SESSIONS["STORAGE"] = "hybrid" if wanted else "history"


def stored_bytes() -> dict[str, int]:
    """Bytes on disk of each of the package's tables, with its indexes and TOAST."""
    return relation_bytes(TABLES)


def relation_bytes(*patterns: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relname LIKE ANY(%s)",
            [list(patterns)],
        )
        return dict(cursor.fetchall())


def vacuum(*tables: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {', '.join(tables)}")


def event_and_content_bytes(session_id: Any) -> dict[str, float]:
    """Median bytes of the session's events' own JSON, and mean bytes per version of what is sealed."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY octet_length(canonical)) FROM {EVENT_TABLE} "
            "WHERE session_id = %s",
            [session_id],
        )
        (event,) = cursor.fetchone()
        cursor.execute(
            "SELECT avg(octet_length(patch))::float, "
            "sum(coalesce(octet_length(snapshot), 0))::float / count(*) "
            f"FROM {VERSION_TABLE} WHERE session_id = %s AND number > 1",
            [session_id],
        )
        patch, snapshot = cursor.fetchone()
    return {"event": float(event), "patch": patch, "snapshot": snapshot}
