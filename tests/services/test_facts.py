"""A fact that the customer did not give is looked up, kept while it holds, recorded, and never guessed (X3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import (
    FactUnavailable,
    InvalidValue,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionPaused,
)
from tests.conftest import MORNING
from tests.faults.support import at_once
from tests.shopping import variables
from tests.store.calling import head, last_event, state
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


class Source:
    """Something outside that is asked: counts how often, answers what it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def learn(session: Any, fetch: Any, name: str = "loyalty_tier", **facts: Any) -> Any:
    given = {"source": "crm", "ttl": 5 * MINUTE, **facts}
    return services.learn_fact(session.session_id, name, fetch, **given)


def test_a_fact_is_looked_up_kept_and_recorded(opened: Any, clock: Any) -> None:
    """X3"""
    one = opened()
    crm = Source("gold-4711")

    assert learn(one, crm) == "gold-4711"

    assert state(one)["facts"]["known"] == {
        "loyalty_tier": {
            "value": "gold-4711",
            "source": "crm",
            "fetched_at": "2026-03-02T10:00:00.000000Z",
            "expires_at": "2026-03-02T10:05:00.000000Z",
        }
    }
    event = last_event(one)
    assert (event["kind"], event["actor"]) == ("fact.learned", "system")
    assert event["params"] == {"fact": "loyalty_tier", "source": "crm"}
    assert not is_stored("gold-4711"), "the value is sealed"
    assert [one.text for one in selectors.compare(one.session_id, 1)] == ["Learned loyalty_tier from crm"]
    assert selectors.verify_session(one.session_id).ok


def test_while_it_holds_nobody_is_asked_again_and_then_somebody_is(opened: Any, clock: Any) -> None:
    """X3: what no longer holds is never returned."""
    one = opened()
    crm = Source("silver", "gold")
    learn(one, crm)
    clock.move_to(MORNING + 5 * MINUTE - timedelta(microseconds=1))
    before = everything_stored()
    assert (learn(one, crm), crm.asked) == ("silver", 1)
    assert everything_stored() == before
    clock.move_to(MORNING + 5 * MINUTE)
    assert (learn(one, crm), crm.asked) == ("gold", 2)
    assert head(one).version == 3


def test_what_cannot_be_looked_up_is_recorded_and_not_guessed(opened: Any, clock: Any) -> None:
    """X3: not even from what was known before."""
    one = opened()
    crm = Source("silver", RuntimeError("4111 1111 1111 1111"))
    learn(one, crm)
    clock.shift(5 * MINUTE)

    with pytest.raises(FactUnavailable) as refused:
        learn(one, crm)

    assert (refused.value.code, refused.value.status, refused.value.name) == ("fact_unavailable", 503, "loyalty_tier")
    assert "4111" not in str(refused.value)
    event = last_event(one)
    assert event["kind"] == "fact.unavailable"
    assert head(one).version == 2
    assert event["params"] == {"fact": "loyalty_tier", "source": "crm"}
    assert not is_stored("4111 1111")
    assert state(one)["facts"]["known"]["loyalty_tier"]["value"] == "silver", "with the time at which it ended"


def test_who_knows_nothing_is_no_source(opened: Any) -> None:
    one = opened()
    with pytest.raises(FactUnavailable):
        learn(one, Source(None))
    assert last_event(one)["kind"] == "fact.unavailable"
    assert state(one) == {}


@pytest.mark.parametrize("value", [0, False, "", [], {}, {"a": {"b": [1, "x"]}}])
def test_nothing_is_a_value_too_as_long_as_somebody_says_so(opened: Any, value: Any) -> None:
    one = opened()
    crm = Source(value)
    assert [learn(one, crm), learn(one, crm)] == [value, value]
    assert crm.asked == 1


def test_nothing_of_an_older_value_is_left(opened: Any, clock: Any) -> None:
    one = opened()
    crm = Source({"street": "Gartenweg", "door": 3}, {"street": "Ringstraße"})
    learn(one, crm)
    clock.shift(5 * MINUTE)
    assert learn(one, crm) == {"street": "Ringstraße"}
    assert state(one)["facts"]["known"]["loyalty_tier"]["value"] == {"street": "Ringstraße"}


def test_facts_do_not_get_into_each_others_way(opened: Any) -> None:
    one = opened()
    learn(one, Source("gold"))
    learn(one, Source("DE"), name="country")
    assert {name: fact["value"] for name, fact in state(one)["facts"]["known"].items()} == {
        "loyalty_tier": "gold",
        "country": "DE",
    }


@pytest.mark.parametrize("value", [1.5, object(), {"a": None}])
def test_what_a_session_cannot_hold_is_refused(opened: Any, value: Any) -> None:
    one = opened()
    with pytest.raises(InvalidValue):
        learn(one, Source(value))
    assert state(one) == {}


@pytest.mark.parametrize(
    "facts",
    [
        {"name": ""}, {"name": "x" * 201}, {"name": "a\0"}, {"source": ""}, {"source": "x" * 201}, {"source": None},
        {"ttl": timedelta(0)}, {"ttl": -MINUTE}, {"ttl": 300},
    ],
)  # fmt: skip
def test_a_fact_has_a_name_a_source_and_a_time(opened: Any, facts: Any) -> None:
    crm = Source("gold")
    with pytest.raises(InvalidValue):
        learn(opened(), crm, **facts)
    assert crm.asked == 0


def test_a_session_that_takes_no_changes_asks_nobody(opened: Any, clock: Any) -> None:
    paused, kept, over, late = (opened() for _ in range(4))
    services.pause_session(paused.session_id)
    services.hand_over(kept.session_id, to=Actor("staff", "7"))
    services.end_session(over.session_id)
    crm = Source("gold")
    with pytest.raises(SessionPaused):
        learn(paused, crm)
    with pytest.raises(SessionHeld):
        learn(kept, crm, actor=AGENT)
    with pytest.raises(SessionEnded):
        learn(over, crm)
    clock.shift(30 * MINUTE)
    with pytest.raises(SessionExpired):
        learn(late, crm)
    assert crm.asked == 0


def test_a_change_that_comes_between_asks_nobody_twice(opened: Any) -> None:
    one = opened()
    crm = Source("gold")

    def slow() -> Any:
        services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
        return crm()

    assert learn(one, slow) == "gold"
    assert crm.asked == 1
    assert state(one)["facts"]["known"]["loyalty_tier"]["value"] == "gold"


def test_who_comes_second_gets_what_the_first_one_knows(opened: Any) -> None:
    """So that two parts of one task never go by different answers."""
    one = opened()

    def slow() -> Any:
        assert learn(one, Source("gold")) == "gold"
        return "platinum"

    assert learn(one, slow) == "gold"
    assert head(one).version == 2


@pytest.mark.django_db(transaction=True)
def test_many_at_once_know_the_same(opened: Any) -> None:
    one = opened()
    results = at_once([lambda n=n: learn(one, Source(f"answer {n}")) for n in range(5)])
    assert len(set(map(str, results))) == 1, results
    assert head(one).version == 2
    assert selectors.verify_session(one.session_id).ok
