"""While a person has a session its agent waits; who has it is always known, and who gives it back (L4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import InvalidValue, NotHeld, SessionEnded, SessionHeld
from tests.faults.support import at_once, half_done
from tests.shopping import variables
from tests.store.calling import call, head, last_event
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

CONSUMER, STAFF, OTHER_STAFF, ANY_STAFF = Actor("consumer"), Actor("staff", "17"), Actor("staff", "21"), Actor("staff")


@pytest.fixture
def one(opened: Callable[..., Any]) -> Any:
    return opened()


def change(one: Any, actor: Actor) -> services.Committed:
    return services.change_session(
        one.session_id, expected_version=head(one).version, patch=variables(a=1), actor=actor
    )


@pytest.mark.parametrize("person", [CONSUMER, STAFF, ANY_STAFF])
def test_it_is_handed_over_and_back(one: Any, person: Actor) -> None:
    """L4: to the consumer, to the staff, to one of the staff; where it is, is on the row and in the history."""
    given = services.hand_over(one.session_id, to=person, note="She asks for a discount")
    assert (head(one).held_by, head(one).version, head(one).status) == (str(person), 1, Status.ACTIVE)
    event = last_event(one)
    assert (event["kind"], event["actor"], event["params"]) == (
        "session.handed_over",
        "agent",
        {"held_by": str(person)},
    )
    assert selectors.private_values(one.session_id, given.seq) == {"note": "She asks for a discount"}
    assert not is_stored("asks for a discount")

    services.take_back(one.session_id, actor=person, note="Done")
    assert (head(one).held_by, last_event(one)["kind"]) == ("", "session.taken_back")
    assert change(one, AGENT).version == 2
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("remembered", [True, False])
def test_the_agent_waits_and_the_person_works(one: Any, remembered: bool) -> None:
    stale = head(one)
    services.hand_over(one.session_id, to=STAFF)
    before = everything_stored()
    with pytest.raises(SessionHeld) as refused:
        services.change_session(stale if remembered else one.session_id, expected_version=1, patch=variables(a=1))
    assert (refused.value.code, refused.value.status, refused.value.details["held_by"]) == (
        "session_held",
        409,
        "staff",
    )
    assert "staff:17" not in refused.value.message
    assert everything_stored() == before
    assert change(one, STAFF).version == 2
    assert change(one, CONSUMER).version == 3
    assert half_done(one.session_id) == []


def test_the_agent_reads_talks_and_is_refused_the_rest(shop: Any, one: Any) -> None:
    services.hand_over(one.session_id, to=ANY_STAFF)
    with pytest.raises(SessionHeld):
        call("cart.add", one, item_id="mug")
    assert last_event(one)["params"] == {"code": "session_held"}
    assert call("cart.view", one).data["cart_size"] == 0
    services.add_message(one.session_id, role="agent", content="Somebody is coming")
    with pytest.raises(SessionHeld):
        services.end_session(one.session_id)
    assert head(one).is_live()
    assert half_done(one.session_id) == []


def test_a_person_ends_it(one: Any) -> None:
    services.hand_over(one.session_id, to=STAFF)
    services.end_session(one.session_id, reason=EndReason.DELETED, actor=STAFF)
    assert (head(one).status, head(one).held_by) == (Status.ENDED, "staff:17")
    for refused in (
        lambda: services.take_back(one.session_id, actor=STAFF),
        lambda: services.hand_over(one.session_id, to=STAFF),
    ):
        with pytest.raises(SessionEnded):
            refused()
    assert services.get_artifact(one.session_id)
    assert half_done(one.session_id) == []


@pytest.mark.parametrize(
    ("held_by", "actor", "may"),
    [
        (STAFF, STAFF, True),
        (STAFF, OTHER_STAFF, True),
        (STAFF, CONSUMER, False),
        (STAFF, SYSTEM, False),
        (CONSUMER, CONSUMER, True),
        (CONSUMER, Actor("consumer", "c1"), True),
        (CONSUMER, STAFF, True),
        (CONSUMER, SYSTEM, False),
    ],
)
def test_who_has_it_or_any_of_the_staff_decides(one: Any, held_by: Actor, actor: Actor, may: bool) -> None:
    services.hand_over(one.session_id, to=held_by, actor=STAFF)
    if may:
        services.hand_over(one.session_id, to=held_by, actor=actor)
        services.take_back(one.session_id, actor=actor)
        assert head(one).held_by == ""
    else:
        for refused in (
            lambda: services.hand_over(one.session_id, to=actor if actor.is_person else CONSUMER, actor=actor),
            lambda: services.take_back(one.session_id, actor=actor),
        ):
            with pytest.raises(SessionHeld):
                refused()
        assert head(one).held_by == str(held_by)
    assert half_done(one.session_id) == []


def test_an_agent_takes_back_what_nobody_has_come_for(one: Any) -> None:
    services.hand_over(one.session_id, to=ANY_STAFF)
    services.add_message(one.session_id, role="agent", content="Is anybody there?")
    services.take_back(one.session_id)
    assert head(one).held_by == ""
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("touch", ["takes it up", "says something", "changes something", "pauses it"])
def test_but_not_once_a_person_has_done_anything(one: Any, touch: str) -> None:
    services.hand_over(one.session_id, to=ANY_STAFF)
    if touch == "takes it up":
        services.hand_over(one.session_id, to=STAFF, actor=STAFF)
    elif touch == "says something":
        services.add_message(one.session_id, role="staff", content="What is it about?", actor=STAFF)
    elif touch == "changes something":
        change(one, STAFF)
    else:
        services.pause_session(one.session_id, actor=CONSUMER)
    with pytest.raises(SessionHeld):
        services.take_back(one.session_id)
    assert head(one).held_by.startswith("staff")


def test_nor_what_a_person_took_without_being_asked(one: Any) -> None:
    services.hand_over(one.session_id, to=STAFF)
    services.take_back(one.session_id)
    services.hand_over(one.session_id, to=STAFF, actor=STAFF)
    with pytest.raises(SessionHeld):
        services.take_back(one.session_id)
    with pytest.raises(SessionHeld):
        services.hand_over(one.session_id, to=CONSUMER)


def test_a_paused_session_is_handed_over_and_comes_back_paused(one: Any) -> None:
    services.pause_session(one.session_id)
    services.hand_over(one.session_id, to=STAFF)
    services.take_back(one.session_id, actor=STAFF)
    assert (head(one).status, head(one).held_by) == (Status.PAUSED, "")
    assert half_done(one.session_id) == []


def test_what_is_with_the_agent_cannot_be_given_back(one: Any) -> None:
    with pytest.raises(NotHeld) as refused:
        services.take_back(one.session_id, actor=STAFF)
    assert (refused.value.code, refused.value.status) == ("not_held", 409)


@pytest.mark.parametrize("to", [AGENT, SYSTEM])
def test_only_a_person_can_have_it(one: Any, to: Actor) -> None:
    with pytest.raises(InvalidValue, match="/to"):
        services.hand_over(one.session_id, to=to)


@pytest.mark.django_db(transaction=True)
def test_a_person_who_comes_and_an_agent_who_gives_up_do_not_both_have_it(opened: Any) -> None:
    for _ in range(4):
        one = opened()
        services.hand_over(one.session_id, to=ANY_STAFF)
        came, gave_up = at_once(
            [
                lambda one=one: services.hand_over(one.session_id, to=STAFF, actor=STAFF),
                lambda one=one: services.take_back(one.session_id),
            ]
        )
        assert isinstance(came, services.Committed), came
        assert isinstance(gave_up, SessionHeld) or gave_up.seq < came.seq, gave_up
        assert head(one).held_by == "staff:17"
        assert half_done(one.session_id) == []
