"""Holds over HTTP: placed, listed, released; and what the shop keeps for others (X1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from agent_sessions.models import Hold
from agent_sessions.store import StoreContext
from tests.api import store
from tests.api.conftest import AgentClient
from tests.conftest import MORNING
from tests.services.holding import held

pytestmark = pytest.mark.django_db
HOLDS = "/session/holds"


class CountingShelf(store.Shelf):
    """The store of these tests, which also says how many there are; the vase is not counted."""

    features = frozenset({"browse", "contact", "stock"})

    def stock(self, item_ids: Collection[str], *, ctx: StoreContext) -> Mapping[str, int | None]:
        assert ctx.request is not None
        return {item: store.ITEMS[item].available for item in item_ids if item in store.ITEMS}


@pytest.fixture(autouse=True)
def counting(small_host: None, configure: Any) -> None:
    configure(STORE=f"{__name__}.CountingShelf")


@pytest.fixture
def another(make_agent: Callable[..., AgentClient], db: None) -> AgentClient:
    agent = make_agent()
    agent.open()
    return agent


def test_pieces_are_held_listed_and_released(shopper: AgentClient, clock: Any) -> None:
    """X1"""
    shopper.open()
    answer = shopper.send("POST", HOLDS, {"item_id": "mug", "quantity": 2, "seconds": 60})

    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v2"')
    made = answer.json()["data"]
    assert made == {
        "hold_id": str(Hold.objects.get().pk),
        "item_id": "mug",
        "quantity": 2,
        "held_at": "2026-03-02T10:00:00.000000Z",
        "until": "2026-03-02T10:01:00.000000Z",
        "free": 3,
    }
    (told,) = shopper.data("GET", HOLDS)
    assert told == {
        "item_id": "mug",
        "held": 2,
        "hold_id": made["hold_id"],
        "held_at": made["held_at"],
        "until": made["until"],
        "free": 3,
        "seen_at": made["held_at"],
        "text": "mug: 2 held at 2026-03-02 10:00 UTC, 3 still free at 10:00 UTC",
    }
    assert list(shopper.data("GET", "/session")["holds"]) == [made["hold_id"]]
    answer = shopper.send("DELETE", f"{HOLDS}/{made['hold_id']}")
    assert (answer.json()["data"], answer.headers["ETag"]) == ({"released": True}, '"v3"')
    assert held() == {}
    assert "holds" not in shopper.data("GET", "/session")
    assert [one["held"] for one in shopper.data("GET", HOLDS)] == [0]
    assert MORNING.isoformat().startswith("2026-03-02T10:00")


def test_what_is_not_counted_says_nothing_of_what_is_free(shopper: AgentClient) -> None:
    made = shopper.data("POST", HOLDS, {"item_id": "a b/c", "quantity": 400}, status=201)
    assert "free" not in made
    (told,) = shopper.data("GET", HOLDS)
    assert told.keys() == {"item_id", "held", "hold_id", "held_at", "until", "text"}


def test_more_than_there_is_is_refused_and_says_how_many_there_are(shopper: AgentClient, another: AgentClient) -> None:
    """X1"""
    shopper.data("POST", HOLDS, {"item_id": "mug", "quantity": 4}, status=201)
    refused = another.refused(409, "POST", HOLDS, {"item_id": "mug", "quantity": 2})
    assert (refused["code"], refused["details"]) == ("hold_refused", {"available": 1})
    assert another.data("GET", "/detail/mug")["available"] == 1
    assert another.refused(400, "POST", "/cart", {"item_id": "mug", "quantity": 2})["code"] == "cart_problem"
    assert held() == {"mug": 4}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "item_id"), ({"item_id": "mug"}, "quantity"), ({"item_id": "", "quantity": 1}, "item_id"),
        ({"item_id": "x" * 201, "quantity": 1}, "item_id"), ({"item_id": 7, "quantity": 1}, "item_id"),
        ({"item_id": "mug", "quantity": "1"}, "quantity"), ({"item_id": "mug", "quantity": True}, "quantity"),
        ({"item_id": "mug", "quantity": 0}, "quantity"), ({"item_id": "mug", "quantity": 1.5}, "quantity"),
        ({"item_id": "mug", "quantity": 10**9}, "quantity"),
        ({"item_id": "mug", "quantity": 1, "seconds": 601}, "seconds"),
        ({"item_id": "mug", "quantity": 1, "seconds": "9"}, "seconds"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(shopper: AgentClient, body: Any, parameter: str) -> None:
    refused = shopper.refused(400, "POST", HOLDS, body)
    assert (refused["code"], refused["details"]["parameter"]) == ("invalid_parameter", parameter)
    assert held() == {}


def test_an_item_that_there_is_not_is_404(shopper: AgentClient) -> None:
    assert shopper.refused(404, "POST", HOLDS, {"item_id": "sofa", "quantity": 1})["code"] == "item_not_found"


def test_if_match_counts(shopper: AgentClient) -> None:
    """V3"""
    body = {"item_id": "mug", "quantity": 1}
    shopper.refused(412, "POST", HOLDS, body, headers={"If-Match": '"v7"'})
    made = shopper.data("POST", HOLDS, body, status=201, headers={"If-Match": '"v1"'})
    shopper.refused(412, "DELETE", f"{HOLDS}/{made['hold_id']}", headers={"If-Match": '"v1"'})
    assert held() == {"mug": 1}


def test_sent_again_under_one_key_it_is_held_once(shopper: AgentClient) -> None:
    """V7"""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"item_id": "mug", "quantity": 2}
    first = shopper.send("POST", HOLDS, body, headers=key)
    again = shopper.send("POST", HOLDS, body, headers=key)
    assert (first.status_code, first.content) == (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (held(), Hold.objects.count()) == ({"mug": 2}, 1)
    assert len(shopper.data("GET", "/session/versions")) == 2


def test_nobody_touches_another_sessions_hold(shopper: AgentClient, another: AgentClient) -> None:
    made = shopper.data("POST", HOLDS, {"item_id": "mug", "quantity": 2}, status=201)
    address = f"{HOLDS}/{made['hold_id']}"
    assert another.refused(404, "DELETE", address)["code"] == "hold_not_found"
    assert another.data("GET", HOLDS) == []
    shopper.data("DELETE", address)
    assert shopper.refused(404, "DELETE", address)["code"] == "hold_not_found"
    shopper.refused(404, "DELETE", f"{HOLDS}/{uuid.uuid4()}")
    shopper.refused(404, "DELETE", f"{HOLDS}/1")


def test_without_a_session_nothing_is_held(agent: AgentClient, db: None) -> None:
    for method in ("GET", "POST"):
        agent.refused(401, method, HOLDS)
    agent.refused(401, "DELETE", f"{HOLDS}/{uuid.uuid4()}")


def test_a_shop_that_does_not_count_says_so(shopper: AgentClient, configure: Any) -> None:
    configure(STORE="tests.api.store.Shelf")
    refused = shopper.refused(409, "POST", HOLDS, {"item_id": "mug", "quantity": 1})
    assert (refused["code"], refused["details"]) == ("hold_refused", {})


def test_ending_the_session_lets_go(shopper: AgentClient) -> None:
    """L6"""
    shopper.data("POST", HOLDS, {"item_id": "mug", "quantity": 2}, status=201)
    shopper.data("DELETE", "/session")
    assert held() == {}
