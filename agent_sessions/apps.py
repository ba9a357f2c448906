from __future__ import annotations

from django.apps import AppConfig


class AgentSessionsConfig(AppConfig):
    name = "agent_sessions"
    verbose_name = "Agent sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from agent_sessions import checks  # noqa: F401
        from agent_sessions.services.staleness import connect_store
        from agent_sessions.store.offer import discover

        discover()
        connect_store()
