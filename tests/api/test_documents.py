"""State documents: given away, taken over, and refused with words fit for the customer (C3)."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from agent_sessions import selectors, services
from agent_sessions.conf import settings
from agent_sessions.domain.identity import Agent
from agent_sessions.models import Session
from agent_sessions.store import StoreContext
from tests.api.conftest import AgentClient

pytestmark = pytest.mark.django_db
SCHEMA = "/.well-known/agents/session-state.schema.json"


@pytest.fixture
def document(shopper: AgentClient) -> dict[str, Any]:
    """What an agent gives away that has put two mugs into the cart and learned something."""
    shopper.data("POST", "/cart", {"item_id": "mug", "quantity": 2}, status=201)
    shopper.data(
        "PATCH",
        "/session/state",
        {
            "agent": {"budget": 5000},
            "conversation": {"summary": "Wants mugs for tea"},
            "customer": {"preferences": {"colour": "green"}},
        },
    )
    shopper.data("PATCH", "/session/state?scope=local", {"secret": "mine"})
    told: dict[str, Any] = shopper.data("POST", "/session/export")
    return told


def take_over(document: Any, *, status: int = 201, **facts: Any) -> Any:
    agent = AgentClient()
    answer = agent.send("POST", "/session/import", {"document": document, **facts.pop("body", {})}, **facts)
    assert answer.status_code == status, answer.content
    return answer.json()["data"] if status == 201 else answer.json()


def test_what_is_exported_fits_the_published_schema(document: dict[str, Any], agent: AgentClient) -> None:
    schema = agent.send("GET", SCHEMA).json()
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(document, schema)

    broken = {**document, "type": "something/v9"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_it_holds_the_wishes_and_nothing_of_the_one_session(document: dict[str, Any], shopper: AgentClient) -> None:
    assert document["state"]["agent"] == {"budget": 5000}, "not what the agent keeps for itself"
    assert document["state"].keys() == {"agent", "conversation", "customer", "shopping"}
    assert document["state"]["shopping"].keys() == {"lines"}
    assert document["totals"] == {"total": 5600, "currency": "EUR"}
    assert shopper.token not in str(document)
    kinds = [event["kind"] for event in selectors.events(selectors.session_of_token(shopper.token).session_id)]
    assert kinds[-1] == "session.exported"


def test_a_specialist_goes_on_from_it(document: dict[str, Any]) -> None:
    told = take_over(document, body={"agent_name": "Specialist", "agent_version": "1"})

    head = selectors.session_of_token(told["session_token"])
    assert (head.agent_name, head.version) == ("Specialist", 1)
    state = selectors.current_state(head).state
    assert state["conversation"] == {"summary": "Wants mugs for tea"}
    assert told["cart"]["total_minor"] == 5600
    assert "quote.made" in [one["kind"] for one in told["changes"]]
    assert selectors.verify_session(head.session_id).ok


def test_prices_are_the_stores_whatever_the_document_says(document: dict[str, Any]) -> None:
    cheap = copy.deepcopy(document)
    cheap["state"]["shopping"]["lines"]["mug"]["unit_price"] = 1
    del cheap["totals"]

    told = take_over(cheap)

    assert told["cart"]["items"][0]["unit_price_minor"] == 2800


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made: Any = copy.deepcopy(document)
    *way, last = path.split(".")
    place = made
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    whole: dict[str, Any] = made
    return whole


@pytest.mark.parametrize(
    ("path", "value", "reason", "where"),
    [
        ("type", "agent-session-state/v2", "unknown_type", "/type"),
        ("schema", 99, "unknown_version", "/schema"),
        ("exported_at", "yesterday", "wrong_shape", "/exported_at"),
        ("source", None, "wrong_shape", ""),
        ("state.shopping.lines.mug.quantity", -1, "wrong_shape", "/state/shopping/lines/mug/quantity"),
        ("state.shopping.basket", {}, "wrong_shape", "/state/shopping/basket"),
        ("state.agent.share", 0.5, "wrong_shape", "/state/agent/share"),
        ("state.agent.nothing", [None], "wrong_shape", "/state/agent/nothing/0"),
        ("totals.total", 2400, "wrong_totals", "/totals"),
        ("totals.currency", "USD", "wrong_totals", "/totals"),
        ("state.shopping.lines.mug.item", "nothing", "cart_problem", "/state/shopping"),
        ("source.consumer", "somebody", "other_customer", "/source/consumer"),
        ("agents", 1, "wrong_shape", ""),
    ],
)
def test_what_does_not_hold_is_refused_and_leaves_nothing(
    document: dict[str, Any], path: str, value: Any, reason: str, where: str
) -> None:
    before = Session.objects.count()

    refusal = take_over(changed(document, path, value), status=422)

    assert (refusal["code"], refusal["details"]["reason"]) == ("document_refused", reason)
    assert refusal["details"]["path"] == where
    assert refusal["error"]
    assert Session.objects.count() == before


def test_stock_that_is_gone_is_told_for_the_customer(document: dict[str, Any]) -> None:
    many = changed(changed(document, "state.shopping.lines.mug.quantity", 500), "totals", None)

    refusal = take_over(many, status=422)

    assert refusal["details"]["reason"] == "cart_problem"
    assert refusal["details"]["problems"][0]["code"] == "out_of_stock"


@pytest.mark.parametrize("document", [None, 7, "text", [], {}])
def test_what_is_no_document_is_refused(document: Any, agent: AgentClient) -> None:
    assert take_over(document, status=422)["details"]["reason"] == "unknown_type"
    assert agent.refused(400, "POST", "/session/import", {})["details"]["parameter"] == "document"


def test_a_customers_cart_is_for_that_customers_agents_only(configure: Any) -> None:
    anna, ben = ({"X-Agent-Consumer": services.assert_consumer(name).text} for name in ("anna", "ben"))
    first = AgentClient(headers=anna)
    first.open()
    first.data("POST", "/cart", {"item_id": "mug"}, status=201)
    document = first.data("POST", "/session/export")

    assert take_over(document, status=422)["details"]["reason"] == "other_customer"
    assert take_over(document, status=422, headers=ben)["details"]["reason"] == "other_customer"
    told = take_over(document, headers=anna)

    assert selectors.session_of_token(told["session_token"]).consumer == services.consumer_pseudonym("anna")


def test_the_consumers_limits_hold_for_who_takes_over(document: dict[str, Any]) -> None:
    refusal = take_over(document, status=422, body={"scope": {"spend_cap": 1000, "currency": "EUR"}})

    assert refusal["details"]["reason"] == "not_allowed"
    assert "limit" in refusal["error"]


def test_a_document_is_no_larger_than_a_session(document: dict[str, Any], configure: Any) -> None:
    configure(MAX_SLICE_BYTES=200)

    assert take_over(changed(document, "state.agent.text", "x" * 300), status=422)["details"]["reason"] == "too_large"


def test_parent_request_goes_along(shopper: AgentClient) -> None:
    """T6"""
    shopper.open(parent_request="trip-7")
    document = services.export_state(selectors.session_of_token(shopper.token))

    imported = services.import_state(document, ctx=StoreContext(), agent=Agent("Other"))

    assert selectors.read_head(imported.opened.session_id).parent_request == "trip-7"


def test_a_document_names_no_merchant(document: dict[str, Any], configure: Any) -> None:
    """T1: for whom a session counts says the shop's assertion, not what an agent sends."""
    told = take_over(changed(document, "source.merchant", "another-merchant"))
    assert selectors.session_of_token(told["session_token"]).merchant == settings.merchant

    anna = services.assert_consumer("anna", merchant="tea")
    told = take_over(document, headers={"X-Agent-Consumer": anna.text})
    head = selectors.session_of_token(told["session_token"])
    assert (head.merchant, head.consumer) == ("tea", services.consumer_pseudonym("anna", merchant="tea"))


def test_what_a_delivery_costs_is_not_taken_from_a_document(document: dict[str, Any]) -> None:
    delivery = {"method": "courier", "amount": 0, "currency": "EUR", "extra": {"free": True}}

    told = take_over(changed(document, "state.shopping.delivery", delivery))

    state: Any = selectors.current_state(selectors.session_of_token(told["session_token"])).state
    assert state["shopping"]["delivery"] == {"method": "courier"}
