from agent_sessions.models.handoff import Caller, CheckoutHandoff
from agent_sessions.models.history import Artifact, AuditEvent, Message, SessionVersion
from agent_sessions.models.keys import SiteKey
from agent_sessions.models.session import Session, SessionKey

__all__ = [
    "Artifact",
    "AuditEvent",
    "Caller",
    "CheckoutHandoff",
    "Message",
    "Session",
    "SessionKey",
    "SessionVersion",
    "SiteKey",
]
