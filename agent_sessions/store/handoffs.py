"""What a store is told when a human comes to pay for what an agent put together."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_sessions.types import State


class HandoffStatus(StrEnum):
    """``open``: can be paid. ``changed``: too, but the agent has changed the cart since the link was made."""

    OPEN = "open"
    CHANGED = "changed"
    ORDERED = "ordered"
    EXPIRED = "expired"
    REPLACED = "replaced"
    GIVEN_UP = "given_up"
    ENDED = "ended"


PAYABLE = (HandoffStatus.OPEN, HandoffStatus.CHANGED)


@dataclass(frozen=True, slots=True)
class Handoff:
    """A cart that an agent handed to a human.

    ``version`` and ``state`` are the session's as the human is to see them now: those of the handoff, or newer ones
    where ``status`` is ``changed``. Give that version to ``complete_handoff``: what the human did not see is not paid.
    ``handed_version`` is the version that was handed over. Times are UTC.

    ``others`` are the names of the consumer's other agents that are active and on which this cart was not confirmed.
    Show them; when the person goes on with this cart, call ``confirm_devices`` before you charge anything (C2).
    """

    id: uuid.UUID
    session_id: uuid.UUID
    status: HandoffStatus
    handed_version: int
    version: int
    state: State
    agent_name: str
    created_at: datetime
    expires_at: datetime
    order_ref: str = ""
    others: tuple[str, ...] = ()

    @property
    def can_be_paid(self) -> bool:
        return self.status in PAYABLE
