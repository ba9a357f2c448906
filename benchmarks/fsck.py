"""``python -m benchmarks.fsck``: how long ``audit_fsck`` takes for many events, and how much memory.

Real chains, put into the log by the sequencer in many batches, their heads in a directory. The check runs
in a process of its own, whose largest size is taken; with a tenth of the events first, so that growth would be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

GROWTH_WITHIN = 1.2
_CHECK = """
import re, sys, time
from pathlib import Path
import django; django.setup()
from django.conf import settings
from django.core.management import call_command
from django.db import connection
settings.AGENT_SESSIONS["LOG_SINKS"] = [
    {"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": sys.argv[1]}
]
connection.ensure_connection()
started = time.perf_counter()
call_command("audit_fsck", stdout=sys.stderr)
# Not ru_maxrss, which begins at the size of the process that started this one.
print(time.perf_counter() - started, re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
_EVENTS = """
COPY agent_sessions_auditevent
    (session_id, created_at, seq, response_status, kind, capability, policy_result, canonical) FROM STDIN
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fsck")
    parser.add_argument("--events", type=int, default=1_000_000, help="events to check (default: 1000000)")
    parser.add_argument("--per-session", type=int, default=10, help="events of each session (default: 10)")
    parser.add_argument("--per-head", type=int, default=500, help="sessions of each batch and its head (default: 500)")
    wanted = parser.parse_args(arguments)

    from benchmarks.database import fresh_database
    from benchmarks.report import table

    rows, sizes = [], []
    with fresh_database(), tempfile.TemporaryDirectory() as folder:
        sessions = wanted.events // wanted.per_session
        for number in (sessions // 10, sessions - sessions // 10):
            heads = _make(number, wanted.per_session, wanted.per_head, Path(folder))
            seconds, size = _check(folder)
            sizes.append(size)
            total = _count()
            row = (f"{total:,}", f"{total // wanted.per_session:,}", f"{heads:,}", f"{seconds:.1f}")
            rows.append((*row, f"{total / seconds:,.0f}", f"{size / 1024:.0f}"))
        print(table(("events", "sessions", "heads", "seconds", "events per second", "largest size, MB"), rows))
    growth = sizes[1] / sizes[0]
    print(f"memory with ten times as many: {growth:.2f}, to reach: at most {GROWTH_WITHIN}")
    return 0 if growth <= GROWTH_WITHIN else 1


def _make(sessions: int, events: int, per_head: int, folder: Path) -> int:
    """Make sessions with chains, and put them into the log; return how many heads there are."""
    from django.conf import settings
    from django.db import connection

    from agent_sessions import services
    from agent_sessions.domain.identity import Agent
    from agent_sessions.models import AuditEvent, TreeHead
    from agent_sessions.services.sequencing import sequence_log

    settings.AGENT_SESSIONS["LOG_SINKS"] = [
        {"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": str(folder)}
    ]
    template = services.open_session(agent=Agent("Bench")).session_id
    header = json.loads(bytes(AuditEvent.objects.get(session_id=template, seq=1).canonical))["header"]
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("CREATE TEMP TABLE made (id uuid, head_hash bytea)")
        ends: list[tuple[uuid.UUID, bytes]] = []
        with cursor.copy(_EVENTS) as copy:
            for row in _events(header, sessions, events, ends):
                copy.write_row(row)
        with cursor.copy("COPY made FROM STDIN") as copy:
            for end in ends:
                copy.write_row(end)
        _copy_rows(cursor, template, events)
        cursor.execute("DROP TABLE made")
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM ANALYZE")
    while sequence_log(limit=per_head).remaining:
        pass
    return TreeHead.objects.count()


def _events(
    header: dict[str, Any], sessions: int, events: int, ends: list[tuple[uuid.UUID, bytes]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of every session's chain: a first event, then calls; note where each ends."""
    from agent_sessions.audit.events import build_event, event_hash

    begun = datetime.now(UTC) - timedelta(hours=1)
    for number in range(sessions):
        session, before = uuid.uuid4(), ""
        for seq in range(1, events + 1):
            moment = begun + timedelta(microseconds=number * events + seq)
            canonical = build_event(
                run_id=str(session), seq=seq, event_id=str(uuid.uuid4()), timestamp=moment, actor="agent",
                kind="session.created" if seq == 1 else "cart.viewed", prev_hash=before,
                capability="cart.view", method="GET", params={"page": seq, "item": "mug-7"},
                header=header if seq == 1 else None,
            )  # fmt: skip
            before = event_hash(canonical)
            kind = "session.created" if seq == 1 else "cart.viewed"
            yield session, moment, seq, 200, kind, "cart.view", "allow", canonical
        ends.append((session, bytes.fromhex(before)))


def _copy_rows(cursor: Any, template: uuid.UUID, events: int) -> None:
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'agent_sessions_session' "
        "ORDER BY ordinal_position"
    )
    names = [name for (name,) in cursor.fetchall()]
    own = {
        "id": "m.id", "family": "m.id", "token_digest": "sha256(uuid_send(m.id))", "head_hash": "m.head_hash",
        "head_seq": str(events),
    }  # fmt: skip
    columns = ", ".join(f'"{name}"' for name in names)
    chosen = ", ".join(own.get(name, f's."{name}"') for name in names)
    cursor.execute(
        f"INSERT INTO agent_sessions_session ({columns}) SELECT {chosen} FROM agent_sessions_session s, made m "
        "WHERE s.id = %s",
        [template],
    )


def _check(folder: str) -> tuple[float, int]:
    """Run the check in a process of its own; return its seconds, and its largest size in kB."""
    done = subprocess.run([sys.executable, "-c", _CHECK, folder], stdout=subprocess.PIPE, text=True, check=True)
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


def _count() -> int:
    from agent_sessions.models import AuditEvent

    return AuditEvent.objects.count()


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"all of it: {time.perf_counter() - started:.0f} s")
    sys.exit(code)
