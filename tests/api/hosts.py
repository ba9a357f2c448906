"""Pieces of hosts that the package has to live with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.throttling import BaseThrottle

Respond = Callable[[HttpRequest], HttpResponse]


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!DOCTYPE html><title>Shop</title>")


def reads_the_body(get_response: Respond) -> Respond:
    def respond(request: HttpRequest) -> HttpResponse:
        _ = request.body
        return get_response(request)

    return respond


def forbids(get_response: Respond) -> Respond:
    def respond(request: HttpRequest) -> HttpResponse:
        return HttpResponseForbidden("<h1>Forbidden by the firewall</h1>")

    return respond


class Nobody(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Never(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


class Csrf(SessionAuthentication):
    def authenticate(self, request: Any) -> None:
        self.enforce_csrf(request)


def another_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    return HttpResponse("the host's own error page", status=418)


class BrokenCache(BaseCache):
    """A cache whose server is gone."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        raise ConnectionError("redis://:secret@cache is down")

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("redis://:secret@cache is down")

    def incr(self, *args: Any, **kwargs: Any) -> int:
        raise ConnectionError("redis://:secret@cache is down")

    def clear(self) -> None:
        """Whoever tidies up after a test is not refused."""


urlpatterns = [
    path("", include("agent_sessions.urls")),
    *i18n_patterns(path("", home), path("<path:page>/", home), prefix_default_language=True),
]
