"""agents.json and agents.txt: what the site offers, told from what it runs (contract items 50 to 70).

There are two profiles of agents.json, because the protocol's schema forbids keys that some of its clients need:
``spec`` is valid against the schema, ``compat`` has what every dialect reads (section 2, rows 1 to 3 and 12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import parse_etags
from django.views.decorators.csrf import csrf_exempt

from agent_sessions.api.cors import add_cors, preflight
from agent_sessions.api.envelopes import JSON_TYPE, answer_to
from agent_sessions.api.errors import EndpointNotFound, MethodNotAllowed
from agent_sessions.conf import settings
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.services import signing_keys
from agent_sessions.store import Capability, Param
from agent_sessions.store.capabilities import NOTHING
from agent_sessions.store.offer import offer

PROTOCOL_VERSION: Final = "0.1.0"
MAX_AGE: Final = 60
"""Seconds that others may keep a manifest."""
_LONGEST: Final = 1000
"""Characters of a value in agents.txt."""


@csrf_exempt
@login_not_required
def agents_json(request: HttpRequest) -> HttpResponseBase:
    """Serve agents.json in the profile that MANIFEST_PROFILE names."""
    return _serve_json(request, compat=settings.manifest_profile == "compat")


@csrf_exempt
@login_not_required
def other_profile(request: HttpRequest) -> HttpResponseBase:
    """Serve the other profile, for clients that are given ``https://site/compat`` as the site's address."""
    return _serve_json(request, compat=settings.manifest_profile != "compat")


@csrf_exempt
@login_not_required
def agents_txt(request: HttpRequest) -> HttpResponseBase:
    """Serve agents.txt."""
    try:
        _require_an_offer()
        content = agents_text(origin_of(request)).encode()
    except AgentSessionsError as problem:
        return answer_to(problem)
    return published(request, content, "text/plain; charset=utf-8")


def _serve_json(request: HttpRequest, *, compat: bool) -> HttpResponseBase:
    try:
        _require_an_offer()
        document = manifest(origin_of(request), compat=compat)
    except AgentSessionsError as problem:
        return answer_to(problem)
    return published(request, msgspec.json.format(msgspec.json.encode(document), indent=2), JSON_TYPE)


def _require_an_offer() -> None:
    """A manifest without a capability is not valid (contract item 52): a site that offers nothing has none."""
    if not offer().capabilities:
        raise EndpointNotFound


def published(request: HttpRequest, content: bytes, content_type: str) -> HttpResponseBase:
    """Answer with a public document that may be kept for a minute and asked for again by its ETag."""
    if request.method == "OPTIONS":
        response: HttpResponse = preflight()
        add_cors(response)
        return response
    if request.method not in ("GET", "HEAD"):
        return answer_to(MethodNotAllowed(("GET", "HEAD")))
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    known = parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))
    if tag in known or f"W/{tag}" in known or "*" in known:
        response = HttpResponseNotModified()
    else:
        response = HttpResponse(content, content_type=content_type)
        response["X-Content-Type-Options"] = "nosniff"
    response["ETag"] = tag
    response["Cache-Control"] = f"public, max-age={MAX_AGE}"
    add_cors(response)
    return response


def origin_of(request: HttpRequest) -> str:
    """Return the origin that manifests name: SITE, or the host of the request, which Django checked (ALLOWED_HOSTS)."""
    return settings.site.rstrip("/") or f"{request.scheme}://{request.get_host()}"


def endpoint(origin: str, path: str) -> str:
    """Return an address as the manifests give it: absolute, because real clients fetch it as it is (row 4)."""
    return origin + path if settings.absolute_endpoints else path


def api_path() -> str:
    return reverse("agent_sessions:api")


def manifest(origin: str, *, compat: bool) -> dict[str, Any]:
    """Return agents.json: what is enforced, and nothing else (contract item 62)."""
    document: dict[str, Any] = {"protocol_version": PROTOCOL_VERSION}
    if compat:
        document["schema_version"] = PROTOCOL_VERSION
    document["site"] = _present(
        name=settings.site_name, url=origin, description=settings.site_description, contact=settings.site_contact
    )
    document["capabilities"] = [_capability(one, origin, compat=compat) for one in offer().capabilities]
    document["session"] = _session(origin, compat=compat)
    limits = _limits(compat=compat)
    if limits:
        document["rate_limit"] = limits
    document["audit"] = _audit(origin)
    if settings.docs_url:
        document["docs_url"] = settings.docs_url
    return document


def agents_text(origin: str) -> str:
    """Return agents.txt, with the names that each dialect reads (section 2, row 34)."""
    own = endpoint(origin, api_path())
    session = endpoint(origin, reverse("agent_sessions:session"))
    audit = endpoint(origin, reverse("agent_sessions:audit"))
    json_url = endpoint(origin, reverse("agent_sessions:agents.json"))
    limit = settings.max_requests_per_minute
    fields = [
        ("Name", settings.site_name),
        ("Site", settings.site_name),
        ("Site-Name", settings.site_name),
        ("URL", origin),
        ("Site-URL", origin),
        ("Description", settings.site_description),
        ("Contact", settings.site_contact),
        ("Capabilities", ", ".join(one.name for one in offer().capabilities)),
        ("Capabilities-URL", json_url),
        ("Agents-JSON", json_url),
        ("Agent-API", own),
        ("Session-Endpoint", session),
        ("Docs", settings.docs_url),
        ("Rate-Limit", str(limit) if limit else ""),
        ("Session-TTL", str(_ttl())),
        ("Audit", "true" if settings.audit else "false"),
        ("Audit-Endpoint", audit if settings.audit else ""),
    ]
    lines = [f"{name}: {clipped(value.strip(), _LONGEST)}" for name, value in fields if value.strip()]
    return "\n".join(["# What agents can do on this site (agents-protocol 0.1.0)", *lines, ""])


def _capability(capability: Capability, origin: str, *, compat: bool) -> dict[str, Any]:
    # Some clients have PUT built in, and their schema has no PATCH (section 2, row 12).
    method = next((one for one in capability.also if compat and capability.method == "PATCH"), capability.method)
    entry: dict[str, Any] = {"name": capability.name}
    if capability.description:
        entry["description"] = capability.description
    entry |= {"endpoint": endpoint(origin, api_path() + capability.path), "method": method}
    if capability.params:
        entry["params"] = {name: _param(param) for name, param in capability.params.items()}
    return entry | {"requires_session": capability.requires_session, "human_handoff": capability.human_handoff}


def _param(param: Param) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": param.type}
    if param.description:
        entry["description"] = param.description
    entry["required"] = param.required
    if param.default is not NOTHING:
        entry["default"] = param.default
    if param.enum:
        entry["enum"] = list(param.enum)
    if param.items:
        entry["items"] = {"type": param.items}
    return entry


def _session(origin: str, *, compat: bool) -> dict[str, Any]:
    address = endpoint(origin, reverse("agent_sessions:session"))
    found: dict[str, Any] = {"endpoint": address, "ttl": _ttl()}
    return found | {"create": address, "delete": address, "ttl_seconds": _ttl()} if compat else found


def _limits(*, compat: bool) -> dict[str, int]:
    requests, sessions = settings.max_requests_per_minute, settings.max_sessions
    found = {"max_requests_per_minute": requests} if requests else {}
    if requests and compat:
        found["requests_per_minute"] = requests
    return found | ({"max_sessions": sessions} if sessions else {})


def _audit(origin: str) -> dict[str, Any]:
    if not settings.audit:
        return {"enabled": False}
    # The placeholder is what clients replace by the token; appending works too (section 2, row 5).
    address = endpoint(origin, reverse("agent_sessions:audit")) + "/:session_id"
    return {"enabled": True, "endpoint": address, "public_key": signing_keys()[0].public_key}


def _ttl() -> int:
    ttl = settings.ttl("standard")
    return 0 if ttl is None else int(ttl.total_seconds())


def _present(**values: str) -> Mapping[str, str]:
    return {name: value for name, value in values.items() if value}
