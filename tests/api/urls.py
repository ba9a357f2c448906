"""The smallest host: the package at the root, and a page of its own."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!DOCTYPE html><title>Shop</title>")


urlpatterns = [path("", include("agent_sessions.urls")), path("", home)]
