"""Many sessions run at once from one agent definition, each fully separate (L7)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent, Scope
from agent_sessions.exceptions import InvalidToken
from agent_sessions.models import SessionKey
from agent_sessions.services import OpenedSession
from tests.faults.support import at_once
from tests.services.succeeding import wrong
from tests.shopping import variables
from tests.store.calling import call, head, quantities, state

pytestmark = pytest.mark.django_db(transaction=True)

ONE_AGENT = Agent("Shopping helper", "2.1", "Acme Assistants")
ERRANDS = 8


def errand(number: int) -> OpenedSession:
    """One errand from its opening on: its own budget, cart and conversation."""
    one = services.open_session(
        agent=ONE_AGENT,
        consumer=f"pseudonym-{number}",
        scope=Scope(spend_cap=(number + 1) * 10_000, currency="EUR"),
        kind="quote" if number % 2 else "standard",
        caller="acme",
        max_sessions=ERRANDS,
    )
    call("cart.add", one, item_id="plate", quantity=number + 1)
    services.add_message(one.session_id, role="user", content=f"errand {number}")
    services.change_session(one.session_id, expected_version=2, patch=variables(number=number))
    return one


def test_each_errand_has_a_session_that_is_its_own(shop: Any) -> None:
    """L7: at once, in threads, with one agent, one caller and one store."""
    results = at_once([lambda number=number: errand(number) for number in range(ERRANDS)])
    assert all(isinstance(result, OpenedSession) for result in results), results

    assert len({one.session_id for one in results}) == len({one.token for one in results}) == ERRANDS
    for number, one in enumerate(results):
        now = selectors.authenticate(one.token)
        assert (now.session_id, now.version, now.agent) == (one.session_id, 3, ONE_AGENT)
        assert (now.consumer, now.scope.spend_cap) == (f"pseudonym-{number}", (number + 1) * 10_000)
        assert now.kind == ("quote" if number % 2 else "standard")
        assert quantities(one) == {"plate": number + 1}
        assert state(one)["agent"] == {"number": number}
        assert [turn.content for turn in selectors.messages(one.session_id)] == [f"errand {number}"]
        assert now.family == one.session_id
    assert wrong(*results) == []


def test_what_happens_to_one_happens_to_no_other(shop: Any) -> None:
    one, other, third = errand(0), errand(1), errand(2)
    before = [(head(each), state(each)) for each in (other, third)]

    services.pause_session(one.session_id)
    services.resume_session(one.session_id)
    branch = services.fork_session(one.session_id)
    services.end_session(one.session_id)
    SessionKey.objects.filter(pk=one.session_id).delete()

    assert [(head(each), state(each)) for each in (other, third)] == before
    with pytest.raises(InvalidToken):
        selectors.authenticate(one.token)
    for each in (other, third, branch):
        assert selectors.authenticate(each.token).session_id == each.session_id
    keys: list[uuid.UUID] = list(SessionKey.objects.values_list("pk", flat=True))
    assert sorted(keys) == sorted(each.session_id for each in (other, third, branch)), (
        "erased with one is only that one"
    )
    assert wrong(other, third, branch) == []
