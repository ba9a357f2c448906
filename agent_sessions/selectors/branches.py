"""Sessions that came from one another: branches, renewals, transfers (L2, L3, T4)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.lifecycle import Origin, Status
from agent_sessions.exceptions import NotRelated
from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors._totals import total_of
from agent_sessions.selectors.history import current_state, local_name

MOST = 100
"""Members of a family that are told: the newest."""
_SEARCHED = 1000


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A session of a family; of the first one ``origin`` is empty and ``parent`` None. Times are UTC.

    ``total`` is what its cart costs, in minor units and currency; None if nobody has priced it or it cannot be read.
    """

    session_id: uuid.UUID
    origin: str
    parent: uuid.UUID | None
    parent_version: int | None
    status: Status
    end_reason: str
    version: int
    agent_name: str
    created_at: datetime
    expires_at: datetime
    total: tuple[int, str] | None


def family(session: SessionHead | uuid.UUID) -> list[FamilyMember]:
    """Return the session and all that it came from or that came from the same first one, oldest first (L3).

    The newest 100. This is for people who look after sessions; what its own agent may know of is ``relatives``.
    Raises SessionNotFound.
    """
    return [_told(one) for one in _members(_head(session))[-MOST:]]


def relatives(session: SessionHead | uuid.UUID) -> list[FamilyMember]:
    """Return the members of the session's family that its agent may know of, itself too, oldest first.

    What another agent made of a session that it took over from this one is not this one's business. Raises
    SessionNotFound.
    """
    return [_told(one) for one in _known(_head(session))[-MOST:]]


def compare_sessions(
    one: SessionHead | uuid.UUID, other: SessionHead | uuid.UUID, *, as_agent: bool = False
) -> tuple[Difference, ...]:
    """Return what is different in ``other``, in shop terms, as both stand now (L3).

    ``as_agent``: as the agent of ``one`` may see it, without the scopes of others (C4). Raises NotRelated unless they
    are of one family and, ``as_agent``, ``other`` is one of the ``relatives``; and what ``current_state`` raises.
    """
    first, second = _head(one), _head(other)
    if first.family != second.family or (as_agent and all(found.pk != second.session_id for found in _known(first))):
        raise NotRelated
    views = current_state(first), current_state(second)
    return describe(*(view.seen_by(local_name(first)) if as_agent else view.state for view in views))


def _members(head: SessionHead) -> list[Session]:
    rows = Session.objects.using(_rows.write_connection().alias)
    found = rows.filter(Q(pk=head.family) | Q(family=head.family, parent__isnull=False)).order_by("-pk")
    return list(found.defer("token_digest", "head_hash", "scope")[:_SEARCHED])[::-1]


def _known(head: SessionHead) -> list[Session]:
    members = {one.pk: one for one in _members(head)}
    own = {one.pk for one in _path(members, head.session_id)}
    return [one for one in members.values() if _is_known(members, one, own)]


def _is_known(members: dict[uuid.UUID, Session], member: Session, own: set[uuid.UUID]) -> bool:
    """Tell whether the way from the sessions of ``own`` down to the member goes over to no other agent."""
    for one in _path(members, member.pk):
        if one.pk in own:
            return True
        if one.origin == Origin.TRANSFER.value:
            return False
    return False


def _path(members: dict[uuid.UUID, Session], session_id: uuid.UUID | None) -> list[Session]:
    """Return the member and what it came from, up to the first one."""
    path: list[Session] = []
    while session_id in members:
        path.append(members[session_id])
        session_id = path[-1].parent
    return path


def _told(one: Session) -> FamilyMember:
    return FamilyMember(
        one.pk,
        one.origin,
        one.parent,
        one.parent_version,
        Status(one.status),
        one.end_reason,
        one.version,
        one.agent_name,
        one.created_at,
        one.expires_at,
        total_of(one.pk),
    )


def _head(session: SessionHead | uuid.UUID) -> SessionHead:
    return session if isinstance(session, SessionHead) else read_head(session)
