from agent_sessions.models.history import Artifact, AuditEvent, Message, SessionVersion
from agent_sessions.models.keys import SiteKey
from agent_sessions.models.session import Session, SessionKey

__all__ = ["Artifact", "AuditEvent", "Message", "Session", "SessionKey", "SessionVersion", "SiteKey"]
