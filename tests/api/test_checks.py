"""System checks of what the API runs on; docs/settings.md lists them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

SINKS = [{"name": "heads", "class": "agent_sessions.sinks.DirectorySink", "directory": "/srv/heads"}]
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def findings(*, deploy: bool = False) -> list[CheckMessage]:
    messages = run_checks(include_deployment_checks=deploy)
    return [message for message in messages if str(message.id).startswith("agent_sessions.")]


def test_the_small_host_is_in_order() -> None:
    assert findings() == []


WRONG_TYPES = [
    {"STORE": object},
    {"POLICIES": ["a"]},
    {"SITE_NAME": None},
    {"SITE_DESCRIPTION": 1},
    {"SITE_CONTACT": 1},
    {"DOCS_URL": None},
    {"MANIFEST_PROFILE": "both"},
    {"ENDPOINTS": "host"},
    {"AUDIT": "yes"},
    {"END_ON_HANDOFF": 1},
    {"HANDOFF_TTL": 0},
    {"MAX_REQUESTS_PER_MINUTE": -1},
    {"MAX_REQUESTS_PER_MINUTE": "60/minute"},
    {"MAX_SESSIONS": True},
    {"LIMITS_CACHE": None},
    {"WITHOUT_LIMITS_CACHE": "ignore"},
    {"MAX_BODY_BYTES": 0},
    {"PROXIES": -1},
    {"PROXIES": "1"},
    {"CORS_ORIGIN": ["*"]},
    {"BIND_TO": "user-agent"},
    {"SIGNATURES": True},
    {"SIGNATURE_DIRECTORIES": "https://agent.example"},
]


@pytest.mark.parametrize(
    "changes", WRONG_TYPES, ids=[f"{name}={value}" for one in WRONG_TYPES for name, value in one.items()]
)
def test_a_value_of_the_wrong_kind_is_an_error(configure: Any, changes: dict[str, Any]) -> None:
    configure(**changes)

    (finding,) = findings()

    assert finding.id == "agent_sessions.E002"
    assert repr(next(iter(changes))) in finding.msg


SITUATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "store that is not there": ({"STORE": "shop.nowhere.Store"}, "E008", "STORE"),
    "store that is none": ({"STORE": "django.http.HttpRequest"}, "E008", "STORE"),
    "policies that are not there": ({"POLICIES": "shop.nowhere.RULES"}, "E008", "POLICIES"),
    "site without a scheme": ({"SITE": "shop.example"}, "E009", "'SITE'"),
    "site of another scheme": ({"SITE": "ftp://shop.example"}, "E009", "'SITE'"),
    "site with a path": ({"SITE": "https://shop.example/de"}, "E009", "'SITE'"),
    "site with a slash": ({"SITE": "https://shop.example/"}, "E009", "'SITE'"),
    "site with a bad port": ({"SITE": "https://shop.example:port"}, "E009", "'SITE'"),
    "origin with a path": ({"CORS_ORIGIN": "https://agent.example/x"}, "E009", "'CORS_ORIGIN'"),
    "limits without a cache": ({"LIMITS_CACHE": "nowhere"}, "E010", "'nowhere'"),
    "directory without https": ({"SIGNATURE_DIRECTORIES": ["http://agent.example"]}, "E012", "https origin"),
    "signatures of nobody": ({"SIGNATURES": "require"}, "E012", "nobody can call"),
}


@pytest.mark.parametrize(("changes", "check", "says"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_each_situation_has_its_check(configure: Any, changes: dict[str, Any], check: str, says: str) -> None:
    configure(**changes)

    (finding,) = findings()

    assert finding.id == f"agent_sessions.{check}"
    assert says in finding.msg
    assert finding.hint


def test_signatures_need_what_verifies_them(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agent_sessions.identity.verifier", None)
    configure(SIGNATURE_DIRECTORIES=["https://agent.example"])

    assert [finding.id for finding in findings()] == ["agent_sessions.E011"]


@pytest.mark.parametrize("site", ["https://shop.example", "http://localhost:8000", "http://[::1]:8000"])
def test_origins_are_good(configure: Any, site: str) -> None:
    configure(SITE=site, CORS_ORIGIN=site)

    assert findings() == []


@pytest.mark.parametrize("backend", [LOCMEM, "django.core.cache.backends.dummy.DummyCache"])
def test_a_deployment_is_told_that_its_cache_cannot_count(configure: Any, settings: Any, backend: str) -> None:
    settings.CACHES = {"default": {"BACKEND": backend}}
    configure(MAX_REQUESTS_PER_MINUTE=60, LOG_SINKS=SINKS)

    assert findings() == [], "for trying things out one process is enough"
    assert [finding.id for finding in findings(deploy=True)] == ["agent_sessions.W003"]


def test_a_deployment_that_counts_nothing_or_counts_well_is_in_order(configure: Any, settings: Any) -> None:
    configure(LOG_SINKS=SINKS)
    assert findings(deploy=True) == []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"}}
    configure(MAX_REQUESTS_PER_MINUTE=60)

    assert findings(deploy=True) == []
