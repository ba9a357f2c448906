"""What is held through the checkout, until the order (X1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from agent_sessions import selectors, services
from agent_sessions.exceptions import (
    HoldRefused,
    VersionConflict,
)
from tests.services.holding import held, hold, only_hold
from tests.services.sound import is_sound
from tests.store.calling import call, head
from tests.store.shop import Shelf

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def handed(one: Any) -> Any:
    link = call("checkout", one).data["handoff_url"]
    return selectors.handoff_by_token(link.rsplit("/", 1)[1])


@pytest.fixture
def with_cart(counting: Shelf, opened: Any, clock: Any) -> Any:
    """A session that holds the two pots in its cart."""
    one = opened(consumer="pseudonym-1")
    call("cart.add", one, item_id="pot", quantity=2)
    hold(one, "pot", 2)
    return one


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_human_was_given_a_link_for_stays_held_until_they_order(
    with_cart: Any, opened: Any, configure: Any, ends: bool
) -> None:
    """X1, L6: also where the checkout ends the agent's session; the order releases it, as ordered."""
    configure(END_ON_HANDOFF=ends)
    handoff = handed(with_cart)
    assert held() == {"pot": 2}
    with pytest.raises(HoldRefused):
        hold(opened(), "pot", 1)

    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")

    assert held() == {}
    assert only_hold().released_because == "ordered"
    if not ends:
        assert [event["kind"] for event in selectors.events(with_cart.session_id)][-2:] == [
            "hold.ordered",
            "session.ended",
        ]
    is_sound(with_cart)


def test_what_is_not_ordered_is_released_at_its_own_deadline(with_cart: Any, clock: Any) -> None:
    """L6: long before the link is."""
    one = with_cart
    handoff = handed(one)
    clock.shift(10 * MINUTE)
    assert services.release_expired_holds() == 1
    assert held() == {}
    assert selectors.get_handoff(handoff.id).can_be_paid
    is_sound(one)


def test_giving_the_checkout_up_releases_what_was_kept_for_it(with_cart: Any) -> None:
    """C1"""
    handed(with_cart)
    services.give_up_checkout(with_cart.session_id, merchant="default", consumer="pseudonym-1")
    assert held() == {}
    assert only_hold().released_because == "released"
    is_sound(with_cart)


def test_a_live_session_that_gives_its_checkout_up_keeps_what_it_holds(with_cart: Any, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    handed(with_cart)
    services.give_up_checkout(with_cart.session_id, merchant="default")
    assert held() == {"pot": 2}


def test_an_order_that_rolls_back_leaves_what_is_held(with_cart: Any) -> None:
    handoff = handed(with_cart)
    with transaction.atomic():
        services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
        transaction.set_rollback(True)
    assert held() == {"pot": 2}


def test_a_hold_that_ends_while_the_human_pays_is_no_other_cart(with_cart: Any, configure: Any, clock: Any) -> None:
    """The version has moved; what was seen has not."""
    configure(END_ON_HANDOFF=False)
    hold(with_cart, "pot", 2, seconds=60)
    handoff = handed(with_cart)
    clock.shift(MINUTE)
    assert services.release_expired_holds() == 1
    assert head(with_cart).version == handoff.version + 1

    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")

    assert selectors.get_handoff(handoff.id).order_ref == "A-1"
    is_sound(with_cart)


def test_another_cart_is_not_paid_because_a_hold_has_ended_too(with_cart: Any, configure: Any, clock: Any) -> None:
    configure(END_ON_HANDOFF=False)
    hold(with_cart, "pot", 2, seconds=60)
    handoff = handed(with_cart)
    clock.shift(MINUTE)
    services.release_expired_holds()
    call("cart.add", with_cart, item_id="mug")
    with pytest.raises(VersionConflict):
        services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
