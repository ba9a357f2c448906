"""Errors about what is stored: damaged, sealed with another key, of a later version."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class SessionDamaged(AgentSessionsError):
    """The stored history cannot be trusted (unreadable, altered, or incomplete)."""

    code = "session_damaged"
    status = 500

    def __init__(self, session_id: object, problem: str) -> None:
        super().__init__(
            f"Session {session_id} is damaged: {problem}. Run `manage.py verify_sessions --session {session_id}` "
            "for the full report.",
            session=str(session_id),
            problem=problem,
        )
        self.problem = problem


class SessionQuarantined(SessionDamaged):
    """The session was found damaged and is closed to readers and writers until someone has looked at it."""

    code = "session_quarantined"
    status = 409


class SealBroken(AgentSessionsError):
    """Sealed bytes do not open with this key at this place: altered, moved, or sealed with another key."""

    code = "seal_broken"

    def __init__(self, place: str) -> None:
        super().__init__(f"What is sealed at {place} does not open: it was altered or moved.", place=place)


class SchemaUnknown(AgentSessionsError):
    """The state was written by a version of this package that this one does not know."""

    code = "schema_unknown"

    def __init__(self, session_id: object, *, found: int, known: int) -> None:
        super().__init__(
            f"Session {session_id} has state schema {found}; this installation knows up to {known}. "
            "Upgrade agent_sessions on this machine.",
            session=str(session_id),
            found=found,
            known=known,
        )


class KeyProblem(AgentSessionsError):
    """A key is missing, unsafe, unknown or out of reach; nothing was written or read."""

    code = "key_problem"
    status = 503
