"""What the numbers were measured on, without names or paths of the machine."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

_SERVER_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers")


def busy_share(seconds: float = 1.0) -> float:
    """Measure which share of all processors is at work while the benchmark is not."""
    before = _processor_times()
    time.sleep(seconds)
    busy, idle = (after - earlier for after, earlier in zip(_processor_times(), before, strict=True))
    return busy / ((busy + idle) or 1)


def describe(connection: psycopg.Connection, peers: dict[str, str | None]) -> list[tuple[str, str]]:
    """Rows of the machine table: hardware, server and its settings, libraries, date (UTC)."""
    server = f"{connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"
    settings = [f"{name} {connection.execute(f'SHOW {name}').fetchone()[0]}" for name in _SERVER_SETTINGS]  # type: ignore[index]
    libraries = " ".join(f"{name} {version(name)}" for name in ("Django", "psycopg", "cryptography", "msgspec"))
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores, shared by the server and the clients"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("PostgreSQL", f"{server} over TCP on the same machine; {', '.join(settings)}"),
        ("Python", f"{platform.python_version()}; {libraries}"),
        ("peers", ", ".join(f"{name} {found or 'not installed'}" for name, found in peers.items())),
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
    ]


def seconds_of(*processes: int) -> float:
    """Return the processor time that processes have taken so far, seconds; 0 where the system does not tell."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            # After the name, which may hold anything in its brackets: from the state on.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(process: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _processor_times() -> tuple[int, int]:
    """Ticks that the processors were busy and idle since the start, (0, 0) where the system does not tell."""
    counters = Path("/proc/stat")
    if not counters.exists():
        return 0, 0
    user, nice, system, idle, waiting, *others = map(int, counters.read_text().split("\n", 1)[0].split()[1:9])
    return user + nice + system + sum(others), idle + waiting
