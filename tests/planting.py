"""Planting markers in every input that can be personal, and in the cart, through the services."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.services.idempotency import claim_key
from agent_sessions.store import StoreContext
from tests.store.calling import call

PERSONAL = {
    f"ZK{name}7Q"
    for name in (
        "purpose", "user", "assistant", "tool", "variable", "local", "customer", "preference", "address", "summary",
        "question", "fact", "note", "private", "instructions", "delivery", "reason", "escalation", "rejection",
        "handover", "returned", "answer", "farewell", "imported", "importedsummary",
    )
}  # fmt: skip
CONTENT = {f"ZK{name}7Q" for name in ("title", "option", "extra")}
WHO = "ZKreference7Q"
ADDRESS = "198.51.100.77"
AGENT = Agent("Shopping helper", "2.1")


def marker(name: str) -> str:
    found = f"ZK{name}7Q"
    assert found in PERSONAL | CONTENT
    return found


def told_everything(consumer: str) -> uuid.UUID:
    """A session that was given a marker in every place that takes something of a person, and in the cart."""
    one = services.open_session(
        agent=AGENT, consumer=consumer, purpose=marker("purpose"), caller=services.caller_pseudonym(ADDRESS),
        bound_to=services.caller_pseudonym(ADDRESS), state={"agent": {"wish": marker("variable")}},
    )  # fmt: skip
    sid = one.session_id
    services.add_message(sid, role="user", content=f"It is {marker('user')}")
    services.add_message(sid, role="agent", content=marker("assistant"))
    services.add_message(sid, role="tool", content={"result": [marker("tool")]})
    services.write_variables(sid, patch={"mine": marker("local")}, local=True)
    call("cart.add", sid, item_id="mug", quantity=2)
    change(sid, {"customer": {"preferences": {"size": marker("preference")}, "extra": {"name": marker("customer")},
                               "addresses": {"home": {"label": marker("address")}}}})  # fmt: skip
    change(sid, {"conversation": {"summary": marker("summary"), "questions": {"q1": marker("question")}}})
    services.learn_fact(sid, "tier", lambda: {"value": marker("fact")}, source="crm", ttl=timedelta(hours=1))
    change(sid, {"shopping": {"instructions": marker("instructions"),
                               "delivery": {"method": "post", "address_ref": marker("delivery")}}},
            note=marker("note"))  # fmt: skip
    change(sid, {"shopping": {"lines": {"own": {
        "item": "pot", "quantity": 1, "unit_price": 4000, "currency": "EUR", "title": marker("title"),
        "options": {"glaze": marker("option")}, "extra": {"engraved": marker("extra")}}}}})  # fmt: skip
    private = Call("cart.view", "GET", private={"email": marker("private")})
    services.record_event(sid, kind="cart.viewed", call=private)
    change(sid, {"shopping": {"lines": {"own": None}}})
    asked = services.request_approval(sid, reason=marker("reason"))
    services.escalate_approval(asked.approval_id, reason=marker("escalation"))
    services.reject_approval(asked.approval_id, reason=marker("rejection"), actor=Actor("staff", "7"))
    services.hand_over(sid, to=Actor("staff", "7"), note=marker("handover"))
    services.take_back(sid, note=marker("returned"), actor=Actor("staff", "7"))
    head = selectors.read_head(sid)
    claim = claim_key(head, operation="POST /cart", key="k-1", request=marker("answer").encode())
    assert not isinstance(claim, bytes)
    claim.complete(lambda: None, lambda _: marker("answer").encode())
    return sid


def imported(consumer: str) -> uuid.UUID:
    """A session that goes on from a state document."""
    document = {
        "type": "agent-session-state/v1", "schema": 1, "exported_at": "2026-03-02T10:00:00.000000Z",
        "source": {"session_id": str(uuid.uuid4())},
        "state": {"customer": {"extra": {"name": marker("imported")}},
                  "conversation": {"summary": marker("importedsummary")}},
    }  # fmt: skip
    taken = services.import_state(document, ctx=StoreContext(), agent=AGENT, consumer=consumer)
    return taken.opened.session_id


def change(session_id: uuid.UUID, patch: Any, **facts: Any) -> None:
    version = selectors.read_head(session_id).version
    services.change_session(session_id, expected_version=version, patch=patch, **facts)


def end(*session_ids: uuid.UUID) -> None:
    for session_id in session_ids:
        services.end_session(session_id, note=marker("farewell"))
