"""docs/http.md and docs/sessions.md tell what there is: every address, every error code, examples that still hold."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver

from agent_sessions import urls
from agent_sessions.api import envelopes, errors
from agent_sessions.exceptions import AgentSessionsError
from tests.api.conftest import AgentClient

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "http.md").read_text()
SESSIONS = (DOCS / "sessions.md").read_text()


def test_every_error_of_the_http_layer_is_listed() -> None:
    ours = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__]
    assert len(ours) >= 6
    for error in ours:
        assert issubclass(error, AgentSessionsError)
        assert f"| `{error.code}` | {error.status} |" in PAGE
    for code, _ in envelopes._TOLD.values():
        assert f"`{code}`" in PAGE


def test_every_code_that_is_listed_is_one_that_there_is() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|(.*?)\| \d{3} \|", PAGE, re.MULTILINE))))
    known = {code for code, _ in envelopes._TOLD.values()}
    pending = [AgentSessionsError]
    while pending:
        error = pending.pop()
        known.add(error.code)
        pending += error.__subclasses__()

    assert listed - known == set()
    assert "invalid_token" in listed


def addresses(patterns: Iterable[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        address = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, address)
        else:
            yield address


def test_every_address_is_listed() -> None:
    found = list(addresses(urls.urlpatterns))
    assert len(found) > 30
    for address in found:
        route = re.sub(r"<\w+:(\w+)>", "<", address).partition("<")[0].rstrip("/")
        below = route.partition("/api/session/")[2]
        if below:
            assert f"/session/{below}" in SESSIONS, below
        else:
            assert f"/{route}" in PAGE + SESSIONS, route


@pytest.mark.django_db
def test_the_capabilities_that_every_store_has_are_listed_with_their_parameters(agent: AgentClient) -> None:
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| (?:GET|POST|PATCH|DELETE)[^|]*`/[^|]*\|([^|]*)\|", PAGE, re.MULTILINE))
    for entry in agent.send("GET", "/.well-known/agents.json").json()["capabilities"]:
        if not entry["name"].startswith("voucher."):
            assert [name for name in entry.get("params", {}) if f"`{name}`" not in rows[entry["name"]]] == []
