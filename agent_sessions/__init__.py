"""Sessions for AI agents that shop in a Django store.

Import from ``agent_sessions.services`` (every change) and ``agent_sessions.selectors`` (every read).
``agent_sessions.domain``, ``agent_sessions.crypto`` and ``agent_sessions.audit`` run without Django.
"""

__version__ = "0.1.0"
