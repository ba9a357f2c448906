"""The wire contract, items 50 to 70: agents.json and agents.txt."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent_sessions import services
from agent_sessions.store import Capability, Outcome, Param, registry
from tests.api.conftest import API, AgentClient
from tests.api.store import Shelf

pytestmark = pytest.mark.django_db
SCHEMA = json.loads((Path(__file__).parent / "agents.schema.json").read_text())


def manifest(agent: AgentClient, path: str = "/.well-known/agents.json") -> dict[str, Any]:
    document: dict[str, Any] = agent.send("GET", path).json()
    return document


def text(agent: AgentClient) -> dict[str, str]:
    """The fields of agents.txt, read by the rules of item 65."""
    fields = {}
    for line in agent.send("GET", "/.well-known/agents.txt").content.decode().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
    return fields


def check(document: dict[str, Any]) -> None:
    jsonschema.validate(document, SCHEMA, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)


@pytest.fixture
def engraving() -> Iterator[None]:
    """A capability of the shop's own, with parameters of every type and with awkward words."""
    params = {
        "words": Param("string", "What to\nengrave: *", required=True),
        "font": Param("string", enum=("serif", "sans"), default="serif"),
        "lines": Param("array", items="string"),
        "depth": Param("number", default=0.5),
        "gift": Param("boolean", default=False),
        "place": Param("object"),
    }
    registry.add(
        Capability(
            "engrave",
            "POST",
            "/engrave/:words",
            lambda call: Outcome(dict(call.params)),
            "item.engraved",
            "Engrave: \u2028x",
            params,
            requires_session=True,
        )
    )
    yield
    registry.remove("engrave")


def test_item_50_agents_json_is_at_its_well_known_place(agent: AgentClient) -> None:
    assert agent.send("GET", "/.well-known/agents.json").status_code == 200


def test_item_51_it_is_json_in_utf_8(agent: AgentClient) -> None:
    answer = agent.send("GET", "/.well-known/agents.json")

    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_item_52_it_has_version_site_and_capabilities(agent: AgentClient) -> None:
    document = manifest(agent)

    assert document["protocol_version"] == "0.1.0"
    assert len(document["capabilities"]) >= 9
    check(document)


def test_item_52_a_site_that_offers_nothing_has_no_manifest(agent: AgentClient, configure: Any) -> None:
    configure(STORE="")
    own = registry.all()
    for one in own:
        registry.remove(one.name)
    try:
        for path in ("/.well-known/agents.json", "/.well-known/agents.txt"):
            assert agent.refused(404, "GET", path)["code"] == "not_found"
    finally:
        for one in own:
            registry.add(one)


def test_item_53_the_site_has_name_and_url_and_what_else_is_set(agent: AgentClient, configure: Any) -> None:
    assert manifest(agent)["site"] == {"name": "Ocean Ceramics", "url": "https://shop.example"}
    configure(SITE_DESCRIPTION="Mugs & bowls", SITE_CONTACT="help@shop.example")

    document = manifest(agent)

    assert document["site"]["description"] == "Mugs & bowls"
    assert document["site"]["contact"] == "help@shop.example"
    check(document)


def test_item_54_capabilities_have_name_endpoint_and_method(agent: AgentClient, engraving: None) -> None:
    entries = {one["name"]: one for one in manifest(agent)["capabilities"]}

    assert entries["cart.add"]["endpoint"] == f"https://shop.example{API}/cart"
    assert entries["cart.add"]["method"] == "POST"
    assert entries["cart.add"]["requires_session"] is True
    assert entries["search"]["requires_session"] is False
    assert entries["checkout"]["human_handoff"] is True
    assert entries["engrave"]["endpoint"] == f"https://shop.example{API}/engrave/:words"


def test_item_55_parameters_are_described(agent: AgentClient, engraving: None) -> None:
    entries = {one["name"]: one for one in manifest(agent)["capabilities"]}

    params = entries["engrave"]["params"]
    assert params["words"] == {"type": "string", "description": "What to\nengrave: *", "required": True}
    assert params["font"] == {"type": "string", "required": False, "default": "serif", "enum": ["serif", "sans"]}
    assert params["lines"] == {"type": "array", "required": False, "items": {"type": "string"}}
    assert params["gift"]["default"] is False


def test_item_56_there_is_no_key_that_the_schema_does_not_know(agent: AgentClient, engraving: None) -> None:
    check(manifest(agent))


def test_item_57_the_session_object_tells_endpoint_and_time_to_live(agent: AgentClient, configure: Any) -> None:
    configure(TTL={"standard": 900})

    assert manifest(agent)["session"] == {"endpoint": f"https://shop.example{API}/session", "ttl": 900}


def test_item_58_limits_are_told_where_there_are_any(agent: AgentClient, configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=60, MAX_SESSIONS=5)
    assert manifest(agent)["rate_limit"] == {"max_requests_per_minute": 60, "max_sessions": 5}
    configure(MAX_REQUESTS_PER_MINUTE=0, MAX_SESSIONS=0)
    document = manifest(agent)
    assert "rate_limit" not in document
    check(document)


def test_item_59_audit_is_told_with_the_key_that_signs(agent: AgentClient, configure: Any) -> None:
    audit = manifest(agent)["audit"]

    assert audit["enabled"] is True
    assert audit["endpoint"] == f"https://shop.example{API}/audit/:session_id"
    assert len(base64.b64decode(audit["public_key"], validate=True)) == 44
    configure(AUDIT=False)
    assert manifest(agent)["audit"] == {"enabled": False}


def test_item_60_the_docs_are_named_if_there_are_any(agent: AgentClient, configure: Any) -> None:
    assert "docs_url" not in manifest(agent)
    configure(DOCS_URL="https://shop.example/agents")

    document = manifest(agent)

    assert document["docs_url"] == "https://shop.example/agents"
    check(document)


@pytest.mark.parametrize("endpoints", ["absolute", "relative"])
def test_item_61_a_consumer_that_validates_accepts_it(
    agent: AgentClient, configure: Any, endpoints: str, engraving: None
) -> None:
    configure(
        ENDPOINTS=endpoints, SITE_NAME='Q&A "shop" é\u2028', SITE_DESCRIPTION="x\ny", DOCS_URL="https://a.example/"
    )

    check(manifest(agent))


def test_item_62_what_is_declared_is_what_is_enforced(agent: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=7, MAX_SESSIONS=2, TTL={"standard": 120})
    document = manifest(agent)

    opened = [agent.send("POST", "/session") for _ in range(3)]
    refused = [agent.send("GET", "/nothing").status_code for _ in range(5)]

    assert [answer.status_code for answer in opened] == [201] * document["rate_limit"]["max_sessions"] + [429]
    assert refused.index(429) + len(opened) == document["rate_limit"]["max_requests_per_minute"]
    assert document["audit"]["public_key"] == services.signing_keys()[0].public_key
    clock.shift(document["session"]["ttl"])
    token = opened[0].json()["data"]["session_token"]
    agent.refused(401, "GET", "/cart", headers={"X-Agent-Session": token})


def test_item_62_every_endpoint_that_is_declared_answers(shopper: AgentClient) -> None:
    for entry in manifest(shopper)["capabilities"]:
        path = entry["endpoint"].removeprefix("https://shop.example")
        answer = shopper.send(entry["method"], path)
        assert answer.json().get("code") not in ("not_found", "method_not_allowed"), entry["name"]


def test_item_62_a_rotated_key_is_told_at_once(agent: AgentClient) -> None:
    before = manifest(agent)["audit"]["public_key"]

    services.rotate_signing_key()

    assert manifest(agent)["audit"]["public_key"] == services.signing_keys()[0].public_key != before


def test_item_63_agents_txt_is_at_its_well_known_place(agent: AgentClient) -> None:
    assert agent.send("GET", "/.well-known/agents.txt").status_code == 200


def test_item_64_it_is_plain_text_in_utf_8(agent: AgentClient) -> None:
    assert agent.send("GET", "/.well-known/agents.txt").headers["Content-Type"] == "text/plain; charset=utf-8"


def test_item_65_its_lines_are_fields_comments_or_blank(agent: AgentClient) -> None:
    lines = agent.send("GET", "/.well-known/agents.txt").content.decode().split("\n")

    assert [line for line in lines if line and not line.startswith("#") and ": " not in line] == []
    names = [line.partition(":")[0].lower() for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))


def test_item_66_it_has_the_fields_of_the_protocol(agent: AgentClient, configure: Any) -> None:
    configure(
        MAX_REQUESTS_PER_MINUTE=60,
        DOCS_URL="https://shop.example/agents",
        SITE_DESCRIPTION="Mugs",
        SITE_CONTACT="a@b.example",
    )

    fields = text(agent)

    expected = {
        "name": "Ocean Ceramics",
        "url": "https://shop.example",
        "description": "Mugs",
        "contact": "a@b.example",
        "capabilities-url": "https://shop.example/.well-known/agents.json",
        "agent-api": f"https://shop.example{API}",
        "session-endpoint": f"https://shop.example{API}/session",
        "docs": "https://shop.example/agents",
        "rate-limit": "60",
        "session-ttl": "1800",
        "audit": "true",
        "audit-endpoint": f"https://shop.example{API}/audit",
    }
    assert {name: fields.get(name) for name in expected} == expected


def test_item_67_the_built_in_names_are_those_of_the_protocol(agent: AgentClient, engraving: None) -> None:
    names = text(agent)["capabilities"].split(", ")

    assert {"search", "browse", "detail", "cart.add", "cart.view", "cart.update", "cart.remove", "checkout", "contact",
            "engrave"} <= set(names)  # fmt: skip


def test_item_67_what_a_store_cannot_do_is_not_offered(agent: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "features", frozenset())
    registry.generation += 1  # so that the offer is made anew

    names = [one["name"] for one in manifest(agent)["capabilities"]]

    assert "search" in names
    assert not {"browse", "contact"} & set(names)
    registry.generation += 1


def test_item_68_who_serves_one_of_them_serves_the_other(agent: AgentClient) -> None:
    names = {one["name"] for one in manifest(agent)["capabilities"]}

    assert set(text(agent)["capabilities"].split(", ")) == names


def test_item_69_agents_txt_stands_without_limits_and_audit(agent: AgentClient, configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=0, AUDIT=False)

    fields = text(agent)

    assert fields["audit"] == "false"
    assert not {"rate-limit", "audit-endpoint", "docs", "contact"} & fields.keys()


def test_item_70_no_text_of_the_site_can_make_a_line_of_its_own(agent: AgentClient, configure: Any) -> None:
    configure(SITE_NAME="Shop\nAudit: false\r\x85Rate-Limit: 1", SITE_DESCRIPTION="a\u2028Contact: x@y.example\x00")

    raw = agent.send("GET", "/.well-known/agents.txt").content.decode()

    assert not {"\r", "\x85", "\u2028", "\x00"} & set(raw)
    fields = text(agent)
    assert fields["audit"] == "true"
    assert "contact" not in fields
