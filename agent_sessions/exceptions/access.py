"""Errors that say who may not do that."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class InvalidToken(AgentSessionsError):
    """Missing, forged, malformed, superseded, ended, expired or revoked: always this one answer (T3)."""

    code = "invalid_token"
    status = 401

    def __init__(self) -> None:
        super().__init__("Session token is missing, invalid, or expired.")


class InvalidAssertion(AgentSessionsError):
    """Nobody vouches for the consumer: the assertion is missing, forged, expired, revoked, or of somebody else (C1)."""

    code = "invalid_assertion"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "It is not known for whom you act. Ask the consumer for a new assertion from their account in this shop."
        )


class SignatureRefused(AgentSessionsError):
    """The site requires an HTTP message signature (RFC 9421) and the request has none that can be verified."""

    code = "signature_refused"
    status = 403


class ActorRefused(AgentSessionsError):
    """Only a person may do that: the consumer, or somebody on the staff."""

    code = "actor_refused"
    status = 403

    def __init__(self) -> None:
        super().__init__("Only the consumer or the staff of the shop may do that. Ask the consumer.")


class NotRelated(AgentSessionsError):
    """The other session is not of this one's family, or there is no such session."""

    code = "not_related"
    status = 404

    def __init__(self) -> None:
        super().__init__("This session has no such relative. List its branches and what it came from first.")


class TransferRefused(AgentSessionsError):
    """A session was not taken over (T4): the one answer to a code that is unknown, used, replaced or past its time.

    And to one whose session has ended, is of another consumer, or is with a person who did not allow it.
    """

    code = "transfer_refused"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "This session cannot be taken over with this code: it is unknown, used or past its time, or it is not for "
            "you. Ask the consumer for a new one."
        )
