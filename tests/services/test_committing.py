"""A cart is tentative until it is committed, and goes back to there: the cart only, at today's prices (V6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import (
    NothingCommitted,
    SessionEnded,
    SessionHeld,
    SessionPaused,
    VersionConflict,
    VersionNotFound,
)
from agent_sessions.services import OpenedSession
from agent_sessions.store import StoreContext
from tests.faults.support import at_once, half_done
from tests.services import working
from tests.shopping import variables
from tests.store.calling import call, head, last_event, quantities, state
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

NOBODY = StoreContext()
STAFF = Actor("staff", "17")


@pytest.fixture
def one(opened: Callable[..., OpenedSession], shop: Any) -> OpenedSession:
    """A session with two mugs at version 2, which is committed."""
    session = opened()
    call("cart.add", session, item_id="mug", quantity=2)
    services.commit_session(session.session_id)
    return session


def roll_back(session: OpenedSession, **facts: Any) -> Any:
    return services.rollback_session(session.session_id, **{"ctx": NOBODY, **facts})


def total(session: OpenedSession) -> int:
    found: int = state(session)["shopping"]["quote"]["total"]
    return found


def test_committing_makes_no_version_and_stands_in_the_history(one: OpenedSession) -> None:
    assert (head(one).version, head(one).committed_version) == (2, 2)
    event = last_event(one)
    assert (event["kind"], event["params"]) == ("session.committed", {"committed_version": 2})
    assert half_done(one.session_id) == []


def test_the_cart_goes_back_as_a_new_version_that_says_so(one: OpenedSession) -> None:
    """V6"""
    call("cart.update", one, item_id="mug", quantity=5)
    call("cart.add", one, item_id="plate")
    call("cart.add", one, item_id="pot")
    done = roll_back(one)

    assert (done.version, done.to) == (6, 2)
    assert quantities(one) == {"mug": 2}
    assert state(one)["shopping"] == selectors.state_at_version(one.session_id, 2).state["shopping"]
    event = last_event(one)
    assert (event["kind"], event["params"], event["version"]) == ("session.rolled_back", {"to": 2}, 6)
    assert head(one).committed_version == 2
    assert quantities_at(one, 5) == {"mug": 5, "plate": 1, "pot": 1}, "what was is not forgotten"
    assert half_done(one.session_id) == []


def quantities_at(session: OpenedSession, version: int) -> dict[str, int]:
    lines: Any = selectors.state_at_version(session.session_id, version).state["shopping"]["lines"]
    return {key: one["quantity"] for key, one in lines.items()}


def test_only_the_cart_goes_back(one: OpenedSession, configure: Callable[..., None]) -> None:
    """V6: what was decided, tried and said stays, and so do finished steps."""
    configure(STEPS=working.PATH)
    services.change_session(one.session_id, expected_version=2, patch=variables(mood="cautious"))
    services.start_step(one.session_id, "payment")
    services.finish_step(one.session_id, "payment", outcome="failed", code="declined")
    services.add_message(one.session_id, role="user", content="Two is enough.")
    call("cart.add", one, item_id="plate")
    before = state(one)
    roll_back(one)
    after = state(one)
    assert {name: after[name] for name in after if name != "shopping"} == {
        name: before[name] for name in before if name != "shopping"
    }
    assert len(selectors.messages(one.session_id)) == 1


def test_it_is_priced_anew(one: OpenedSession, shop: Any) -> None:
    """V6: at today's prices."""
    call("cart.add", one, item_id="plate")
    shop.prices["mug"] = 1400
    roll_back(one)
    assert total(one) == 2800
    assert state(one)["shopping"]["lines"]["mug"]["unit_price"] == 1400


def test_what_cannot_be_bought_any_more_is_told_and_holds_up_nothing(one: OpenedSession, shop: Any) -> None:
    call("cart.update", one, item_id="mug", quantity=1)
    shop.stock["mug"] = 1
    roll_back(one)
    assert quantities(one) == {"mug": 2}
    [problem] = state(one)["shopping"]["quote"]["extra"]["problems"]
    assert problem["code"] == "out_of_stock"


def test_to_the_empty_cart(opened: Callable[..., OpenedSession], shop: Any) -> None:
    session = opened()
    services.commit_session(session.session_id)
    call("cart.add", session, item_id="mug")
    roll_back(session)
    assert "shopping" not in state(session)
    assert half_done(session.session_id) == []


def test_to_a_version_of_choice(one: OpenedSession) -> None:
    for quantity in (3, 4, 5):
        call("cart.update", one, item_id="mug", quantity=quantity)
    assert roll_back(one, to_version=3).to == 3
    assert quantities(one) == {"mug": 3}
    for wrong in (7, 99, -1):
        with pytest.raises(VersionNotFound):
            roll_back(one, to_version=wrong)


def test_without_a_store_the_cart_goes_back_as_it_was(opened: Callable[..., OpenedSession]) -> None:
    from tests.shopping import basket, line

    session = opened(state=basket(l1=line()))
    services.commit_session(session.session_id)
    services.change_session(session.session_id, expected_version=1, patch=basket(l1={"quantity": 7}))
    roll_back(session)
    assert quantities(session) == {"l1": 1}


def test_what_was_never_committed_has_nothing_to_go_back_to(opened: Callable[..., OpenedSession]) -> None:
    session = opened()
    with pytest.raises(NothingCommitted):
        roll_back(session)
    assert head(session).version == 1


def test_a_step_commits_what_a_rollback_goes_back_to(one: OpenedSession, configure: Callable[..., None]) -> None:
    """V6: when a later step fails, the session goes back to what the last one committed."""
    configure(STEPS=working.PATH)
    call("cart.update", one, item_id="mug", quantity=3)
    with services.step(one.session_id, "payment"):
        pass
    call("cart.update", one, item_id="mug", quantity=9)
    assert roll_back(one).to == 5
    assert quantities(one) == {"mug": 3}
    assert half_done(one.session_id) == []


def test_an_expected_version_is_held_to(one: OpenedSession) -> None:
    call("cart.add", one, item_id="plate")
    before = everything_stored()
    with pytest.raises(VersionConflict) as conflict:
        roll_back(one, expected_version=2)
    assert conflict.value.current == 3
    with pytest.raises(VersionConflict):
        services.commit_session(one.session_id, expected_version=2)
    assert everything_stored() == before
    assert services.commit_session(one.session_id, expected_version=3).version == 3
    assert head(one).committed_version == 3


def test_another_change_that_comes_between_goes_back_too(
    one: OpenedSession, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is asked outside of any transaction; what has changed meanwhile is not lost from the history."""
    from tests.store.shop import Shop

    call("cart.add", one, item_id="plate")
    price, coming = Shop.price, [True]

    def slow(self: Shop, *facts: Any, **more: Any) -> Any:
        if coming:
            coming.pop()
            call("cart.add", one, item_id="pot")
        return price(self, *facts, **more)

    monkeypatch.setattr(Shop, "price", slow)
    assert roll_back(one).version == 5
    assert quantities(one) == {"mug": 2}


@pytest.mark.parametrize("act", [services.commit_session, roll_back])
def test_a_session_that_takes_no_changes_takes_neither(one: OpenedSession, act: Callable[..., Any]) -> None:
    def refused(problem: type[Exception], **facts: Any) -> None:
        before = everything_stored()
        with pytest.raises(problem):
            act(one if act is roll_back else one.session_id, **facts)
        assert everything_stored() == before

    services.hand_over(one.session_id, to=STAFF)
    refused(SessionHeld, actor=AGENT)
    act(one if act is roll_back else one.session_id, actor=STAFF)
    services.pause_session(one.session_id, actor=STAFF)
    refused(SessionPaused, actor=STAFF)
    services.end_session(one.session_id, actor=STAFF)
    refused(SessionEnded, actor=STAFF)
    assert half_done(one.session_id) == []


@pytest.mark.django_db(transaction=True)
def test_rolling_back_and_shopping_at_once_loses_nothing(opened: Callable[..., OpenedSession], shop: Any) -> None:
    session = opened()
    call("cart.add", session, item_id="mug", quantity=2)
    services.commit_session(session.session_id)
    results = at_once(
        [lambda: roll_back(session), lambda: call("cart.add", session, item_id="plate"), lambda: roll_back(session)]
    )
    assert not any(isinstance(result, Exception) for result in results), results
    assert head(session).version == 5
    assert quantities(session)["mug"] == 2
    assert half_done(session.session_id) == []
