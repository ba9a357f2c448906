"""Which requests an Idempotency-Key takes for the same one (V7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.models import IdempotencyRecord, Session
from tests.api.conftest import API, AgentClient
from tests.api.sending_again import ADD, cart_size, key, require_same, twice
from tests.api.store import Shelf
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db


# What is the same request


def test_the_same_key_with_another_body_is_refused(shopper: AgentClient) -> None:
    sent = key()
    shopper.data("POST", "/cart", ADD, status=201, headers=sent)

    refused = shopper.refused(422, "POST", "/cart", {"item_id": "bowl"}, headers=sent)

    assert refused["code"] == "idempotency_key_reused"
    assert cart_size(shopper) == 1


@pytest.mark.parametrize(
    "body",
    ['{"quantity":1,"item_id":"mug"}', b'{ "item_id": "\\u006dug",\n "quantity": 1 }'],
    ids=["other order", "other spelling"],
)
def test_how_the_json_is_laid_out_does_not_matter(shopper: AgentClient, body: Any) -> None:
    sent = key()
    first = shopper.send("POST", "/cart", ADD, headers=sent)

    require_same(first, shopper.send("POST", "/cart", body, headers=sent))
    assert cart_size(shopper) == 1


@pytest.mark.parametrize(
    "body", [{"item_id": "mug", "quantity": "1"}, {"item_id": "mug"}, {**ADD, "more": 1}, None, "no"]
)
def test_what_would_come_to_the_same_is_another_body_nevertheless(shopper: AgentClient, body: Any) -> None:
    sent = key()
    shopper.data("POST", "/cart", ADD, status=201, headers=sent)

    shopper.refused(422, "POST", "/cart", body, headers=sent)


def test_the_query_belongs_to_the_request(shopper: AgentClient) -> None:
    shopper.data("POST", "/cart", ADD, status=201)
    shopper.data("POST", "/cart", {"item_id": "bowl"}, status=201)
    sent = key()
    shopper.data("DELETE", "/cart?item_id=mug", headers=sent)

    shopper.refused(422, "DELETE", "/cart?item_id=bowl", headers=sent)
    assert shopper.send("DELETE", "/cart?item_id=mug", headers=sent).headers["Idempotent-Replayed"] == "true"


def test_a_newer_if_match_does_not_make_it_another_request(shopper: AgentClient) -> None:
    """Whoever got no answer reads the session, sees a newer version, and sends the change again for that."""
    sent = key()
    first = shopper.send("POST", "/cart", ADD, headers={**sent, "If-Match": '"v1"'})

    require_same(first, shopper.send("POST", "/cart", ADD, headers={**sent, "If-Match": '"v2"'}))
    assert cart_size(shopper) == 1


def test_a_key_counts_for_one_operation_only(shopper: AgentClient) -> None:
    sent = key()
    shopper.data("POST", "/cart", ADD, status=201, headers=sent)
    shopper.data("PATCH", "/cart", ADD, headers=sent)
    shopper.data("PUT", "/cart", ADD, headers=sent)
    shopper.data("DELETE", "/cart", ADD, headers=sent)

    assert cart_size(shopper) == 0


def test_two_sessions_can_use_the_same_key(agent: AgentClient) -> None:
    sent = key("one")
    for _ in range(2):
        agent.open()
        assert agent.data("POST", "/cart", ADD, status=201, headers=sent)["cart_size"] == 1


def test_without_a_key_every_request_counts(shopper: AgentClient) -> None:
    for size in (1, 2):
        assert shopper.data("POST", "/cart", ADD, status=201)["cart_size"] == size
    assert IdempotencyRecord.objects.count() == 0


def test_reads_take_no_notice_of_a_key(shopper: AgentClient) -> None:
    for _ in range(2):
        answer = shopper.send("GET", "/cart", headers=key("a b"))
        assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)
    assert IdempotencyRecord.objects.count() == 0


# The header


@pytest.mark.parametrize(
    ("one", "same"),
    [("abc", '"abc"'), ('"a\\"b"', ' "a\\"b" '), ("a;b=c", '"a;b=c"'), ("x" * 255, '"' + "x" * 255 + '"'), ("!", "!")],
)
def test_quotes_are_no_part_of_the_key(shopper: AgentClient, one: str, same: str) -> None:
    first = shopper.send("POST", "/cart", ADD, headers=key(one))

    require_same(first, shopper.send("POST", "/cart", ADD, headers=key(same)))


@pytest.mark.parametrize(
    "bad",
    [
        '""', " ", "a b", '"a b"', '"', '"a', 'a"', '"a"b', '"a", "b"', "a,b", "a\\b", '"a\\b"', "x" * 256,
        '"' + "x" * 256 + '"', "é", "a\tb", "a\x00b", "a\x7f", "\xa0a", '"a";q=1', "a\x1b[31m",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_before_anything_is_done(shopper: AgentClient, bad: str) -> None:
    before = everything_stored()

    refused = shopper.refused(400, "POST", "/cart", ADD, headers={"Idempotency-Key": bad})

    assert refused["code"] == "malformed_request"
    assert "Idempotency-Key" in refused["error"]
    assert everything_stored() == before


def test_an_empty_key_is_refused(shopper: AgentClient) -> None:
    answer = shopper.generic(
        "POST", f"{API}/cart", json.dumps(ADD), "application/json",
        headers={"X-Agent-Session": shopper.token, "Idempotency-Key": ""},
    )  # fmt: skip

    assert answer.status_code == 400
    assert cart_size(shopper) == 0


# Without a session


def test_without_a_session_a_key_must_not_be_one_that_others_send_too(agent: AgentClient) -> None:
    """Behind one address there are many agents; a key like ``1`` would give one of them the other's session."""
    for path, body in (("/session", {}), ("/contact", {"message": "hello"})):
        refused = agent.refused(400, "POST", path, body, headers=key("0123456789abcde"))
        assert "16 characters" in refused["error"]
        require_same(*twice(agent, "POST", path, body))


def test_another_caller_with_the_same_key_gets_a_session_of_its_own(
    agent: AgentClient, make_agent: Callable[..., AgentClient]
) -> None:
    sent = key()
    one = agent.data("POST", "/session", {}, status=201, headers=sent)
    other = make_agent(REMOTE_ADDR="192.0.2.7").data("POST", "/session", {}, status=201, headers=sent)

    assert one["session_id"] != other["session_id"]
    assert Session.objects.count() == 2


def test_the_answer_for_one_consumer_is_not_anothers(agent: AgentClient) -> None:
    """C1: an agent acts for many; what it may know of each the shop's assertion says."""
    sent, opened = key(), []
    for reference in ("ada", "ben", "ada", "nobody"):
        headers = {**sent, "X-Agent-Consumer": services.assert_consumer(reference).text}
        if reference == "nobody":
            headers["X-Agent-Consumer"] = "forged"
        opened.append(agent.send("POST", "/session", {}, headers=headers))

    ada, ben, again, forged = opened
    assert ada.json()["data"]["session_id"] != ben.json()["data"]["session_id"]
    require_same(ada, again)
    assert forged.status_code == 403
    assert Session.objects.count() == 2


def test_what_is_done_outside_is_done_once(agent: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def contact(self: Shelf, message: str, reply_to: str, **facts: Any) -> str:
        written.append(message)
        return f"C-{len(written)}"

    monkeypatch.setattr(Shelf, "contact", contact)

    require_same(*twice(agent, "POST", "/contact", {"message": "I am Ada Lovelace"}))

    assert len(written) == 1
    assert not is_stored("Lovelace")
