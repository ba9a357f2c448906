"""Idempotency-Key over HTTP: a write that is sent again has had its effect, and gets the answer it got then (V7)."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.api.idempotency import WRITES
from agent_sessions.api.resource import SessionResource
from agent_sessions.api.resources import RESOURCES
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import CheckoutHandoff, IdempotencyRecord, Session
from agent_sessions.store.offer import offer
from tests.api.conftest import AgentClient
from tests.api.sending_again import ADD, cart_size, head_of, key, require_same, twice
from tests.api.store import Shelf
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db


# Every write


BODIES: dict[str, Any] = {
    "cart.add": ADD,
    "cart.update": {"item_id": "mug", "quantity": 3},
    "cart.remove": {"item_id": "mug"},
    "checkout": {},
    "contact": {"message": "Is it dishwasher safe?"},
    "voucher.apply": {"code": "SPRING"},
    "voucher.remove": {"code": "AUTUMN"},
}
"""What each capability can be called with, in a session that has a mug and the voucher AUTUMN in its cart."""


def writes_of_capabilities() -> Iterator[tuple[str, str, str]]:
    for one in offer().capabilities:
        for method in one.methods:
            if method in WRITES:
                yield one.name, method, one.path


@pytest.mark.parametrize("ends", [True, False], ids=["ends at handoff", "goes on"])
def test_every_write_of_a_capability_can_be_sent_again(agent: AgentClient, configure: Any, ends: bool) -> None:
    configure(END_ON_HANDOFF=ends)
    called = list(writes_of_capabilities())
    assert {name for name, _, _ in called} == BODIES.keys(), "a capability was added: give it a body here"
    for name, method, path in called:
        agent.open()
        agent.data("POST", "/cart", ADD, status=201)
        agent.send("POST", "/voucher/apply", {"code": "AUTUMN"})
        before = len(selectors.events(head_of(agent).session_id))

        first, again = twice(agent, method, path, BODIES[name])

        require_same(first, again)
        made = selectors.events(head_of(agent).session_id)[before:]
        assert [event["capability"] for event in made if event["kind"] != "session.ended"] == [name]
        assert selectors.verify_session(head_of(agent).session_id).ok


def writes_of_resources() -> Iterator[tuple[str, str, type[SessionResource]]]:
    sample = {"int": "1", "uuid": str(uuid.uuid4()), "str": "some"}
    for one in RESOURCES:
        address = "/session/" + re.sub(r"<([a-z]+):[^>]+>", lambda kind: sample[kind.group(1)], one.path)
        for method in one.view.operations:
            if method in WRITES:
                yield address, method, one.view


def test_every_write_below_the_session_can_be_sent_again(shopper: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are added later: what each does is stood in for by one event."""
    session = head_of(shopper).session_id
    written = list(writes_of_resources())
    assert written
    for address, method, view in written:

        def write(self: SessionResource, request: Any, **parameters: Any) -> Any:
            made = services.record_event(session, kind="item.viewed")
            return self.answered({"seq": made.seq}, version=made.version, status=201)

        monkeypatch.setattr(view, method.lower(), write)
        before = len(selectors.events(session))

        first, again = twice(shopper, method, address, {"some": "body"})

        require_same(first, again)
        assert len(selectors.events(session)) == before + 1, f"{method} {address}"


def test_what_is_slow_says_what_of_it_is_one_transaction(shopper: AgentClient) -> None:
    """Else its effect could be stored and its answer be lost, and sent again it would have two."""
    slow = {view for _, _, view in writes_of_resources() if view.slow}
    assert [view.__name__ for view in slow if "self.at_once" not in inspect.getsource(view)] == []


def test_the_description_tells_it_of_every_write_and_of_no_read(agent: AgentClient) -> None:
    document = agent.send("GET", "/.well-known/agents/openapi.json").json()
    told = {"$ref": "#/components/parameters/IdempotencyKey"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            writes = method.upper() in WRITES
            assert (told in operation.get("parameters", [])) is writes, f"{method} {path}"
            assert ("422" in operation["responses"]) >= writes
    pattern = document["components"]["parameters"]["IdempotencyKey"]["schema"]["pattern"]
    assert all(re.search(pattern, good) for good in ("abc", '"abc"', str(uuid.uuid4())))
    assert not any(re.search(pattern, bad) for bad in ("", '"', "a b", "a,b", "x" * 256, "é"))


def test_scripts_may_send_a_key_and_read_whether_the_answer_is_an_old_one(agent: AgentClient) -> None:
    assert "Idempotency-Key" in agent.send("OPTIONS", "/cart").headers["Access-Control-Allow-Headers"].split(", ")
    exposed = agent.send("GET", "/browse").headers["Access-Control-Expose-Headers"].split(", ")
    assert "Idempotent-Replayed" in exposed


# Opening and ending


def test_opening_a_session_again_gives_the_same_token(agent: AgentClient) -> None:
    first, again = twice(agent, "POST", "/session", {"agent_name": "Helper", "purpose": "a gift"})

    require_same(first, again)
    assert Session.objects.count() == 1
    agent.token = again.json()["data"]["session_token"]
    agent.data("POST", "/cart", ADD, status=201)
    assert not is_stored(agent.token)
    assert not is_stored("a gift")
    assert IdempotencyRecord.objects.get().session_id == head_of(agent).session_id, "under its key"


def test_the_token_of_an_earlier_session_does_not_matter_to_an_opening(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")

    require_same(*twice(shopper, "POST", "/session", {}))
    require_same(*twice(shopper, "POST", "/session", {}, headers={"X-Agent-Session": "ags_of another site"}))


def test_ending_a_session_again_is_answered_although_its_token_is_dead(shopper: AgentClient) -> None:
    first, again = twice(shopper, "DELETE", "/session")

    require_same(first, again)
    shopper.refused(401, "DELETE", "/session", headers=key())
    shopper.refused(401, "DELETE", "/session")


def test_a_checkout_that_ended_the_session_is_answered_again(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", ADD, status=201)

    first, again = twice(shopper, "POST", "/checkout")

    require_same(first, again)
    assert CheckoutHandoff.objects.count() == 1
    assert not head_of(shopper).is_live()


def test_a_dead_session_leaves_nothing_behind(shopper: AgentClient) -> None:
    shopper.data("DELETE", "/session")
    before = everything_stored()

    assert shopper.refused(401, "POST", "/cart", ADD, headers=key())["code"] == "invalid_token"

    assert everything_stored() == before


def test_after_a_revocation_nothing_is_told_again(shopper: AgentClient) -> None:
    """T3: recorded answers hold links and tokens; whoever has a stolen token must not get at them."""
    sent = key()
    shopper.data("POST", "/cart", ADD, status=201, headers=sent)
    services.revoke_all_sessions(reason="a laptop was stolen")

    shopper.refused(401, "POST", "/cart", ADD, headers=sent)
    assert IdempotencyRecord.objects.count() == 1


def test_a_token_that_is_bound_to_an_address_is_told_nothing_elsewhere(
    agent: AgentClient, make_agent: Callable[..., AgentClient], configure: Any
) -> None:
    """T5"""
    configure(BIND_TO="address")
    agent.open()
    sent = key()
    agent.data("POST", "/cart", ADD, status=201, headers=sent)
    thief = make_agent(REMOTE_ADDR="192.0.2.7")
    thief.token = agent.token

    thief.refused(401, "POST", "/cart", ADD, headers=sent)


# What is refused, and what fails


def test_a_refusal_is_not_kept_so_that_the_request_can_be_put_right(
    shopper: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = key()
    assert shopper.refused(404, "POST", "/cart", {"item_id": "nothing"}, headers=sent)["code"] == "item_not_found"
    assert shopper.refused(400, "POST", "/cart", {"item_id": 7}, headers=sent)
    assert shopper.refused(400, "POST", "/cart", "no json", headers=sent)
    assert shopper.send("POST", "/cart", ADD, headers={**sent, "If-Match": '"v9"'}).status_code == 412
    assert IdempotencyRecord.objects.count() == 0

    first = shopper.send("POST", "/cart", ADD, headers=sent)
    require_same(first, shopper.send("POST", "/cart", ADD, headers=sent))

    events = selectors.events(head_of(shopper).session_id)
    refusals = [event["params"]["code"] for event in events if event["kind"] == "capability.refused"]
    assert refusals == ["item_not_found", "invalid_parameter", "version_conflict"], "each is in the history"


def test_what_is_not_there_or_not_allowed_claims_nothing(shopper: AgentClient) -> None:
    before = everything_stored()

    shopper.refused(404, "POST", "/nothing", {}, headers=key())
    shopper.refused(405, "POST", "/search", {}, headers=key())
    shopper.refused(405, "PUT", "/session", {}, headers=key())
    shopper.refused(401, "POST", "/cart", ADD, headers={**key(), "X-Agent-Session": "ags_AAAA"})

    assert everything_stored() == before


def test_a_call_that_fails_can_be_sent_again(shopper: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = key()
    with monkeypatch.context() as patched:
        patched.setattr(Shelf, "price", lambda *_, **__: 1 / 0)
        shopper.refused(500, "POST", "/cart", ADD, headers=sent)

    shopper.data("POST", "/cart", ADD, status=201, headers=sent)
    assert cart_size(shopper) == 1


def test_a_write_whose_answer_fails_is_undone(shopper: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key it would stand although nobody was told; with one, it is made when the request is sent again."""
    sent = key()
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.api.views.etag", lambda _: 1 / 0)
        shopper.refused(500, "POST", "/cart", ADD, headers=sent)
        shopper.refused(500, "DELETE", "/session", headers=sent)
    assert head_of(shopper).is_live()

    shopper.data("POST", "/cart", ADD, status=201, headers=sent)
    assert cart_size(shopper) == 1
    shopper.data("DELETE", "/session", headers=sent)


def test_what_a_refusal_has_written_stays(shopper: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is found damaged is closed, with a key as without."""
    session = head_of(shopper).session_id

    def damaged(*_: Any, **__: Any) -> Any:
        services.record_event(session, kind="item.viewed")
        raise SessionDamaged(session, "for this test")

    monkeypatch.setattr("agent_sessions.services.end_session", damaged)

    shopper.refused(500, "DELETE", "/session", headers=key())

    assert selectors.events(session)[-1]["kind"] == "item.viewed"
    assert IdempotencyRecord.objects.count() == 0


def test_while_it_runs_who_sends_it_again_is_told_to_wait(
    shopper: AgentClient, make_agent: Callable[..., AgentClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, told = key(), []
    price: Callable[..., Any] = Shelf.price
    other = make_agent()
    other.token = shopper.token

    def price_while_sent_again(*args: Any, **facts: Any) -> Any:
        if not told:
            told.append(None)
            told[0] = other.send("POST", "/cart", ADD, headers=sent)
        return price(*args, **facts)

    monkeypatch.setattr(Shelf, "price", price_while_sent_again)

    shopper.data("POST", "/cart", ADD, status=201, headers=sent)

    (answer,) = told
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (
        409,
        "request_in_progress",
        "1",
    )
    assert cart_size(shopper) == 1


def test_a_call_that_others_overtake_is_run_again_and_kept_once(
    shopper: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    price: Callable[..., Any] = Shelf.price
    session = head_of(shopper).session_id
    versions = [1, 2, 3]

    def price_while_another_writes(*args: Any, **facts: Any) -> Any:
        if versions:
            services.change_session(session, expected_version=versions.pop(0), patch={"agent": {"left": len(versions)}})
        return price(*args, **facts)

    monkeypatch.setattr(Shelf, "price", price_while_another_writes)

    first, again = twice(shopper, "POST", "/cart", ADD)

    require_same(first, again)
    assert first.headers["ETag"] == '"v5"'
    assert cart_size(shopper) == 1


# What it costs


def test_a_write_that_is_sent_again_costs_three_queries(shopper: AgentClient) -> None:
    sent = key()
    shopper.data("POST", "/cart", ADD, status=201, headers=sent)

    with CaptureQueriesContext(connection) as captured:
        shopper.data("POST", "/cart", ADD, status=201, headers=sent)

    asked = [query["sql"].split()[0] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert sorted(asked) == ["INSERT", "SELECT", "SELECT"], "whose it is, the claim, and what was answered"
