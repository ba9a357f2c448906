"""What every opening of a session over HTTP has in common: who opens it, and what they are answered."""

from __future__ import annotations

from typing import Any, TypedDict

from agent_sessions import services
from agent_sessions.api.base import ApiView
from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent, Scope
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.store.offer import offer


class Opener(TypedDict):
    """Who opens a session, as ``open_session`` and ``accept_transfer`` take it."""

    agent: Agent
    caller: str
    bound_to: str
    max_sessions: int
    call: Call


def opener_of(view: ApiView, *, agent_name: str, agent_version: str) -> Opener:
    """Return who sends the request. Raises InvalidValue for a name that an agent cannot have, KeyProblem."""
    identity = view.identity
    return {
        "agent": Agent(name=agent_name, version=agent_version, operator=identity.agent, key=identity.key),
        "caller": services.caller_pseudonym(identity.key or view.address),
        "bound_to": services.caller_pseudonym(view.address) if settings.bind_to == "address" else "",
        "max_sessions": settings.max_sessions,
        "call": Call(method="POST", params={"signature": identity.outcome.value}, response_status=201),
    }


def opened_answer(opened: services.OpenedSession, scope: Scope) -> dict[str, Any]:
    """Return what the agent is told of its new session; this is the only time that the token is shown."""
    offered = [one.name for one in offer().capabilities if one.requires_session]
    data: dict[str, Any] = {
        "session_token": opened.token,
        "session_id": str(opened.session_id),
        "expires_at": format_time(opened.expires_at),
        "capabilities": [name for name in offered if not scope.capabilities or name in scope.capabilities],
    }
    return {**data, "audit": True} if settings.audit else data


def as_field(refused: InvalidValue) -> InvalidParameter:
    """Turn what the core refuses into the field that was sent: clients of the protocol read 400 and not 422."""
    return InvalidParameter(refused.path.lstrip("/").replace("agent/", "agent_"), refused.problem)
