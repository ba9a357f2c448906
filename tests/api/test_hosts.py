"""The package lives in any host: transactions, REST framework settings, languages, prefixes, slashes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.db import connection
from django.test import AsyncClient, Client
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.settings import api_settings

from agent_sessions import selectors
from agent_sessions.api.views import CapabilityView
from agent_sessions.transactions import outside_transactions
from tests.api.conftest import API, AgentClient

RESTRICTIVE = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tests.api.hosts.Csrf"],
    "DEFAULT_PERMISSION_CLASSES": ["tests.api.hosts.Nobody"],
    "DEFAULT_THROTTLE_CLASSES": ["tests.api.hosts.Never"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "ALLOWED_VERSIONS": ["7"],
    "EXCEPTION_HANDLER": "tests.api.hosts.another_handler",
    "URL_FORMAT_OVERRIDE": "q",
    "UNAUTHENTICATED_USER": "nowhere.to.be.Found",
}


@pytest.fixture
def restrictive(settings: Any) -> Iterator[None]:
    settings.REST_FRAMEWORK = RESTRICTIVE
    api_settings.reload()
    yield
    del settings.REST_FRAMEWORK
    api_settings.reload()


@pytest.mark.django_db
def test_a_hosts_rest_framework_settings_change_nothing(restrictive: None) -> None:
    agent = AgentClient(enforce_csrf_checks=True)
    agent.open()

    assert agent.data("POST", "/cart", {"item_id": "mug"}, status=201, headers={"Accept": "application/xml"})
    assert agent.data("GET", "/search?q=mug")
    assert agent.refused(404, "GET", "/nothing")
    assert agent.refused(405, "PUT", "/session")
    assert agent.refused(500, "GET", "/search?q=break")


def test_nothing_on_the_view_is_read_from_the_hosts_settings() -> None:
    names = [
        name for name in vars(importlib.import_module("rest_framework.views").APIView) if name.endswith("_classes")
    ]

    assert {name: getattr(CapabilityView, name) for name in names} == dict.fromkeys(names, ())
    assert CapabilityView.content_negotiation_class is BaseContentNegotiation
    assert CapabilityView.versioning_class is CapabilityView.metadata_class is None


@pytest.mark.django_db(transaction=True)
def test_a_refused_call_stays_recorded_in_a_host_with_atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    agent = AgentClient()
    agent.open()
    session = selectors.authenticate(agent.token).session_id

    agent.refused(404, "POST", "/cart", {"item_id": "nothing"})
    agent.refused(500, "GET", "/search?q=break")

    statuses = [event["response_status"] for event in selectors.events(session)]
    assert statuses[1:] == [404, 500]


def test_every_database_is_left_to_the_services() -> None:
    view = outside_transactions(CapabilityView.as_view(), ["default", "sessions"])

    assert view._non_atomic_requests == {"default", "sessions"}


@pytest.mark.django_db
@pytest.mark.parametrize("debug", [True, False])
def test_a_host_that_appends_slashes_redirects_nothing_of_ours(agent: AgentClient, settings: Any, debug: bool) -> None:
    settings.APPEND_SLASH, settings.DEBUG = True, debug
    settings.ROOT_URLCONF = "tests.api.hosts"

    agent.open()

    assert agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    agent.refused(404, "POST", "/nothing", {})
    agent.refused(404, "POST", "/session/", {})


@pytest.mark.django_db
def test_a_host_with_languages_in_its_addresses_keeps_ours_as_they_are(agent: AgentClient, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.hosts"
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]

    assert agent.data("POST", "/session", status=201, headers={"Accept-Language": "de"})
    manifest = agent.send("GET", "/.well-known/agents.json", headers={"Accept-Language": "de"}).json()
    assert manifest["session"]["endpoint"] == f"https://shop.example{API}/session"


@pytest.mark.django_db
def test_below_a_prefix_the_manifest_tells_the_addresses_there(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.prefixed"
    client = Client()

    document = client.get("/shop/.well-known/agents.json").json()

    assert document["session"]["endpoint"] == f"https://shop.example/shop{API}/session"
    opened = client.post(f"/shop{API}/session", content_type="application/json")
    assert opened.status_code == 201
    assert opened.headers["Link"] == '</shop/.well-known/agents.json>; rel="agents"'


@pytest.mark.django_db
def test_a_host_that_asks_everybody_to_log_in_lets_agents_through(agent: AgentClient, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    agent.open()

    assert agent.send("GET", "/.well-known/agents.json").status_code == 200
    assert agent.send("GET", "/.well-known/agents.txt").status_code == 200
    assert agent.send("GET", "/.well-known/agents/openapi.json").status_code == 200
    assert agent.get("/agent-sessions/handoff/unknown").status_code == 404


@pytest.mark.django_db
def test_a_host_with_no_middleware_at_all_is_enough(agent: AgentClient, settings: Any) -> None:
    settings.MIDDLEWARE = []
    agent.open()
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)

    url = agent.data("POST", "/checkout")["handoff_url"]

    assert agent.get(url.removeprefix(django_settings.AGENT_SESSIONS["SITE"])).status_code == 200
    agent.refused(404, "GET", "/audit/01890000-0000-7000-8000-000000000000")


@pytest.mark.django_db
def test_without_a_site_of_its_own_the_manifest_names_a_host_that_django_has_checked(
    agent: AgentClient, configure: Any
) -> None:
    configure(SITE="")

    assert agent.send("GET", "/.well-known/agents.json").json()["site"]["url"] == "http://testserver"
    assert agent.send("GET", "/.well-known/agents.json", SERVER_NAME="evil.example").status_code == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("length", [True, False], ids=["with a length", "in chunks"])
def test_it_works_under_asgi(length: bool) -> None:
    body = b'{"agent_name": "Helper"}'
    headers = {} if length else {"Content-Length": ""}

    async def open_one() -> Any:
        client = AsyncClient(raise_request_exception=False)
        return await client.generic("POST", f"{API}/session", body, content_type="application/json", headers=headers)

    answer = async_to_sync(open_one)()

    assert answer.status_code == 201
    head = selectors.authenticate(answer.json()["data"]["session_token"])
    assert head.agent_name == "Helper"


@pytest.mark.django_db
def test_a_query_with_too_many_fields_is_refused(agent: AgentClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 10

    assert agent.refused(400, "GET", "/search?" + "q=1&" * 11)["code"] == "malformed_request"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/search?q=%00", "/detail/%00", "/detail/%ff", "/search?q=%ED%A0%80", "/%00", "/audit/%00"]
)
def test_strange_bytes_in_an_address_are_no_fault_of_ours(agent: AgentClient, path: str) -> None:
    answer = agent.send("GET", path)

    assert answer.status_code in (200, 400, 404)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
