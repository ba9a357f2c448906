"""What a session still holds when it ends is let go first, so that its history says so before its last event (L6).

Whatever is to be released at every end has a line in each of the two functions here.
"""

from __future__ import annotations

import uuid

from agent_sessions.domain.approvals import OPEN
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.approvals import stored_approvals
from agent_sessions.services.answers import close_approvals
from agent_sessions.services.releasing import holds_anything, release_holds_at_end


class StillHolding(Exception):
    """The session that is to be ended holds something that has to be released before. Never leaves the services."""


def require_nothing_held(session_id: uuid.UUID) -> None:
    """Raise StillHolding if there is something to release.

    Asked while the end is decided: what comes after it moves the session, and then the end is decided anew.
    """
    if stored_approvals().filter(session_id=session_id, status__in=OPEN).exists() or holds_anything(session_id):
        raise StillHolding


def release_at_end(head: SessionHead, reason: EndReason) -> int:
    """Release what the session holds; return its version then. In the transaction of its end, before that.

    The caller holds the session's row. The deadline may have passed and the token may be revoked: what is committed
    here says ``when_overdue=None``. ``reason`` is how it ends.
    """
    close_approvals(head)
    return release_holds_at_end(head.session_id, reason)
