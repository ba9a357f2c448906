"""What a witness does: remember the largest head of each log, and co-sign only what continues it.

Its memory is one SQLite file. A head is on disk before its cosignature leaves the house, in one transaction with the
check, so that no two requests at once, and no crash, can make it sign two histories.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from agent_sessions.audit.merkle import EMPTY_ROOT, verify_consistency
from agent_sessions.audit.notes import Checkpoint, Signature, cosign, open_checkpoint, parse_note
from agent_sessions.audit.submissions import Submission
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey, read_vkey
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.crypto.signing import new_signing_key, sign
from agent_sessions.exceptions import AgentSessionsError, KeyProblem, NoteRefused

MAX_ALARMS: Final = 1000
"""Alarms kept of one log; the first ones prove what there is to prove."""

_TABLES: Final = """
CREATE TABLE witness (vkey TEXT NOT NULL);
CREATE TABLE log (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL, seen_at INTEGER NOT NULL,
    refusals INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE log_key (origin TEXT NOT NULL REFERENCES log, vkey TEXT NOT NULL, PRIMARY KEY (origin, vkey));
CREATE TABLE alarm (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, at INTEGER NOT NULL, note TEXT NOT NULL, known_note TEXT NOT NULL,
    UNIQUE (origin, note)
);
"""

Clock: TypeAlias = Callable[[], float]


class Refused(AgentSessionsError):
    """The witness does not co-sign this head. ``status`` is the HTTP status that says why (C2SP tlog-witness)."""

    code = "head_refused"

    def __init__(self, status: int, message: str, known_size: int | None = None) -> None:
        super().__init__(message, known_size=known_size)
        self.http_status = status
        self.known_size = known_size


@dataclass(frozen=True, slots=True)
class Known:
    """What a witness remembers of a log. ``seen_at`` is seconds since 1970 UTC, 0 when it has seen no head yet."""

    origin: str
    size: int
    root: bytes
    note: str
    seen_at: int
    refusals: int
    alarms: int


class Witness:
    """A witness with its key and its memory: ``key.json`` and ``state.sqlite3`` in a folder of its own."""

    def __init__(self, home: Path, *, clock: Clock = time.time) -> None:
        """Open what ``create`` made. Raises KeyProblem when one is missing, readable by others, or another's."""
        self._state = home / "state.sqlite3"
        self._clock = clock
        self.key, private = _read_key(home / "key.json")
        self._sign = partial(sign, private)
        if not self._state.is_file():
            raise KeyProblem(
                f"{self._state} is missing. A witness without its memory could sign two histories: retire this key, "
                "and make a new witness with init in another folder."
            )
        with self._transaction() as database:
            (vkey,) = database.execute("SELECT vkey FROM witness").fetchone()
        if vkey != self.key.text:
            raise KeyProblem(
                f"{self._state} is the memory of another witness ({vkey}). Put the two that belong together."
            )

    @classmethod
    def create(cls, home: Path, name: str) -> Witness:
        """Make a witness: a folder that only its user reads, a new key, an empty memory. Raises KeyProblem."""
        private, public = new_signing_key()
        key = NoteKey(name, COSIGNS, public)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (home / "key.json").exists() or (home / "state.sqlite3").exists():
            raise KeyProblem(f"There is a witness in {home} already. Use it, or give another folder with --home.")
        with closing(sqlite3.connect(home / "state.sqlite3")) as database:
            database.executescript(_TABLES)
            database.execute("INSERT INTO witness VALUES (?)", (key.text,))
            database.commit()
        file = os.open(home / "key.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="utf-8") as written:
            json.dump({"name": name, "private_key": to_base64(private), "vkey": key.text}, written, indent=1)
        return cls(home)

    def add_log(self, key: NoteKey) -> None:
        """Follow the log with this key; of a log that it knows, trust this key too. Raises KeyProblem."""
        if key.kind != SIGNS:
            raise KeyProblem(f"{key.name!r} is the key of a witness. Give the log's key.")
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO log (origin, size, root, note, seen_at) VALUES (?, 0, ?, '', 0)",
                (key.name, EMPTY_ROOT),
            )
            database.execute("INSERT OR IGNORE INTO log_key VALUES (?, ?)", (key.name, key.text))

    def known(self) -> list[Known]:
        """List the logs that it follows, with what it remembers of each."""
        with self._transaction() as database:
            return [_known(database, origin) for (origin,) in database.execute("SELECT origin FROM log ORDER BY 1")]

    def find(self, origin: str) -> Known:
        """Say what it remembers of a log. Raises Refused (404) when it does not follow it."""
        with self._transaction() as database:
            return _known(database, origin)

    def keys(self, origin: str) -> list[NoteKey]:
        """List the keys of a log that it trusts."""
        with self._transaction() as database:
            return _keys(database, origin)

    def consider(self, submission: Submission) -> Signature:
        """Co-sign a head that continues what is remembered, and remember it.

        Raises Refused: 404 for a log that is not followed, 403 when none of its keys has signed, 409 when the old size
        is not the one remembered (``known_size`` is) or another root has the same size, 422 when the proof does not
        hold.
        Two signed roots for one size are kept as an alarm: they prove that the log showed two histories.
        """
        head = submission.head
        with self._transaction() as database:
            known = _known(database, head.origin)
            try:
                open_checkpoint(submission.note, _keys(database, head.origin))
            except NoteRefused as error:
                raise Refused(403, f"The head is not signed as it must be: {error.problem}.") from None
            problem = _problem(head, submission, known)
            if problem is None:
                now = max(int(self._clock()), known.seen_at)
                text = parse_note(submission.note).text
                made = cosign(text, self.key, self._sign, time=now)
                database.execute(
                    "UPDATE log SET size = ?, root = ?, note = ?, seen_at = ? WHERE origin = ?",
                    (head.size, head.root, submission.note, now, head.origin),
                )
                return made
            self._remember_refusal(database, submission, known)
        raise problem

    def _remember_refusal(self, database: sqlite3.Connection, submission: Submission, known: Known) -> None:
        head = submission.head
        database.execute("UPDATE log SET refusals = refusals + 1 WHERE origin = ?", (head.origin,))
        if head.size == known.size and head.root != known.root and known.alarms < MAX_ALARMS:
            database.execute(
                "INSERT OR IGNORE INTO alarm (origin, at, note, known_note) VALUES (?, ?, ?, ?)",
                (head.origin, int(self._clock()), submission.note, known.note),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One at a time: whoever comes second waits. Commits, unless something was raised."""
        with closing(sqlite3.connect(self._state, timeout=30, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _problem(head: Checkpoint, submission: Submission, known: Known) -> Refused | None:
    if head.size == known.size and head.root != known.root:
        return Refused(409, "Another root was seen for this size: the log has shown two histories.", known.size)
    if submission.old != known.size:
        return Refused(409, f"The last head seen has size {known.size}; send the proof from there.", known.size)
    if not verify_consistency(known.size, head.size, known.root, head.root, submission.proof):
        return Refused(422, f"The proof does not lead from the head of size {known.size} to this one.")
    return None


def _known(database: sqlite3.Connection, origin: str) -> Known:
    row = database.execute(
        "SELECT origin, size, root, note, seen_at, refusals,"
        " (SELECT count(*) FROM alarm WHERE alarm.origin = log.origin) FROM log WHERE origin = ?",
        (origin,),
    ).fetchone()
    if row is None:
        raise Refused(404, "This witness does not follow that log.")
    return Known(*row)


def _keys(database: sqlite3.Connection, origin: str) -> list[NoteKey]:
    rows = database.execute("SELECT vkey FROM log_key WHERE origin = ? ORDER BY 1", (origin,))
    return [read_vkey(vkey) for (vkey,) in rows]


def _read_key(file: Path) -> tuple[NoteKey, bytes]:
    try:
        mode = file.stat().st_mode
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        key, private = read_vkey(str(found["vkey"])), from_base64(found["private_key"])
    except FileNotFoundError:
        raise KeyProblem(f"{file} is missing. Make a witness with init, or name its folder with --home.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyProblem(f"{file} is not a witness's key ({type(error).__name__}). Restore it from a copy.") from None
    if mode & 0o077:
        raise KeyProblem(f"{file} can be read by others. Run chmod 600 on it, and consider who has read it.")
    return key, private
