"""S8: a card number, track data, a security code or a PIN anywhere in a request is refused, and nothing of it kept."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.core.cache import caches

from agent_sessions import selectors
from agent_sessions.api.resources import RESOURCES
from agent_sessions.models import IdempotencyRecord, Session
from agent_sessions.selectors import _cache
from agent_sessions.selectors.audit import sealed_values
from agent_sessions.selectors.payment_data import payment_data_in_columns, payment_data_in_session
from agent_sessions.store.capabilities import Capability, CapabilityCall, Outcome, Param, registry
from tests.api.conftest import AgentClient
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

CARD = "4000056655665556"
SPOKEN = "4000 0566 5566 5556"
GTIN = "36000123456780"
ID = "01a1fc29-ac6d-7687-944f-30eb95ffd664"
WRITES = [
    ("POST", "/session"),
    ("DELETE", "/session"),
    *(
        (method, f"/session/{one.path}".replace("<uuid:", "<").partition("<")[0] + (ID if "<" in one.path else ""))
        for one in RESOURCES
        for method in one.view.operations
        if method != "GET"
    ),
    ("POST", "/cart"),
    ("PATCH", "/cart"),
    ("DELETE", "/cart"),
    ("POST", "/checkout"),
    ("POST", "/contact"),
]


@pytest.fixture
def nothing_kept(caplog: pytest.LogCaptureFixture) -> Callable[[], None]:
    """Assert that no table, log, cache or sealed content holds the number."""
    caplog.set_level(logging.DEBUG)

    def check() -> None:
        assert not is_stored(CARD)
        assert not is_stored(SPOKEN)
        assert CARD not in caplog.text
        assert SPOKEN not in caplog.text
        kept = pickle.dumps(getattr(caches["default"], "_cache", {})) + repr(vars(_cache.local)).encode()
        assert CARD.encode() not in kept
        for session_id in Session.objects.values_list("pk", flat=True):
            unsealed = json.dumps([value for *_, value in sealed_values(selectors.read_head(session_id))])
            assert CARD not in unsealed
            assert SPOKEN not in unsealed
            assert list(payment_data_in_session(session_id)) == []
        assert list(payment_data_in_columns()) == []

    return check


def last_event() -> Any:
    head = selectors.read_head(Session.objects.get().pk)
    return selectors.events(head.session_id, after=head.head_seq - 1)[0]


def test_the_list_of_writes_is_not_empty_for_any_resource() -> None:
    assert len(WRITES) > 25


@pytest.mark.parametrize("where", ["body", "query", "header", "text"])
def test_every_write_refuses_a_card_number_wherever_it_stands(
    shopper: AgentClient, nothing_kept: Any, configure: Any, where: str
) -> None:
    """Body, query, Idempotency-Key, and a body that is no JSON; the history says where and why."""
    configure(MAX_REQUESTS_PER_MINUTE=0)
    pointer = {"body": "/a/0/note", "query": "/note", "header": "/Idempotency-Key", "text": ""}[where]
    told = {"pointer": pointer, "rule": "card_number", "where": "body" if where == "text" else where}
    for method, path in WRITES:
        requests: dict[str, dict[str, Any]] = {
            "body": {"path": path, "body": {"a": [{"note": f"pay with {SPOKEN}"}]}},
            "query": {"path": f"{path}?note={CARD}", "body": {}},
            "header": {"path": path, "body": {}, "headers": {"Idempotency-Key": CARD}},
            "text": {"path": path, "body": f"pay with {SPOKEN}", "content_type": "text/plain"},
        }
        send = requests[where]
        keyed = {"Idempotency-Key": "4f3c7a1e-retry-me-0001", **send.pop("headers", {})}
        refused = shopper.refused(422, method, **send, headers=keyed)

        write = f"{method} {path}"
        assert refused["code"] == "payment_data_refused", write
        assert refused["details"] == told, write
        assert "token" in refused["error"]
        event = last_event()
        seen = (event["kind"], event["response_status"], event["method"], event["params"])
        assert seen == ("input.refused", 422, method, {"code": "payment_data_refused", **told}), write
    assert not IdempotencyRecord.objects.exists()
    nothing_kept()


@pytest.mark.parametrize(
    "path", [f"/detail/{CARD}", f"/session/holds/{CARD}", f"/nothing/{quote(SPOKEN)}", f"/audit/{CARD}"]
)
def test_a_path_that_holds_a_card_number_is_refused_and_not_logged(
    shopper: AgentClient, nothing_kept: Any, path: str
) -> None:
    """Django logs the address of every refusal; of this one it must not."""
    for method in ("GET", "POST", "PATCH", "DELETE"):
        refused = shopper.refused(422, method, path)
        assert (refused["details"]["where"], refused["details"]["rule"]) == ("path", "card_number"), method
    nothing_kept()


def test_what_is_refused_before_is_not_logged_with_its_address_either(
    shopper: AgentClient, nothing_kept: Any, configure: Any
) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)
    shopper.send("GET", "/session")
    shopper.refused(429, "GET", f"/detail/{CARD}")
    configure(SIGNATURES="require", MAX_REQUESTS_PER_MINUTE=0)
    shopper.refused(403, "GET", f"/detail/{CARD}")
    nothing_kept()


def test_reads_refuse_it_too(shopper: AgentClient, nothing_kept: Any) -> None:
    assert shopper.refused(422, "GET", f"/search?q={CARD}")["details"]["pointer"] == "/q"
    assert shopper.refused(422, "GET", f"/session/messages?q={quote(SPOKEN)}")["details"]["pointer"] == "/q"
    nothing_kept()


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({"payment": {"cvv": "123"}}, "/payment/cvv", "security_code"),
        ({"pin": "1234"}, "/pin", "pin"),
        ({"swipe": f";{CARD}=2812101"}, "/swipe", "track_data"),
        ({CARD: "key"}, "/*", "card_number"),
        ({"n": int(CARD)}, "/n", "card_number"),
    ],
)
def test_each_rule_is_told_with_its_place(
    shopper: AgentClient, nothing_kept: Any, body: Any, pointer: str, rule: str
) -> None:
    refused = shopper.refused(422, "POST", "/cart", body)
    assert refused["details"] == {"where": "body", "pointer": pointer, "rule": rule}
    nothing_kept()


def test_without_a_session_nothing_at_all_is_written(agent: AgentClient, nothing_kept: Any) -> None:
    before = everything_stored()
    agent.refused(422, "POST", "/session", {"purpose": f"buy with {CARD}"})
    agent.refused(422, "POST", "/session", {"agent_name": SPOKEN}, headers={"Idempotency-Key": "0123456789abcdef"})
    agent.refused(422, "POST", "/contact", {"message": SPOKEN}, headers={"X-Agent-Session": "made-up"})
    assert everything_stored() == before
    nothing_kept()


def test_the_key_can_be_used_for_the_request_put_right(shopper: AgentClient) -> None:
    keyed = {"Idempotency-Key": "k-1"}
    shopper.refused(422, "POST", "/cart", {"item_id": "mug", "quantity": 1, "note": CARD}, headers=keyed)
    shopper.data("POST", "/cart", {"item_id": "mug", "quantity": 1}, headers=keyed, status=201)


def test_a_providers_token_with_brand_and_last_four_is_kept(shopper: AgentClient) -> None:
    """S8: only a provider's token reference, brand and last four are kept."""
    payment = {"token": "tok_1N2b3C4242424242", "brand": "visa", "last4": "4242", "expiry": "12/28"}
    shopper.data("PATCH", "/session/state", {"agent": {"payment": payment}})
    assert shopper.data("GET", "/session/state")["state"]["agent"]["payment"] == payment


def looked_up(call: CapabilityCall) -> Outcome:
    return Outcome({"gtin": call.params["gtin"]}, patch={"agent": {"seen": "yes"}})


@pytest.fixture
def gtins() -> Iterator[None]:
    """A capability whose parameter is declared as an identifier that may look like a card's number."""
    params = {"gtin": Param("string", shown=True, identifier=True), "note": Param("string")}
    for name, path in (("gtin.lookup", "/gtin/:gtin"), ("gtins.lookup", "/gtins")):
        registry.add(Capability(name, "POST", path, looked_up, "gtin.looked_up", params=params, requires_session=True))
    yield
    for name in ("gtin.lookup", "gtins.lookup"):
        registry.remove(name)


def test_a_declared_identifier_may_look_like_a_card(gtins: None, shopper: AgentClient) -> None:
    """Exempt by declaration, and recorded; what is not declared beside it is not."""
    assert shopper.data("POST", "/gtins", {"gtin": GTIN}) == {"gtin": GTIN}
    assert shopper.data("POST", f"/gtin/{GTIN}") == {"gtin": GTIN}
    assert last_event()["params"] == {"gtin": GTIN}
    assert shopper.refused(422, "POST", "/gtins", {"gtin": GTIN, "note": GTIN})["details"]["pointer"] == "/note"
    assert shopper.refused(422, "POST", f"/detail/{GTIN}")["code"] == "payment_data_refused"


def test_a_place_can_be_exempt_by_setting(shopper: AgentClient, configure: Any) -> None:
    shopper.refused(422, "POST", "/cart", {"item_id": GTIN, "quantity": 1})
    configure(PAYMENT_DATA_EXEMPT=["/item_id"])
    assert shopper.refused(404, "POST", "/cart", {"item_id": GTIN, "quantity": 1})["code"] == "item_not_found"
    shopper.refused(422, "POST", "/cart", {"item_id": GTIN, "quantity": 1, "note": GTIN})


def test_bodies_that_are_too_large_or_malformed_are_told_as_before(shopper: AgentClient) -> None:
    shopper.refused(400, "POST", "/cart", "{no json")
    shopper.refused(413, "POST", "/cart", {"a": "x" * 70_000})


@pytest.mark.parametrize("address", [f"/detail/{CARD}", f"/search?q={CARD}"])
def test_no_log_record_carries_a_request_that_names_it(
    agent: AgentClient, nothing_kept: Any, configure: Any, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """Django hangs the request on what it logs, and its text is the whole address: loggers that write JSON show it."""
    configure(SIGNATURES="require")
    agent.refused(403, "GET", address)
    assert [record for record in caplog.records if CARD in repr(vars(record))] == []
    nothing_kept()
