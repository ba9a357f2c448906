"""What a session is, without Django: the types that callers pass in, and the rules behind them."""

from agent_sessions.domain.calls import Call
from agent_sessions.domain.differences import Difference
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor, Agent, Scope
from agent_sessions.domain.lifecycle import EndReason, Status

__all__ = ["AGENT", "SYSTEM", "Actor", "Agent", "Call", "Difference", "EndReason", "Scope", "Status"]
