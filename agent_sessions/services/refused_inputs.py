"""Noting that what an agent sent was refused before anybody looked at it further: where and why, never what (S8)."""

from __future__ import annotations

from typing import Final

from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import PaymentDataRefused
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.services._commit import Committed, commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._payment_data import told_of

REFUSED: Final = "input.refused"


def note_refused_input(
    session: SessionHead, refused: PaymentDataRefused, *, method: str = "", actor: Actor = AGENT
) -> Committed:
    """Record in the session's chain that raw payment data was sent and refused (A1, PCI DSS 12.10.7).

    Raises what ``record_event`` raises.
    """
    call = Call(
        method=method,
        params={"code": refused.code, **told_of(refused)},
        policy_result="deny",
        policy_rule=refused.code,
        response_status=refused.status,
    )
    return commit(session.session_id, Draft(REFUSED, actor, call))
