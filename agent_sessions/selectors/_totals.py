"""What a session's cart costs, for lists of sessions that are not all readable."""

from __future__ import annotations

import uuid

from agent_sessions.domain.shown_cart import amount_of, shown_cart
from agent_sessions.exceptions import ContentErased, KeyProblem, SchemaUnknown, SessionDamaged
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.history import current_state


def total_of(session: SessionHead | uuid.UUID) -> tuple[int, str] | None:
    """Return minor units and currency; None for a cart that nobody has priced, and where it cannot be read."""
    try:
        return amount_of(shown_cart(current_state(session).state))
    except (ContentErased, KeyProblem, SchemaUnknown, SessionDamaged):
        return None
