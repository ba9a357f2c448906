"""The OpenAPI 3.1 description of this site's API, made from the capabilities that are registered."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

import agent_sessions
from agent_sessions.api import schemas
from agent_sessions.api.envelopes import JSON_TYPE, answer_to
from agent_sessions.api.idempotency import REPLAYED, WRITES
from agent_sessions.api.manifest import api_path, origin_of, published
from agent_sessions.api.resource import Operation
from agent_sessions.api.resources import RESOURCES, Resource
from agent_sessions.conf import settings
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.store import Capability
from agent_sessions.store.offer import offer

_TOKEN: Final[list[dict[str, list[str]]]] = [{"agentSession": []}, {"bearer": []}, {"sessionToken": []}]
_OPTIONAL_TOKEN: Final[list[dict[str, list[str]]]] = [{}, *_TOKEN]
_PATH_TYPES: Final[dict[str, dict[str, Any]]] = {
    "int": {"type": "integer", "minimum": 1},
    "str": {"type": "string"},
    "uuid": {"type": "string", "format": "uuid"},
}
_REFUSALS: Final = ("400", "401", "403", "404", "405", "409", "413", "429", "500", "503")


@csrf_exempt
@login_not_required
def openapi_json(request: HttpRequest) -> HttpResponseBase:
    """Serve the description."""
    try:
        content = msgspec.json.encode(description(origin_of(request)))
    except AgentSessionsError as problem:
        return answer_to(problem)
    return published(request, content, JSON_TYPE)


def description(origin: str) -> dict[str, Any]:
    """Return the whole document. ``origin`` is the site's, such as ``https://shop.example``."""
    paths: dict[str, dict[str, Any]] = {
        reverse("agent_sessions:session"): {
            "get": _session(),
            "post": _open_session(),
            "delete": _end_session(),
        },
        reverse("agent_sessions:audit") + "/{session_id}": {"get": _artifact()},
    }
    for one in RESOURCES:
        address = reverse("agent_sessions:session") + "/" + re.sub(r"<[a-z]+:([^>]+)>", r"{\1}", one.path)
        paths[address] = {method.lower(): _described(one, told) for method, told in one.view.operations.items()}
    for capability in offer().capabilities:
        address = api_path() + re.sub(r":([^/]+)", r"{\1}", capability.path)
        for method in capability.methods:
            paths.setdefault(address, {})[method.lower()] = _operation(capability, method)
    _tell_how_to_retry(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{settings.site_name}: API for agents",
            "version": agent_sessions.__version__,
            "description": settings.site_description or "What agents can do on this site.",
        },
        "servers": [{"url": origin}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "agentSession": {"type": "apiKey", "in": "header", "name": "X-Agent-Session"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "sessionToken": {"type": "apiKey", "in": "header", "name": "X-Session-Token"},
            },
            "schemas": schemas.COMPONENTS,
            "headers": schemas.HEADERS,
            "parameters": {"IfMatch": schemas.IF_MATCH, "IdempotencyKey": schemas.IDEMPOTENCY_KEY},
            "responses": {
                status: {
                    "description": schemas.REFUSALS[status],
                    "content": schemas.json_content({"$ref": "#/components/schemas/Refusal"}),
                    "headers": _headers(*(("Retry-After",) if status in ("409", "429") else ())),
                }
                for status in schemas.REFUSALS
            },
        },
    }


def _tell_how_to_retry(paths: dict[str, dict[str, Any]]) -> None:
    """Add to every write that it takes an Idempotency-Key, and what comes of it (V7)."""
    for operations in paths.values():
        for method, operation in operations.items():
            if method.upper() in WRITES:
                operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
                responses = operation["responses"]
                for status in responses.keys() - schemas.REFUSALS.keys():
                    responses[status]["headers"] |= _headers(REPLAYED)
                responses["422"] = {"$ref": "#/components/responses/422"}


def _operation(capability: Capability, method: str) -> dict[str, Any]:
    in_path = capability.path_params
    elsewhere = {name: param for name, param in capability.params.items() if name not in in_path}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of_param(capability.params[name])}
        for name in in_path
    ]
    operation: dict[str, Any] = {
        "operationId": capability.name if method == capability.method else f"{capability.name}.{method.lower()}",
        "summary": capability.description or capability.name,
        "security": _TOKEN if capability.requires_session else _OPTIONAL_TOKEN,
        "parameters": parameters,
    }
    if method == "GET":
        parameters += [
            {
                "name": name,
                "in": "query",
                "required": param.required,
                "description": param.description,
                "schema": schemas.of_param(param),
            }
            for name, param in elsewhere.items()
        ]
    else:
        operation["requestBody"] = {
            "required": any(param.required for param in elsewhere.values()),
            "content": schemas.json_content(schemas.of_params(elsewhere)),
        }
    if capability.requires_session and method != "GET":
        parameters.append({"$ref": "#/components/parameters/IfMatch"})
    answer = dict(capability.answer) or {}
    if capability.human_handoff:
        answer = {"allOf": [{"$ref": "#/components/schemas/Handoff"}, answer]} if answer else schemas.HANDOFF
    # A capability says its status only when it answers, so every success has the one shape.
    operation["responses"] = {
        "2XX": _success("The answer. 201 where something was made.", answer, *_etag(capability)),
        **_refusals(*(("412",) if capability.requires_session and method != "GET" else ())),
    }
    return operation


def _described(resource: Resource, told: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_TYPES[kind]}
        for kind, name in re.findall(r"<([a-z]+):([^>]+)>", resource.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in told.query.items()]
    if told.changes:
        parameters.append({"$ref": "#/components/parameters/IfMatch"})
    operation: dict[str, Any] = {
        "operationId": told.name,
        "summary": told.summary,
        "security": _TOKEN if told.with_token else _OPTIONAL_TOKEN,
        "parameters": parameters,
        "responses": {
            told.status: _success("The answer.", told.answer, *(("ETag",) if told.with_token else ())),
            **_refusals(*told.refusals, *(("412",) if told.changes else ())),
        },
    }
    if told.body is not None:
        required = bool(told.body.get("required"))
        operation["requestBody"] = {"required": required, "content": schemas.json_content(told.body)}
    return operation


def _session() -> dict[str, Any]:
    return {
        "operationId": "session.get",
        "summary": "Where the session stands, and what it takes now.",
        "security": _TOKEN,
        "parameters": [],
        "responses": {"200": _success("The session.", schemas.SESSION, "ETag"), **_refusals()},
    }


def _open_session() -> dict[str, Any]:
    kind = {"type": "string", "enum": list(settings.kinds), "default": "standard"}
    body = {**schemas.OPENING, "properties": {**schemas.OPENING["properties"], "kind": kind}}
    return {
        "operationId": "session.open",
        "summary": "Open a session. Everything in the body is optional, the body too.",
        "security": [{}],
        "requestBody": {"required": False, "content": schemas.json_content(body)},
        "responses": {"201": _success("The session and its token.", schemas.OPENED, "ETag"), **_refusals()},
    }


def _end_session() -> dict[str, Any]:
    return {
        "operationId": "session.end",
        "summary": "End the session. Its token is dead from then on.",
        "security": _TOKEN,
        "parameters": [{"$ref": "#/components/parameters/IfMatch"}],
        "responses": {"200": _success("It has ended.", schemas.ENDED, "ETag"), **_refusals("412")},
    }


def _artifact() -> dict[str, Any]:
    return {
        "operationId": "audit.artifact",
        "summary": "The signed record of an ended session.",
        "security": [{}],
        "parameters": [
            {
                "name": "session_id",
                "in": "path",
                "required": True,
                "description": "The session's token.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {"200": _success("The artifact.", schemas.ARTIFACT), **_refusals("425")},
    }


def _success(told: str, data: dict[str, Any], *headers: str) -> dict[str, Any]:
    return {
        "description": told,
        "content": schemas.json_content(schemas.envelope(data)),
        "headers": _headers("Link", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", *headers),
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _etag(capability: Capability) -> tuple[str, ...]:
    return ("ETag",) if capability.requires_session else ()


def _refusals(*more: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted((*_REFUSALS, *more))}
