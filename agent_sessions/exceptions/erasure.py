"""Errors about erasing, and what keeps it from being done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_sessions.exceptions.base import AgentSessionsError


class ContentErased(AgentSessionsError):
    """The session's data key is gone, and with it what its state, messages and private parts said."""

    code = "content_erased"
    status = 410

    def __init__(self, session_id: object, *, rule: str = "", at: datetime | None = None) -> None:
        facts = {} if at is None else {"rule": rule, "erased_at": at.isoformat()}
        why = "" if at is None else f" under rule {rule!r} on {at.date().isoformat()}"
        super().__init__(
            f"The content of session {session_id} was erased{why}; its events and artifact remain.",
            session=str(session_id),
            **facts,
        )


class SessionNotEnded(AgentSessionsError):
    """Only what an ended session says is erased; this one is live (A7)."""

    code = "session_not_ended"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Session {session_id} has not ended; nothing of it was erased. End it first, or wait for its deadline.",
            session=str(session_id),
        )


class LegallyHeld(AgentSessionsError):
    """A legal hold keeps the session from being erased, whatever its age and whoever asks (A6).

    ``holds`` are the ids of the holds in force.
    """

    code = "legally_held"
    status = 409

    def __init__(self, session_id: object, holds: Sequence[object]) -> None:
        names = [str(hold) for hold in holds]
        super().__init__(
            f"Session {session_id} is under legal hold ({', '.join(names)}); nothing of it was erased. "
            "It can be once each of them has been lifted.",
            session=str(session_id),
            holds=names,
        )
        self.session_id = session_id
        self.holds = tuple(holds)


class ErasedTooEarly(AgentSessionsError):
    """A retention rule keeps a session's data for longer, whoever asks (A5). ``possible_at`` is when it ends (UTC)."""

    code = "erased_too_early"
    status = 409

    def __init__(self, session_id: object, *, rule: str, possible_at: datetime) -> None:
        super().__init__(
            f"Rule {rule!r} keeps what session {session_id} holds until {possible_at:%Y-%m-%d %H:%M} UTC; nothing of "
            "it was erased. It can be from then on.",
            session=str(session_id),
            rule=rule,
            possible_at=possible_at.isoformat(),
        )
        self.rule = rule
        self.possible_at = possible_at


class HoldUnknown(AgentSessionsError):
    """There is no such legal hold, or it was lifted before (A6)."""

    code = "legal_hold_unknown"
    status = 404

    def __init__(self, hold_id: object) -> None:
        super().__init__(
            f"There is no legal hold {hold_id} in force. `manage.py legal_hold list --all` shows every one.",
            hold=str(hold_id),
        )


class ErasureUnknown(AgentSessionsError):
    """There is no such erasure of a consumer (A7)."""

    code = "erasure_unknown"
    status = 404

    def __init__(self, erasure_id: object) -> None:
        super().__init__(
            f"There is no erasure {erasure_id}. Its id stands in its receipt and in the site event erasure.requested.",
            erasure=str(erasure_id),
        )
