"""A host that puts the package below a prefix of its own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("shop/", include("agent_sessions.urls"))]
