"""Every read. These names are the public surface; see docs/python.md."""

from agent_sessions.selectors._heads import (
    SessionHead,
    authenticate,
    authenticate_repeat,
    get_session,
    read_head,
    session_of_token,
)
from agent_sessions.selectors.audit import DISCLOSURES, events, private_values
from agent_sessions.selectors.conversation import Ancestor, Found, ancestors, search_messages
from agent_sessions.selectors.handoffs import get_handoff, handoff_by_token, handoff_of_request
from agent_sessions.selectors.history import (
    StateView,
    Turn,
    VersionInfo,
    compare,
    current_state,
    messages,
    state_at_time,
    state_at_version,
    versions,
)
from agent_sessions.selectors.overview import SessionOverview, overview
from agent_sessions.selectors.sessions import DueSessions, due_sessions, session_ids
from agent_sessions.selectors.verification import SessionReport, verify_session

__all__ = [
    "DISCLOSURES",
    "Ancestor",
    "DueSessions",
    "Found",
    "SessionHead",
    "SessionOverview",
    "SessionReport",
    "StateView",
    "Turn",
    "VersionInfo",
    "ancestors",
    "authenticate",
    "authenticate_repeat",
    "compare",
    "current_state",
    "due_sessions",
    "events",
    "get_handoff",
    "get_session",
    "handoff_by_token",
    "handoff_of_request",
    "messages",
    "overview",
    "private_values",
    "read_head",
    "search_messages",
    "session_ids",
    "session_of_token",
    "state_at_time",
    "state_at_version",
    "verify_session",
    "versions",
]
