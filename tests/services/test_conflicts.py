"""A write names the version it is based on; a stale one learns what has changed since (V3)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from agent_sessions import selectors, services
from agent_sessions.exceptions import VersionConflict
from agent_sessions.models import SessionKey
from agent_sessions.selectors import _cache
from tests.shopping import basket, line, variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def test_a_stale_change_is_refused_with_what_has_changed_since(opened: Any) -> None:
    """V3: the current version, and the changes in shop terms."""
    one = opened(state=basket(a=line()))
    services.change_session(one.session_id, expected_version=1, patch=basket(a={"quantity": 3}))
    services.change_session(one.session_id, expected_version=2, patch=basket(b=line("Plate", unit_price=900)))
    before = everything_stored()

    with pytest.raises(VersionConflict) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=basket(a=None))

    conflict = refusal.value
    told = ["Blue mug: quantity 1 → 3", "Added 1 × Plate at 9.00 EUR"]
    assert (conflict.expected, conflict.current, conflict.status) == (1, 3, 409)
    assert [change.text for change in conflict.changes] == told
    assert conflict.details["changes"] == told
    assert "at version 3, not 1. Since then: Blue mug: quantity 1 → 3" in str(conflict)
    assert everything_stored() == before


def test_the_refused_caller_can_decide_again(opened: Any) -> None:
    """V3"""
    one = opened()
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    with pytest.raises(VersionConflict) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=variables(b=1))

    services.change_session(one.session_id, expected_version=refusal.value.current, patch=variables(b=1))

    assert selectors.current_state(one.session_id).state == variables(a=1, b=1)


@pytest.mark.parametrize("expected", [0, -1, 2, 99, 2**70])
def test_a_version_that_there_never_was_is_a_conflict_too(opened: Any, expected: int) -> None:
    one = opened()
    before = everything_stored()

    with pytest.raises(VersionConflict) as refusal:
        services.change_session(one.session_id, expected_version=expected, patch=variables(a=1))

    assert (refusal.value.expected, refusal.value.current, refusal.value.changes) == (expected, 1, ())
    assert everything_stored() == before


@pytest.mark.parametrize("cached", [True, False])
def test_it_is_decided_by_the_database_and_not_by_the_cache(opened: Any, cached: bool) -> None:
    """V3, M1: a head that was read before, and a process that knows nothing."""
    one = opened()
    stale = selectors.authenticate(one.token)
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    if not cached:
        _cache.local.clear()

    for session in (stale, one.session_id):
        with pytest.raises(VersionConflict) as refusal:
            services.change_session(session, expected_version=1, patch=variables(a=2))
        assert refusal.value.current == 2

    assert selectors.current_state(one.session_id).state == variables(a=1)


def test_an_old_head_with_the_right_version_is_read_again(opened: Any) -> None:
    """The head saves a read, it is not what the change is based on."""
    one = opened()
    old = selectors.authenticate(one.token)
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    made = services.change_session(old, expected_version=2, patch=variables(b=2))

    assert made.version == 3
    assert selectors.current_state(one.session_id).state == variables(a=1, b=2)


def test_events_that_change_no_state_are_no_conflict(opened: Any) -> None:
    """V3, A1: an audited read between reading and writing refuses nobody."""
    one = opened()
    head = selectors.authenticate(one.token)
    services.record_event(one.session_id, kind="cart.viewed")
    services.add_message(one.session_id, role="user", content="hello")

    made = services.change_session(head, expected_version=1, patch=variables(a=1))

    assert (made.version, made.seq) == (2, 4)
    assert selectors.verify_session(one.session_id).ok


def test_adding_needs_no_version_and_is_never_refused(opened: Any) -> None:
    """A1, S6: with a head that is long out of date."""
    one = opened()
    head = selectors.authenticate(one.token)
    for number in range(1, 4):
        services.change_session(one.session_id, expected_version=number, patch=variables(n=number))

    event = services.record_event(head, kind="cart.viewed")
    turn = services.add_message(head, role="user", content="hello")

    assert (event.version, event.seq) == (4, 5)
    assert (turn.number, turn.seq) == (1, 6)


@pytest.mark.parametrize("write", ["change", "event", "message", "end"])
def test_a_head_that_was_never_committed_leads_nowhere(opened: Any, write: str) -> None:
    """A1: the chain goes on from what is there, not from an event of the same number that was rolled back."""
    one = opened()
    with transaction.atomic():
        services.record_event(one.session_id, kind="cart.viewed")
        phantom = selectors.read_head(one.session_id)
        transaction.set_rollback(True)
    services.record_event(one.session_id, kind="cart.priced")

    made = {
        "change": lambda: services.change_session(phantom, expected_version=1, patch=variables(a=1)),
        "event": lambda: services.record_event(phantom, kind="cart.closed"),
        "message": lambda: services.add_message(phantom, role="user", content="hello"),
        "end": lambda: services.end_session(phantom),
    }[write]()

    assert made.seq == 3
    assert [event["kind"] for event in selectors.events(one.session_id)][:2] == ["session.created", "cart.priced"]
    assert selectors.verify_session(one.session_id).ok


def test_ending_can_be_based_on_a_version_too(opened: Any) -> None:
    """V3: check out exactly what was shown."""
    one = opened(state=basket(a=line()))
    services.change_session(one.session_id, expected_version=1, patch=basket(a={"quantity": 9}))
    before = everything_stored()

    with pytest.raises(VersionConflict, match="quantity 1 → 9"):
        services.end_session(one.session_id, expected_version=1)

    assert everything_stored() == before
    assert services.end_session(one.session_id, expected_version=2).version == 3


def test_the_refusal_stands_where_the_content_cannot_be_read(opened: Any) -> None:
    """V3, A7: what has changed is a courtesy."""
    one = opened()
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    SessionKey.objects.all().delete()
    _cache.local.clear()

    with pytest.raises(VersionConflict) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=variables(b=1))

    assert (refusal.value.current, refusal.value.changes) == (2, ())


def test_of_many_changes_the_message_tells_five_and_the_details_all(opened: Any) -> None:
    one = opened()
    services.change_session(
        one.session_id, expected_version=1, patch=variables(**{f"v{number}": number for number in range(8)})
    )

    with pytest.raises(VersionConflict) as refusal:
        services.change_session(one.session_id, expected_version=1, patch={})

    assert "v4 set to 4" in str(refusal.value)
    assert "v5" not in str(refusal.value)
    assert len(refusal.value.details["changes"]) == len(refusal.value.changes) == 8
