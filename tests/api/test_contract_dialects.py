"""The wire contract, section 2: where the protocol's text and its clients disagree, and what we do."""

from __future__ import annotations

import datetime
from typing import Any

import jsonschema
import pytest

from agent_sessions import selectors, services
from agent_sessions.store import SpendCap
from tests.api.conftest import API, DEAD, AgentClient
from tests.api.test_contract_manifests import SCHEMA, manifest

pytestmark = pytest.mark.django_db
CHEAP = (SpendCap(name="cheap", amount=1000, currency="EUR"),)
COMPAT = "/compat/.well-known/agents.json"


def entry(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["capabilities"] if one["name"] == name)
    return found


def test_row_01_one_profile_is_valid_and_the_other_has_both_version_keys(agent: AgentClient, configure: Any) -> None:
    spec, compat = manifest(agent), manifest(agent, COMPAT)
    jsonschema.validate(spec, SCHEMA)
    assert "schema_version" not in spec
    assert compat["schema_version"] == compat["protocol_version"] == "0.1.0"

    configure(MANIFEST_PROFILE="compat")

    assert manifest(agent) == compat
    assert manifest(agent, COMPAT) == spec


def test_row_02_the_compat_profile_names_the_session_in_both_ways(agent: AgentClient) -> None:
    address = f"https://shop.example{API}/session"

    assert manifest(agent, COMPAT)["session"] == {
        "endpoint": address, "ttl": 1800, "create": address, "delete": address, "ttl_seconds": 1800
    }  # fmt: skip


def test_row_03_the_compat_profile_names_the_limit_in_both_ways(agent: AgentClient, configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=60)

    limit = manifest(agent, COMPAT)["rate_limit"]

    assert limit["max_requests_per_minute"] == limit["requests_per_minute"] == 60


def test_row_04_endpoints_are_absolute_and_never_from_the_request(agent: AgentClient, configure: Any) -> None:
    answer = agent.send("GET", "/.well-known/agents.json", SERVER_NAME="testserver").json()
    assert entry(answer, "search")["endpoint"] == f"https://shop.example{API}/search"
    configure(ENDPOINTS="relative")

    assert entry(manifest(agent), "search")["endpoint"] == f"{API}/search"


def test_row_05_the_token_replaces_the_placeholder_or_follows_it(shopper: AgentClient) -> None:
    endpoint = manifest(shopper)["audit"]["endpoint"].removeprefix("https://shop.example")
    shopper.data("DELETE", "/session")

    replaced = shopper.data("GET", endpoint.replace(":session_id", shopper.token))
    assert replaced == shopper.data("GET", f"{endpoint}/{shopper.token}")
    shopper.refused(404, "GET", "/audit")


@pytest.mark.parametrize(
    "path", ["/detail/mug", "/detail?id=mug", "/detail/:id?id=mug", "/detail?item_id=mug", "/detail/a%20b?id=mug"]
)
def test_row_06_an_item_can_be_named_in_the_path_or_the_query(agent: AgentClient, path: str) -> None:
    if path.startswith("/detail/a"):
        agent.refused(404, "GET", path)  # what the path says goes before the query
    else:
        assert agent.data("GET", path)["id"] == "mug"


@pytest.mark.parametrize(
    "header", ["X-Agent-Session", "Authorization", "X-Session-Token"], ids=["spec", "bearer", "alternative"]
)
def test_row_07_the_token_is_read_from_three_headers(shopper: AgentClient, header: str) -> None:
    token, shopper.token = shopper.token, ""

    value = f"Bearer {token}" if header == "Authorization" else token

    assert shopper.data("GET", "/cart", headers={header: value})["items"] == []


def test_row_07_two_different_tokens_are_refused(shopper: AgentClient, agent: AgentClient) -> None:
    one, other = shopper.token, agent.open()["session_token"]

    headers = {"X-Agent-Session": one, "Authorization": f"Bearer {other}"}

    assert agent.refused(401, "GET", "/cart", headers=headers)["error"] == DEAD
    headers["Authorization"] = f"bearer  {one}"
    assert agent.data("GET", "/cart", headers=headers)["items"] == [], "twice the same is no contradiction"


def test_row_08_opening_answers_201(agent: AgentClient) -> None:
    assert agent.send("POST", "/session").status_code == 201


def test_row_09_the_answer_tells_whether_there_is_an_audit(agent: AgentClient, configure: Any) -> None:
    assert agent.open()["audit"] is True
    configure(AUDIT=False)
    assert "audit" not in agent.open()


def test_row_10_ending_answers_with_the_words_of_all(shopper: AgentClient) -> None:
    ended = shopper.data("DELETE", "/session")

    assert ended.keys() == {"session_token", "ended_at", "audit_artifact_url", "ended"}
    assert ended["ended"] is True


def test_row_11_ending_an_unknown_session_is_401(agent: AgentClient) -> None:
    agent.refused(401, "DELETE", "/session", headers={"X-Agent-Session": "unknown"})


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_row_12_a_cart_is_updated_by_put_and_by_patch(shopper: AgentClient, method: str) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    shopper.data(method, "/cart", {"item_id": "mug", "quantity": 3})

    assert shopper.data("GET", "/cart")["cart_size"] == 3
    assert entry(manifest(shopper), "cart.update")["method"] == "PATCH"
    assert entry(manifest(shopper, COMPAT), "cart.update")["method"] == "PUT"
    session = selectors.authenticate(shopper.token).session_id
    assert method in [event["method"] for event in selectors.events(session)]


def test_row_13_the_manifest_decides_on_the_paths(shopper: AgentClient) -> None:
    for name in ("cart.add", "cart.view", "cart.update", "cart.remove"):
        assert entry(manifest(shopper), name)["endpoint"].endswith("/cart")


def test_row_14_what_to_remove_is_in_the_body_or_in_the_query(shopper: AgentClient) -> None:
    for _ in range(2):
        shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
        shopper.data("POST", "/cart", {"item_id": "bowl"}, status=201)
        shopper.data("DELETE", "/cart?item_id=bowl", {"item_id": "mug"})
        assert [line["item_id"] for line in shopper.data("GET", "/cart")["items"]] == ["bowl"], "the body goes first"
        shopper.data("DELETE", "/cart?item_id=bowl")
        assert shopper.data("GET", "/cart")["items"] == []


def test_row_15_a_quantity_of_nothing_removes(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug", "quantity": 2}, status=201)

    shopper.data("PUT", "/cart", {"item_id": "mug", "quantity": 0})

    assert shopper.data("GET", "/cart")["items"] == []


def test_row_16_a_handoff_answers_with_the_words_of_all(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    data = shopper.data("POST", "/checkout")

    assert data["checkout_url"] == data["handoff_url"]
    assert data["human_handoff"] is True
    assert {"expires_at", "message"} <= data.keys()


def test_row_17_adding_answers_with_the_words_of_all(shopper: AgentClient) -> None:
    data = shopper.data(
        "POST", "/cart", {"itemId": "mug", "quantity": 2, "name": "Free mug", "price": 0.01}, status=201
    )

    assert (data["item_id"], data["quantity"], data["cart_size"]) == ("mug", 2, 2)
    assert data["cart"]["total"] == "56.00", "the store's price counts"
    assert data["cart"]["items"][0]["title"] == "Ocean blue mug"


def test_row_18_the_cart_has_what_every_client_reads(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)

    cart = shopper.data("GET", "/cart")

    assert cart["subtotal"] == "28.00"
    assert cart["items"][0]["itemId"] == "mug"


def test_row_19_search_answers_with_a_list(agent: AgentClient) -> None:
    assert [item["id"] for item in agent.data("GET", "/search?q=mug")] == ["mug"]


def test_row_20_the_time_to_live_is_always_told(agent: AgentClient) -> None:
    assert manifest(agent)["session"]["ttl"] == 1800


def test_row_21_a_missing_item_is_404(shopper: AgentClient) -> None:
    shopper.refused(404, "GET", "/detail/nothing")
    shopper.refused(404, "POST", "/cart", {"item_id": "nothing"})


def test_row_22_a_denial_is_403_and_tells_the_rule(shopper: AgentClient, configure: Any) -> None:
    configure(POLICIES="tests.api.test_contract_dialects.CHEAP")

    refusal = shopper.refused(403, "POST", "/cart", {"item_id": "mug"})

    assert refusal["code"] == "policy_denied"
    assert refusal["details"] == {"rule": "cheap", "needs_human": True}
    assert shopper.data("GET", "/cart")["items"] == []


def test_row_23_malformed_json_is_400(shopper: AgentClient) -> None:
    assert shopper.refused(400, "POST", "/cart", '{"item_id": "mug"')["code"] == "malformed_request"


def test_row_24_an_unknown_path_is_404_in_json(agent: AgentClient) -> None:
    agent.refused(404, "POST", "/anything/else", {"a": 1})


def test_row_25_the_wait_for_a_place_is_capped(agent: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_SESSIONS=1, TTL={"standard": 86400})
    agent.open()
    agent.token = ""

    assert 0 < int(agent.send("POST", "/session").headers["Retry-After"]) <= 3600


def test_row_26_callers_are_counted_by_address(make_agent: Any, configure: Any) -> None:
    configure(MAX_SESSIONS=1)
    make_agent(REMOTE_ADDR="2001:db8:1:2::1").open()

    neighbour = make_agent(REMOTE_ADDR="2001:db8:1:2:ffff::9")
    assert neighbour.send("POST", "/session").status_code == 429, "one customer has a whole /64"
    assert make_agent(REMOTE_ADDR="2001:db8:1:3::1").open()


@pytest.mark.parametrize("header", ["X-Agent-Session", "Authorization"])
def test_row_27_a_header_that_differs_is_ignored_for_artifacts(shopper: AgentClient, header: str) -> None:
    shopper.data("DELETE", "/session")
    token, shopper.token = shopper.token, ""

    assert shopper.data("GET", f"/audit/{token}", headers={header: "Bearer something-else"})["events"]


def test_row_28_after_the_checkout_the_artifact_is_there_and_ending_is_harmless(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    shopper.data("POST", "/checkout")

    assert shopper.data("GET", f"/audit/{shopper.token}")["events"]
    shopper.refused(401, "DELETE", "/session")


def test_row_29_the_artifact_has_the_protocols_members_and_our_envelope(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    artifact = shopper.data("GET", f"/audit/{shopper.token}")

    assert {
        "events",
        "root_hash",
        "signature",
        "public_key",
        "run_id",
        "envelope",
        "runtime_signature",
    } <= artifact.keys()


def test_row_30_the_key_is_der_spki(agent: AgentClient) -> None:
    assert manifest(agent)["audit"]["public_key"].startswith("MCowBQYDK2VwAyEA")


def test_row_31_an_artifact_outlives_its_session(shopper: AgentClient, clock: Any) -> None:
    shopper.open()
    clock.shift(datetime.timedelta(days=30))

    assert shopper.data("GET", f"/audit/{shopper.token}")["events"]


def test_row_32_scripts_may_send_every_token_header_and_read_the_limits(agent: AgentClient) -> None:
    headers = agent.send("OPTIONS", "/session").headers

    allowed = set(headers["Access-Control-Allow-Headers"].split(", "))
    exposed = set(agent.send("GET", "/browse").headers["Access-Control-Expose-Headers"].split(", "))
    assert {"Content-Type", "X-Agent-Session", "Authorization", "X-Session-Token"} <= allowed
    assert {"Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Link"} <= exposed


@pytest.mark.parametrize("path", ["/browse", "/nothing", "/session"])
def test_row_33_every_answer_leads_to_the_manifest(agent: AgentClient, path: str) -> None:
    assert agent.send("GET", path).headers["Link"] == '</.well-known/agents.json>; rel="agents"'


def test_row_34_agents_txt_has_the_names_of_all_and_no_allow(agent: AgentClient, configure: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=60)
    raw = agent.send("GET", "/.well-known/agents.txt").content.decode()

    for line in (
        "Name: Ocean Ceramics", "Site: Ocean Ceramics", "Site-Name: Ocean Ceramics", "URL: https://shop.example",
        "Site-URL: https://shop.example", "Agents-JSON: https://shop.example/.well-known/agents.json",
        "Rate-Limit: 60", "Session-TTL: 1800",
    ):  # fmt: skip
        assert f"\n{line}\n" in raw
    assert "Allow" not in raw


def test_row_35_the_manifest_is_at_the_root_too(agent: AgentClient) -> None:
    assert manifest(agent, "/agents.json") == manifest(agent)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_row_36_a_content_type_without_a_body_is_no_body(shopper: AgentClient, method: str) -> None:
    path = "/cart" if method == "GET" else "/session"

    assert shopper.data(method, path, b"", content_type="application/json")


def test_row_37_only_what_makes_something_answers_201(shopper: AgentClient) -> None:
    assert shopper.send("POST", "/contact", {"message": "hello"}).status_code == 200


def test_row_38_the_address_of_the_artifact_is_a_path(shopper: AgentClient) -> None:
    url = shopper.data("DELETE", "/session")["audit_artifact_url"]

    assert url.startswith(f"{API}/audit/")
    assert shopper.data("GET", url)["public_key"] == services.signing_keys()[0].public_key
