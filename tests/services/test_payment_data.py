"""S8 below HTTP: whatever a Python caller, a form or a command gives to a service passes the same gate."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.exceptions import PaymentDataRefused
from agent_sessions.services import OpenedSession
from agent_sessions.services.site_events import record
from agent_sessions.store import StoreContext
from tests.services.asking import ask, cart_of
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

CARD = "5555 5555 5555 4444"
STAFF = Actor("staff", "7")

Write = Callable[[uuid.UUID], Any]
WRITES: dict[str, tuple[Write, str]] = {
    "patch": (
        lambda one: services.change_session(one, expected_version=1, patch={"agent": {"a": [CARD]}}), "/agent/a/0",
    ),
    "key of a patch": (
        lambda one: services.change_session(one, expected_version=1, patch={"agent": {CARD: 1}}), "/agent/*",
    ),
    "note": (
        lambda one: services.change_session(one, expected_version=1, patch={"agent": {"a": 1}}, note=CARD), "/note",
    ),
    "variables": (lambda one: services.write_variables(one, patch={"agent": {"cvv": "123"}}), "/agent/cvv"),
    "scope of its own": (lambda one: services.write_variables(one, patch={"x": CARD}, local=True), ""),
    "message": (lambda one: services.add_message(one, role="user", content={"text": CARD}), "/message/content/text"),
    "event, shown": (
        lambda one: services.record_event(one, kind="a.b", call=Call(params={"x": CARD})), "/params/x",
    ),
    "event, sealed": (
        lambda one: services.record_event(one, kind="a.b", call=Call(private={"x": CARD})), "/params/x",
    ),
    "name of a capability": (
        lambda one: services.record_event(one, kind="a.b", call=Call("pay." + CARD.replace(" ", ""))), "/capability",
    ),
    "fact": (
        lambda one: services.learn_fact(one, "tier", lambda: CARD, source="crm", ttl=timedelta(hours=1)),
        "/facts/known/tier/value",
    ),
    "method": (
        lambda one: services.record_event(one, kind="a.b", call=Call(method=CARD.replace(" ", ""))), "/method",
    ),
    "end": (lambda one: services.end_session(one, note=CARD), "/note"),
    "pause": (lambda one: services.pause_session(one, reason=CARD), ""),
    "endpoint": (
        lambda one: services.note_endpoint_failure(one, CARD.replace(" ", ""), code="timeout"), "",
    ),
    "opening": (lambda _: services.open_session(agent=Agent(name="a"), purpose=CARD), "/purpose"),
    "agent": (lambda _: services.open_session(agent=Agent(name=CARD)), "/agent_name"),
    "merchant": (lambda _: services.open_session(agent=Agent(), merchant=CARD), "/merchant"),
    "state": (
        lambda _: services.open_session(agent=Agent(), state={"customer": {"preferences": {"pay": CARD}}}),
        "/customer/preferences/pay",
    ),
    "reported change": (lambda _: services.report_change("item", ["mug", CARD], "price"), "/ids/1"),
    "what has changed": (lambda _: services.report_change("item", ["mug"], CARD), "/what"),
    "revocation": (lambda _: services.revoke_all_sessions(reason=CARD), "/reason"),
    "request run once": (
        lambda one: services.run_once(one, lambda: 1, operation="pay", key="k", request={"card": CARD}),
        "/request/card",
    ),
    "key run once": (
        lambda one: services.run_once(one, lambda: 1, operation="pay", key=CARD, request=1), "/key",
    ),
    "hold": (
        lambda one: services.place_legal_hold(scope="session", session_id=one, matter=CARD, actor=STAFF), "/matter",
    ),
    "hold's merchant": (
        lambda _: services.place_legal_hold(
            scope="order", order_ref="A-1", merchant=CARD, matter="Case 12", actor=STAFF
        ),
        "/merchant",
    ),
    "erasure's merchant": (
        lambda _: services.erase_consumer("customer-4711", merchant=CARD, actor=STAFF), "/merchant",
    ),
    "site event": (lambda _: record("hold.placed", STAFF, {"matter": CARD}), "/params/matter"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "pointer"), WRITES.values(), ids=WRITES)
def test_no_service_writes_payment_data(opened: Callable[..., OpenedSession], write: Write, pointer: str) -> None:
    one = opened().session_id
    before = everything_stored()

    with pytest.raises(PaymentDataRefused) as refused:
        write(one)

    assert everything_stored() == before
    if pointer:
        assert refused.value.pointer == pointer
    assert CARD not in str(refused.value)
    assert CARD.replace(" ", "") not in str(refused.value)
    assert selectors.verify_session(one).ok


def test_an_approval_is_asked_for_and_answered_without_it(opened: Any, shop: Any) -> None:
    """L5: what the agent says to the human, and what they answer."""
    one = cart_of(opened)
    before = everything_stored()
    with pytest.raises(PaymentDataRefused) as refused:
        ask(one, reason=f"charge {CARD}")
    assert refused.value.pointer.endswith("/reason")
    assert everything_stored() == before

    approval = ask(one).approval_id
    before = everything_stored()
    with pytest.raises(PaymentDataRefused):
        services.reject_approval(approval, reason=CARD)
    assert everything_stored() == before


def test_a_document_that_holds_it_is_not_taken_over(opened: Any, shop: Any) -> None:
    """C3: a document from another agent is an input like any other."""
    document = services.export_state(opened().session_id)
    document["state"] = {"agent": {"seen": CARD}}
    before = everything_stored()
    with pytest.raises(PaymentDataRefused) as refused:
        services.import_state(document, ctx=StoreContext(), agent=Agent(name="other"))
    assert refused.value.pointer == "/agent/seen"
    assert everything_stored() == before


def test_an_orders_reference_is_never_refused(opened: Any) -> None:
    """An order that was paid for is the shop's own: a coincidence of digits must not lose it."""
    one = opened().session_id
    made = services.end_session(one, call=Call("checkout", params={"order": "4242424242424242"}))
    event: Any = selectors.events(one, after=made.seq - 1)[0]
    assert event["params"]["order"] == "4242424242424242"


def test_an_exempt_place_of_the_state_is_written(opened: Any, configure: Any) -> None:
    one, gtin = opened().session_id, "36000123456780"
    configure(PAYMENT_DATA_EXEMPT=["/agent/items/*"])
    services.change_session(one, expected_version=1, patch={"agent": {"items": {"a": gtin}}})
    with pytest.raises(PaymentDataRefused):
        services.change_session(one, expected_version=2, patch={"agent": {"note": gtin}})
