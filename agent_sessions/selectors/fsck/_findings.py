"""What the check of the log says: findings, one by one, and what was counted on the way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from agent_sessions.audit.chain import PROBLEMS_KEPT

EVERY: Final = 100_000
"""Rows after which progress is told."""

Tell: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``code`` is stable (docs/audit.md lists them), ``message`` continues ``where``.

    ``about`` is the id of a session, the origin of a log, "site" for the site's own chain, or a source of heads.
    ``seq`` is the number of the event, where one is meant.
    """

    code: str
    about: str
    where: str
    message: str
    session: uuid.UUID | None = None
    seq: int | None = None

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.about}: {self.where} {self.message} [{self.code}]"


@dataclass(slots=True)
class Waiting:
    """What is not covered yet: how many, and since when the oldest of them (UTC)."""

    count: int = 0
    since: datetime | None = None

    def add(self, count: int, since: datetime | None) -> None:
        self.count += count
        if since is not None and (self.since is None or since < self.since):
            self.since = since


@dataclass(slots=True)
class Counted:
    """What was looked at, filled as the check goes on.

    ``logs`` has the leaves of each log by its origin, ``heads`` the heads of each source: the sinks, the folders, and
    the database itself (""). ``other_heads`` are of logs of other sites. ``unsequenced`` are events that are in no leaf
    of the open log, ``unexported`` leaves under no head that counts, ``unwitnessed`` by a witness's name those under
    no head that it has co-signed. ``restarts`` says why logs began after another.
    """

    sessions: int = 0
    events: int = 0
    site_events: int = 0
    logs: dict[str, int] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    other_heads: int = 0
    unsequenced: Waiting = field(default_factory=Waiting)
    unexported: Waiting = field(default_factory=Waiting)
    unwitnessed: dict[str, Waiting] = field(default_factory=dict)
    restarts: list[str] = field(default_factory=list)


def first_of_each(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Pass on the first findings of each code about each thing, and of the rest only how many there were.

    One changed leaf changes every head after it. Give it findings about few things, for it counts each.
    """
    seen: dict[tuple[str, str], int] = {}
    for finding in findings:
        key = (finding.about, finding.code)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= PROBLEMS_KEPT:
            yield finding
    for (about, code), count in seen.items():
        if count > PROBLEMS_KEPT:
            yield Finding(code, about, "and", f"{count - PROBLEMS_KEPT} more")
