"""Errors about versions of a session, and about several writers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent_sessions.exceptions.base import AgentSessionsError


class VersionNotFound(AgentSessionsError):
    """The session has no such version, or had none at that time."""

    code = "version_not_found"
    status = 404


class NothingCommitted(AgentSessionsError):
    """There is no committed version that the session could go back to (V6)."""

    code = "nothing_committed"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Nothing of session {session_id} has been committed, so there is nothing to go back to. Commit first.",
            session=str(session_id),
        )


class Change(Protocol):
    """One difference between two states, in shop terms (see ``agent_sessions.domain.differences``)."""

    @property
    def text(self) -> str: ...


class VersionConflict(AgentSessionsError):
    """The change was based on a version that is not the current one; nothing was written (V3).

    ``changes`` tells what has changed between ``expected`` and ``current``, as far as it can be read.
    """

    code = "version_conflict"
    status = 409

    def __init__(self, session_id: object, *, expected: int, current: int, changes: Sequence[Change] = ()) -> None:
        since = "; ".join(change.text for change in changes[:5]) or "no difference in content"
        super().__init__(
            f"Session {session_id} is at version {current}, not {expected}. Since then: {since}. "
            f"Read version {current}, decide again, and send the change with it as the expected version.",
            session=str(session_id),
            expected=expected,
            current=current,
            changes=[change.text for change in changes],
        )
        self.expected = expected
        self.current = current
        self.changes = tuple(changes)


class MergeConflict(VersionConflict):
    """The change was to be merged, but touches what others have changed to something else; nothing was written (V5).

    ``paths`` are JSON pointers of these places.
    """

    code = "merge_conflict"

    def __init__(self, session_id: object, *, expected: int, current: int, paths: Sequence[str]) -> None:
        super().__init__(session_id, expected=expected, current=current)
        self.message = (
            f"Version {current} of session {session_id} has other values than yours in {len(paths)} place(s) that you "
            f"changed since version {expected}. Read it, decide again, and send the change based on it."
        )
        self.args = (self.message,)
        self.paths = tuple(paths)
        self.details = {name: fact for name, fact in self.details.items() if name != "changes"} | {"paths": list(paths)}


class SessionBusy(AgentSessionsError):
    """So many writers were at the same session, or the database stayed locked so long, that no retry won."""

    code = "session_busy"
    status = 503

    def __init__(self, what: object) -> None:
        super().__init__(f"{what} is being written by many at once; nothing was written. Try again.", what=str(what))
