"""Errors about the session that a call was about: there is none, it has ended, it waits, it is with a person."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class SessionNotFound(AgentSessionsError):
    code = "session_not_found"
    status = 404

    def __init__(self, session_id: object) -> None:
        super().__init__(f"There is no session {session_id}.", session=str(session_id))


class SessionEnded(AgentSessionsError):
    """The session has ended and takes no more changes; its history stays readable."""

    code = "session_ended"
    status = 409

    def __init__(self, session_id: object, end_reason: str) -> None:
        super().__init__(
            f"Session {session_id} has ended ({end_reason}). Open a new session to go on.",
            session=str(session_id),
            end_reason=end_reason,
        )
        self.end_reason = end_reason


class SessionExpired(SessionEnded):
    """The session's deadline has passed; the deadline is hard, nothing extends it."""

    code = "session_expired"

    def __init__(self, session_id: object) -> None:
        super().__init__(session_id, "expired")


class SessionRevoked(SessionEnded):
    """The key that the session's token was made with was revoked."""

    code = "session_revoked"

    def __init__(self, session_id: object) -> None:
        super().__init__(session_id, "revoked")


class SessionPaused(AgentSessionsError):
    """The session is paused: it takes no changes until it is resumed (L3). By a person: the agent does not do that."""

    code = "session_paused"
    status = 409

    def __init__(self, session_id: object, *, by: str = "") -> None:
        told = f" by a person ({by}). Wait until it is resumed." if by else ". Resume it to go on."
        super().__init__(f"Session {session_id} is paused{told}", session=str(session_id), **({"by": by} if by else {}))


class NotPaused(AgentSessionsError):
    """What is to be resumed is not paused."""

    code = "not_paused"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(f"Session {session_id} is not paused; it takes changes as it is.", session=str(session_id))


class SessionHeld(AgentSessionsError):
    """A person has the session; the agent may read it and waits until it is given back (L4)."""

    code = "session_held"
    status = 409

    def __init__(self, session_id: object, held_by: str) -> None:
        kind = held_by.partition(":")[0]
        super().__init__(
            f"Session {session_id} is with a person ({kind}). Wait until it is handed back.",
            session=str(session_id),
            held_by=kind,
        )


class NotHeld(AgentSessionsError):
    """What is to be taken back is with the agent already."""

    code = "not_held"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(f"No person has session {session_id}; the agent has it.", session=str(session_id))


class StepRefused(AgentSessionsError):
    """The step cannot be started now, or cannot take that outcome: finished, still running, to be asked about (R2)."""

    code = "step_refused"
    status = 409

    def __init__(self, step: str, problem: str) -> None:
        super().__init__(f"Step {step}: {problem}", step=step)
        self.step = step
