"""Errors of the log, of signed notes and of artifacts."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class NotLogged(AgentSessionsError):
    """Nothing of a session is in a tree head that counts, or there is no such head or log (A4)."""

    code = "not_logged"
    status = 404

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem} The sequencer has to run, and the sinks to take its head.", problem=problem)


class LogDamaged(AgentSessionsError):
    """The stored Merkle log cannot be trusted: a node is missing or does not fit the others (A4)."""

    code = "log_damaged"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The audit log is damaged: {problem}. Nothing is signed over it; compare it with the exported tree heads.",
            problem=problem,
        )
        self.problem = problem


class NoteRefused(AgentSessionsError):
    """A signed note, tree head or proof is malformed, or is not signed by those whose signatures are needed (A4)."""

    code = "note_refused"
    status = 422

    def __init__(self, problem: str) -> None:
        super().__init__(f"Not a note to trust: {problem}. Get it again from where it was published.", problem=problem)
        self.problem = problem


class ArtifactNotReady(AgentSessionsError):
    """The session is still live; its artifact exists when it has ended (contract item 80)."""

    code = "artifact_not_ready"
    status = 425

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Session {session_id} is still active; its artifact is sealed when it ends.", session=str(session_id)
        )
