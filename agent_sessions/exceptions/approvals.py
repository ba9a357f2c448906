"""Errors about asking a human."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class ApprovalNotFound(AgentSessionsError):
    code = "approval_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such approval. The agent can ask for a new one.")


class ApprovalWaiting(AgentSessionsError):
    """A person was asked about this cart and has not answered yet, so it is not checked out (L5)."""

    code = "approval_waiting"
    status = 409

    def __init__(self, approval_id: object) -> None:
        super().__init__(
            "A person was asked about this cart and has not answered yet. Wait for the answer, or change the cart.",
            approval=str(approval_id),
        )


class ApprovalClosed(AgentSessionsError):
    """An approval that can be answered or used no more; ``approval_status`` says what has become of it (L5)."""

    code = "approval_closed"
    status = 409

    def __init__(self, approval_id: object, status: str) -> None:
        told = {
            "escalated": "The shop has been asked to decide this; its answer counts.",
            "granted": "This has been granted already.",
            "rejected": "A person has rejected this cart. Change it, or ask again.",
            "void": "The cart is not the one that was asked about any more. The agent has to ask again.",
            "used": "This approval has been used; it holds once.",
        }
        super().__init__(
            told.get(status, "This approval does not hold any more."), approval=str(approval_id), status=status
        )
        self.approval_id = approval_id
        self.approval_status = status


class ApprovalExpired(ApprovalClosed):
    """The window of an approval, or its session, lapsed before it was answered and used (L5)."""

    code = "approval_expired"

    def __init__(self, approval_id: object) -> None:
        super().__init__(approval_id, "expired")
        self.message = "Approval window expired. Consumer must re-authorize."
        self.args = (self.message,)


class AnswerRefused(AgentSessionsError):
    """An answer to an approval that did not fit: from somebody else than its consumer, or with another total.

    ``attempts_left`` is how many more there may be; at none the approval counts as rejected.
    """

    code = "answer_refused"
    status = 403

    def __init__(self, approval_id: object, attempts_left: int) -> None:
        super().__init__(
            f"The answer does not fit what was asked. Nothing was decided; {attempts_left} more can be tried.",
            approval=str(approval_id),
            attempts_left=attempts_left,
        )
        self.attempts_left = attempts_left
