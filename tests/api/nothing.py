"""A site of the same project that has nothing for agents."""

from __future__ import annotations

from django.urls import path

from tests.api.hosts import home

urlpatterns = [path("", home)]
