"""The package's addresses: ``path("", include("agent_sessions.urls"))`` at the root, outside ``i18n_patterns``.

No address ends in a slash: the protocol's do not, and APPEND_SLASH could only redirect a POST into nothing.
"""

from __future__ import annotations

from django.urls import include, path

from agent_sessions.api import approval_page, documents, handoffs, manifest, openapi
from agent_sessions.api.resources import RESOURCES
from agent_sessions.api.views import ArtifactView, CapabilityView, SessionView
from agent_sessions.transactions import outside_transactions

app_name = "agent_sessions"

_API = ".well-known/agents/api"
_resources = [path(one.path, outside_transactions(one.view.as_view()), name=one.name) for one in RESOURCES]
_artifact = outside_transactions(ArtifactView.as_view())
_capability = outside_transactions(CapabilityView.as_view())

urlpatterns = [
    path(".well-known/agents.json", manifest.agents_json, name="agents.json"),
    path(".well-known/agents.txt", manifest.agents_txt, name="agents.txt"),
    path("agents.json", manifest.agents_json, name="alias"),
    path("compat/.well-known/agents.json", manifest.other_profile, name="other-profile"),
    path(".well-known/agents/openapi.json", openapi.openapi_json, name="openapi"),
    path(".well-known/agents/session-state.schema.json", documents.state_schema, name="state-schema"),
    path(f"{_API}/session", outside_transactions(SessionView.as_view()), name="session"),
    # Together, because every other call would be compared with each of them.
    path(f"{_API}/session/", include(_resources)),
    path(f"{_API}/audit", _artifact, name="audit"),
    path(f"{_API}/audit/<path:rest>", _artifact, name="artifact"),
    path(_API, _capability, name="api"),
    path(f"{_API}/", _capability),
    path(f"{_API}/<path:rest>", _capability, name="capability"),
    path("agent-sessions/handoff/<str:token>", handoffs.handoff, name="handoff"),
    path("agent-sessions/approve/<str:token>", outside_transactions(approval_page.approve), name="approve"),
]
