"""Who signs a request: RFC 9421 HTTP message signatures in the web-bot-auth profile (requirement T5).

``verifier.SignatureVerifier`` tells which agent signed, ``signing.sign_request`` signs. Both need the optional extra
``agent-sessions[identity]``; what is imported here does not, so that a host without it can still name the outcomes.
"""

from agent_sessions.identity.outcome import AgentIdentity, Outcome, Problem

__all__ = ["AgentIdentity", "Outcome", "Problem"]
