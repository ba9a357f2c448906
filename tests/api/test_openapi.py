"""The OpenAPI description is well-formed, and what the site answers is what it says."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.conftest import API, AgentClient

pytestmark = pytest.mark.django_db
DESCRIPTION = "/.well-known/agents/openapi.json"


@pytest.fixture
def described(agent: AgentClient) -> dict[str, Any]:
    document: dict[str, Any] = agent.send("GET", DESCRIPTION).json()
    return document


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            found: Any = document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return resolved(found, document)
        return {name: resolved(value, document) for name, value in schema.items()}
    return [resolved(item, document) for item in schema] if isinstance(schema, list) else schema


def test_it_is_valid_openapi_3_1(described: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(described).validate()
    assert described["openapi"] == "3.1.0"


def test_it_has_every_endpoint_of_the_manifest(agent: AgentClient, described: dict[str, Any]) -> None:
    for entry in agent.send("GET", "/.well-known/agents.json").json()["capabilities"]:
        path = re.sub(r":(\w+)", r"{\1}", entry["endpoint"].removeprefix("https://shop.example"))
        operation = described["paths"][path][entry["method"].lower()]
        named = {one["name"] for one in operation["parameters"] if one.get("in") in ("query", "path")}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert named | body.get("properties", {}).keys() == entry.get("params", {}).keys()
        needs = {} not in operation["security"]
        assert needs is entry["requires_session"]


def test_methods_that_are_answered_the_same_way_are_there_too(described: dict[str, Any]) -> None:
    cart = described["paths"][f"{API}/cart"]

    assert set(cart) == {"get", "post", "put", "patch", "delete"}
    assert (cart["patch"]["operationId"], cart["put"]["operationId"]) == ("cart.update", "cart.update.put")


CALLS = [
    ("POST", "/session", "/session", {"agent_name": "A"}),
    ("GET", "/search?q=mug", "/search", None),
    ("GET", "/search", "/search", None),
    ("GET", "/detail/nothing", "/detail/{id}", None),
    ("POST", "/cart", "/cart", {"item_id": "mug"}),
    ("POST", "/cart", "/cart", {"item_id": "nothing"}),
    ("POST", "/checkout", "/checkout", None),
    ("DELETE", "/session", "/session", None),
    ("GET", "/cart", "/cart", None),
    ("GET", "/audit/nothing", "/audit/{session_id}", None),
    ("GET", "/search?q=break", "/search", None),
]


def test_answers_are_what_the_description_says(shopper: AgentClient, described: dict[str, Any], configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=100)
    for method, path, template, body in CALLS:
        answer = shopper.send(method, path, body)
        responses = described["paths"][API + template][method.lower()]["responses"]
        status = str(answer.status_code)
        told = resolved(responses.get(status) or responses[f"{status[0]}XX"], described)
        jsonschema.validate(answer.json(), told["content"]["application/json"]["schema"])
        if path == "/checkout" or answer.status_code >= 400:
            continue
        missing = told["headers"].keys() - answer.headers.keys()
        assert missing <= {"ETag", "Idempotent-Replayed"}, f"{method} {path}"


def test_the_artifact_is_what_the_description_says(shopper: AgentClient, described: dict[str, Any]) -> None:
    shopper.data("DELETE", "/session")

    answer = shopper.send("GET", f"/audit/{shopper.token}").json()

    told = described["paths"][f"{API}/audit/{{session_id}}"]["get"]["responses"]["200"]
    jsonschema.validate(answer, resolved(told["content"]["application/json"]["schema"], described))


@pytest.mark.parametrize("path", [DESCRIPTION, "/.well-known/agents.json", "/.well-known/agents.txt"])
def test_public_documents_can_be_kept_and_asked_for_again(agent: AgentClient, path: str) -> None:
    first = agent.send("GET", path)
    tag = first.headers["ETag"]

    again = agent.send("GET", path, headers={"If-None-Match": tag})

    assert first.headers["Cache-Control"] == "public, max-age=60"
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert agent.send("GET", path, headers={"If-None-Match": f'"x", W/{tag}'}).status_code == 304
    assert agent.send("GET", path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert agent.send("OPTIONS", path).status_code == 204
    assert agent.refused(405, "POST", path, {})["code"] == "method_not_allowed"
