"""Every session's chain, hashed again, beside its row and the leaves that say how far it went."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from agent_sessions.audit.chain import PROBLEMS_KEPT, check_chain
from agent_sessions.audit.events import event_hash, parse_time
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import LogGeneration
from agent_sessions.selectors.fsck._findings import EVERY, Counted, Finding, Tell
from agent_sessions.selectors.fsck._rows import Merged, by_session, merged, stream

_SESSIONS: Final = "SELECT id, head_seq, head_hash FROM agent_sessions_session ORDER BY id"
_EVENTS: Final = """
SELECT session_id, seq, canonical FROM agent_sessions_auditevent ORDER BY session_id, seq
"""
_LEAVES: Final = """
SELECT session, seq, head, generation_id, "index" FROM agent_sessions_logleaf
WHERE kind = 'session' AND session IS NOT NULL ORDER BY session, seq, generation_id, "index"
"""
_SITE_EVENTS: Final = "SELECT 1, seq, canonical, hash, kind FROM agent_sessions_siteevent ORDER BY seq"
_SITE_LEAVES: Final = """
SELECT 1, seq, head, generation_id, "index" FROM agent_sessions_logleaf
WHERE kind = 'site' ORDER BY seq, generation_id, "index"
"""
_SITE: Final = "site"
"""Run id of the site's own chain (``services.site_events``), and what findings call it."""


class ChainsCheck:
    """Checks sessions in the order of their ids, each table read once. ``logs`` are all generations."""

    def __init__(self, logs: list[LogGeneration], counted: Counted) -> None:
        self._origins = {log.pk: log.origin for log in logs}
        self._open = {log.pk for log in logs if log.closed_at is None}
        self._counted = counted

    def session_findings(self, tell: Tell) -> Iterator[Finding]:
        rows, events, leaves = (Merged(by_session(stream(sql))) for sql in (_SESSIONS, _EVENTS, _LEAVES))
        told = 0
        for key in merged(rows, events, leaves):
            row = next(rows.of(key), None)
            one = _Chain(str(key), key, self._origins, self._open)
            yield from one.findings(events.of(key), leaves.of(key))
            if row is not None:
                self._counted.sessions += 1
            yield from one.row_findings(row)
            self._counted.events += one.count
            self._counted.unsequenced.add(one.uncovered, one.uncovered_since)
            if self._counted.events // EVERY > told:
                told = self._counted.events // EVERY
                tell(f"{self._counted.sessions:,} sessions, {self._counted.events:,} events")

    def site_findings(self) -> Iterator[Finding]:
        """Check the site's own chain as a session's; its rows keep their hashes."""
        one = _Chain(_SITE, None, self._origins, self._open)
        events, leaves = Merged(stream(_SITE_EVENTS)), Merged(stream(_SITE_LEAVES))
        yield from one.findings(events.of(1), leaves.of(1))
        yield from one.cut_findings()
        self._counted.site_events = one.count
        self._counted.unsequenced.add(one.uncovered, one.uncovered_since)


class _Chain:
    """One chain, event by event, with the leaves about it."""

    def __init__(self, about: str, session: uuid.UUID | None, origins: dict[int, str], open_logs: set[int]) -> None:
        self._about, self._session = about, session
        self._origins, self._open = origins, open_logs
        self._found = 0
        self._fits = 0
        self._changed = False
        self._cut: tuple[int, str] | None = None
        self.count = self.last = 0
        self.hash = ""
        self.uncovered = 0
        self.uncovered_since: datetime | None = None

    def findings(self, events: Iterator[tuple[Any, ...]], leaves: Iterator[tuple[Any, ...]]) -> Iterator[Finding]:
        """Check the chain and, at each event that a leaf names, that it is the one."""
        leaf = next(leaves, None)
        for _, seq, stored, *columns in events:
            while leaf is not None and leaf[1] < seq:  # its event is not there, which the chain's gap says
                self._cover(leaf)
                leaf = next(leaves, None)
            yield from self._event_findings(seq, bytes(stored), columns)
            self.uncovered += 1
            if self.uncovered_since is None:
                self.uncovered_since = _time_of(bytes(stored))
            while leaf is not None and leaf[1] == seq:
                yield from self._leaf_findings(leaf)
                leaf = next(leaves, None)
        while leaf is not None:  # leaves of events beyond the last
            self._cover(leaf)
            self._cut = (leaf[1], f": {self._place(leaf)} says that it went to event {leaf[1]}")
            leaf = next(leaves, None)

    def _event_findings(self, seq: int, canonical: bytes, columns: list[Any]) -> Iterator[Finding]:
        run_id = self._about
        problems = check_chain(
            [(seq, canonical)], run_id=run_id, after=(self.last, self.hash), of_session=self._session is not None
        )
        for problem in problems:
            self._found += 1
            if self._found <= PROBLEMS_KEPT:
                yield Finding(problem.code, self._about, problem.where, problem.message, self._session, seq)
        self.count, self.last, self.hash = self.count + 1, seq, event_hash(canonical)
        if columns:
            yield from self._column_findings(seq, canonical, *columns)

    def _column_findings(self, seq: int, canonical: bytes, stored_hash: bytes, kind: str) -> Iterator[Finding]:
        """Compare what the site's chain keeps beside an event; of sessions ``verify_session`` does."""
        with suppress(InvalidValue):  # the chain's check says so
            event = parse_strict(canonical)
            if isinstance(event, dict) and event.get("kind") != kind:
                yield self._finding("wrong_column", seq, "is of another kind than its row says")
        if bytes(stored_hash).hex() != self.hash:
            yield self._finding("wrong_column", seq, "does not have the hash that its row says")

    def _leaf_findings(self, leaf: tuple[Any, ...]) -> Iterator[Finding]:
        _, seq, head, _, _ = leaf
        self._cover(leaf)
        if head is not None and bytes(head).hex() == self.hash:
            self._fits = seq
        elif not self._changed:
            self._changed = True  # and with it every event after it
            first, place = self._fits + 1, self._place(leaf)
            where = f"event {seq}" if first == seq else f"one of the events {first} to {seq}"
            message = f"was changed: {place} has another hash for event {seq}"
            yield Finding("history_changed", self._about, where, message, self._session, seq)

    def _cover(self, leaf: tuple[Any, ...]) -> None:
        """Note that all events so far are in the open log."""
        if leaf[3] in self._open:
            self.uncovered, self.uncovered_since = 0, None

    def row_findings(self, row: tuple[Any, ...] | None) -> Iterator[Finding]:
        """Compare the session's row with where its chain ends; then what the leaves say of events beyond."""
        if row is None:
            what = "is gone, though events of it are there" if self.count else "is gone, and so are all its events"
            yield Finding(
                "session_missing",
                self._about,
                "its row",
                f"{what}{self._told()}",
                self._session,
                self._cut and self._cut[0],
            )
        elif row[1] > self.last:
            if self._cut is None or row[1] > self._cut[0]:
                self._cut = (row[1], ": its row names a later one as its last")
        elif (self.last, self.hash) != (row[1], bytes(row[2]).hex()):
            yield self._finding("wrong_head", self.last, "is not the one that its row names as its last")
        if self.count or row is not None:
            yield from self.cut_findings()

    def cut_findings(self) -> Iterator[Finding]:
        """Say what of the end of the chain is gone."""
        if self._cut is not None:
            up_to = "is gone" if self._cut[0] == self.last + 1 else f"to event {self._cut[0]} are gone"
            yield self._finding("truncated", self.last + 1, f"{up_to}{self._told()}")

    def _told(self) -> str:
        return "" if self._cut is None else self._cut[1]

    def _place(self, leaf: tuple[Any, ...]) -> str:
        return f"leaf {leaf[4]} of {self._origins.get(leaf[3], f'log {leaf[3]}')}"

    def _finding(self, code: str, seq: int, message: str) -> Finding:
        return Finding(code, self._about, f"event {seq}", message, self._session, seq)


def _time_of(canonical: bytes) -> datetime | None:
    """Return the time that an event tells, which its hash covers; None if it cannot be read, a finding by itself."""
    try:
        event = parse_strict(canonical)
        return parse_time(str(event.get("timestamp"))) if isinstance(event, dict) else None
    except InvalidValue:
        return None
