"""A caller has at most so many live sessions, exactly, also when it opens many at once (T7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import InvalidToken, TooManySessions
from agent_sessions.models import Caller, Session
from agent_sessions.services import Expired, OpenedSession
from tests.conftest import MORNING, SHOPPING_AGENT
from tests.faults.support import at_once
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def opening(caller: str, most: int = 2, **facts: Any) -> OpenedSession:
    return services.open_session(agent=SHOPPING_AGENT, caller=caller, max_sessions=most, **facts)


def test_the_one_too_many_is_refused_and_leaves_nothing_behind(clock: Any) -> None:
    opening("a")
    clock.move_to(MORNING + MINUTE)
    opening("a")
    before = everything_stored()

    with pytest.raises(TooManySessions) as refused:
        opening("a")

    assert (refused.value.status, refused.value.retry_after) == (429, 29 * 60)
    assert everything_stored() == before
    assert opening("b").version == 1


def test_after_the_time_it_was_told_the_caller_gets_in(configure: Any, clock: Any) -> None:
    configure(TTL={"standard": 1800, "quote": 600})
    opening("a", 3)
    opening("a", 3, kind="quote")
    clock.move_to(MORNING + timedelta(seconds=0.5))
    opening("a", 3)
    with pytest.raises(TooManySessions) as refused:
        opening("a", 3)
    assert refused.value.retry_after == 600
    clock.shift(refused.value.retry_after)
    opening("a", 3)


def test_a_limit_that_was_lowered_counts_how_many_have_to_end(configure: Any, clock: Any) -> None:
    for minute in range(3):
        clock.move_to(MORNING + minute * MINUTE)
        opening("a", 3)
    with pytest.raises(TooManySessions) as refused:
        opening("a", 1)
    assert refused.value.retry_after == 30 * 60
    with pytest.raises(TooManySessions) as refused:
        opening("a", 2)
    assert refused.value.retry_after == 29 * 60


def test_who_waits_long_is_told_to_ask_again_within_the_hour(configure: Any, clock: Any) -> None:
    configure(TTL={"standard": 86_400})
    opening("a", 1)
    with pytest.raises(TooManySessions) as refused:
        opening("a", 1)
    assert refused.value.retry_after == 3600


@pytest.mark.parametrize("over", ["ended", "expired"])
def test_a_session_that_is_over_frees_its_place(clock: Any, over: str) -> None:
    one = opening("a", 1)
    if over == "ended":
        services.end_session(one.session_id)
    else:
        clock.move_to(MORNING + 30 * MINUTE)
    assert opening("a", 1).session_id != one.session_id


@pytest.mark.parametrize(("caller", "most"), [("", 1), ("a", 0)])
def test_without_a_caller_or_a_limit_nobody_is_counted(caller: str, most: int) -> None:
    for _ in range(3):
        opening(caller, most)
    assert not Caller.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("already", [0, 3])
def test_of_sixteen_that_open_at_once_exactly_the_limit_get_in(already: int) -> None:
    opening("someone-else", 5)  # the site's first session makes its keys
    for _ in range(already):
        opening("a", 5)

    results = at_once([lambda: opening("a", 5)] * 12 + [lambda: opening("b", 5)] * 4)

    refused = [result for result in results[:12] if isinstance(result, TooManySessions)]
    assert len(refused) == 12 - (5 - already), results
    assert all(1 <= one.retry_after <= 1860 for one in refused)
    assert all(isinstance(result, OpenedSession) for result in results[12:]), results
    assert Session.objects.filter(caller="a").count() == 5


# Forgetting callers


def test_who_opened_nothing_for_a_day_is_forgotten(clock: Any) -> None:
    opening("old")
    clock.move_to(MORNING + timedelta(hours=23))
    opening("new")
    clock.move_to(MORNING + timedelta(hours=24))
    services.expire_sessions()
    assert Caller.objects.count() == 2

    clock.shift(1)
    services.expire_sessions()

    assert list(Caller.objects.values_list("caller", flat=True)) == ["new"]


def test_callers_are_forgotten_in_rounds_and_their_live_sessions_still_count(configure: Any, clock: Any) -> None:
    configure(TTL={"standard": 7 * 86_400})
    for name in ("a", "b", "c"):
        opening(name, 1)
    clock.move_to(MORNING + timedelta(days=2))

    assert services.expire_sessions(limit=2) == Expired(0, 0, 0)
    assert Caller.objects.count() == 1
    services.expire_sessions(limit=2)
    assert not Caller.objects.exists()

    with pytest.raises(TooManySessions):
        opening("a", 1)


@pytest.mark.django_db(transaction=True)
def test_forgetting_and_opening_at_once_keeps_the_limit_exact() -> None:
    opening("someone-else", 3)
    Caller.objects.create(caller="a", seen_at=MORNING - timedelta(days=2))

    results = at_once([lambda: opening("a", 3), services.expire_sessions] * 8)

    assert all(isinstance(result, OpenedSession | Expired | TooManySessions) for result in results), results
    assert Session.objects.filter(caller="a").count() == 3


# What else stands on the head


def test_the_head_tells_the_agents_key_and_what_its_token_is_bound_to() -> None:
    one = opening("a", bound_to="somewhere")
    for head in (selectors.authenticate(one.token), selectors.read_head(one.session_id)):
        assert (head.agent_key, head.bound_to) == (SHOPPING_AGENT.key, "somewhere")


@pytest.mark.parametrize("how", ["live", "ended", "expired", "revoked"])
def test_whoever_holds_a_token_learns_its_session_also_when_that_is_over(clock: Any, how: str) -> None:
    one = opening("a")
    if how == "ended":
        services.end_session(one.session_id)
    elif how == "expired":
        clock.move_to(MORNING + 31 * MINUTE)
    elif how == "revoked":
        services.revoke_all_sessions(reason="a laptop was stolen")
    assert selectors.session_of_token(one.token).session_id == one.session_id
    if how != "live":
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)


def test_a_forged_or_superseded_token_tells_nothing() -> None:
    one, other = opening("a"), opening("a")
    forged = one.token[:-4] + ("AAAA" if one.token[-4:] != "AAAA" else "BBBB")
    Session.objects.filter(pk=one.session_id).update(token_digest=b"another")
    for token in (one.token, forged, "", "x", other.token + "x", other.token[:-1], "ü\0"):
        with pytest.raises(InvalidToken):
            selectors.session_of_token(token)
