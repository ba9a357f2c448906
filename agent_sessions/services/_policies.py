"""What policies are told of a session, and how what they refuse is said to the agent."""

from __future__ import annotations

from django.urls import reverse

from agent_sessions.conf import settings
from agent_sessions.domain.approvals import asked_id
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import AGENT
from agent_sessions.exceptions import PolicyDenied
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.store.capabilities import CapabilityCall, SessionFacts
from agent_sessions.store.policies import Verdict

REFUSED = "capability.refused"


def session_facts(head: SessionHead) -> SessionFacts:
    """Return what a handler and a policy may know of the session that calls."""
    return SessionFacts(
        head.session_id, head.version, head.agent, head.consumer, head.merchant, head.scope, head.expires_at
    )


def denial(verdict: Verdict, call: CapabilityCall) -> PolicyDenied:
    """Return the refusal of a call, with how to ask a person where that would help."""
    approval: dict[str, object] | None = None
    if verdict.approval:
        approval = {
            "status": verdict.approval,
            "method": "POST",
            "url": settings.site + reverse("agent_sessions:approvals"),
            "capability": call.capability.name,
        }
        if asked_id(call.state):
            approval["id"] = asked_id(call.state)
    return PolicyDenied(verdict.message, rule=verdict.rule, needs_human=verdict.needs_human, approval=approval)


def record_denial(head: SessionHead, refused: PolicyDenied, *, capability: str) -> None:
    """Record that a human is not asked, because their yes would not help (A1)."""
    call = Call(
        capability,
        "POST",
        params={"code": refused.code, "asked": "approval"},
        policy_result="deny",
        policy_rule=refused.rule,
        response_status=refused.status,
    )
    if settings.audit:
        commit(head.session_id, Draft(REFUSED, AGENT, call))
