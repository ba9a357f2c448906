"""Errors about handing over to a human who pays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_sessions.exceptions.base import AgentSessionsError


class HandoffNotFound(AgentSessionsError):
    code = "handoff_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such checkout link. Ask your agent for a new one.")


class CheckoutElsewhere(AgentSessionsError):
    """The consumer, or another branch of the session, has a checkout in progress, or has ordered (C1, L3).

    ``session_id`` is the session of that checkout; ``expires_at`` (UTC) is when it is over by itself, None if it was
    ordered.
    """

    code = "checkout_elsewhere"
    status = 409

    def __init__(self, session_id: object, expires_at: datetime | None) -> None:
        told = (
            "Another branch of this session has been ordered. Open a new session to buy more."
            if expires_at is None
            else "There is another checkout in progress, of the consumer or of another branch. Pay there, give it up "
            "there, or wait until it is over."
        )
        facts = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        super().__init__(told, session=str(session_id), ordered=expires_at is None, **facts)
        self.session_id = session_id
        self.expires_at = expires_at


class DevicesUnconfirmed(AgentSessionsError):
    """The consumer has other active agents and has not confirmed this checkout for them (C2). Nothing was paid."""

    code = "devices_unconfirmed"
    status = 409

    def __init__(self, agents: Sequence[str]) -> None:
        super().__init__(
            "You have other agents at work here. Say on this page, or on each of them, that you want to go on with "
            "this cart.",
            devices=len(agents),
        )
        self.agents = tuple(agents)


class HandoffClosed(AgentSessionsError):
    """The handoff cannot be paid: ``handoff_status`` says why, ``order_ref`` names the order if there is one."""

    code = "handoff_closed"
    status = 409

    def __init__(self, status: str, order_ref: str = "") -> None:
        told = {
            "ordered": f"This cart has been ordered: {order_ref}.",
            "expired": "The time to pay for this cart has passed. Ask your agent for a new link.",
            "replaced": "Your agent has made a newer checkout link. Use that one.",
            "given_up": "This checkout was given up. Ask your agent for a new link.",
            "ended": "The agent's session has ended. Ask your agent to start again.",
        }
        super().__init__(told.get(status, "This cart can no longer be paid."), status=status, order_ref=order_ref)
        self.handoff_status = status
        self.order_ref = order_ref
