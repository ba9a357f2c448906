"""Every prior version can be read, compared, and asked for by time (V2)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from string import ascii_letters
from typing import Any
from uuid import UUID, uuid4

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import InvalidValue, SessionDamaged, SessionNotFound, VersionNotFound
from agent_sessions.models import SessionVersion
from agent_sessions.selectors import VersionInfo, _cache
from agent_sessions.types import Patch, State
from tests.conftest import MORNING
from tests.shopping import basket, line, merged, variables
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)

PATCHES: list[Patch] = [
    basket(a=line(quantity=2)),
    basket(b=line("Plate", unit_price=900)),
    basket(a={"quantity": 3}),
    {"shopping": {"vouchers": {"SPRING": {}}}},
    variables(budget=50, plan=["compare", "buy"]),
    basket(b=None),
    {"conversation": {"summary": "wants mugs", "questions": {"q1": "How many?"}}},
    variables(budget=None, plan=["buy"]),
    {"shopping": None},
    basket(c=line("Bowl")),
]


def with_history(opened: Any) -> tuple[UUID, list[State]]:
    """A session of eleven versions, and the state at each by a replay of the test's own."""
    one = opened()
    states: list[State] = [{}]
    for version, patch in enumerate(PATCHES, start=1):
        services.change_session(one.session_id, expected_version=version, patch=patch)
        states.append(merged(states[-1], patch))
    return one.session_id, states


def snapshots(session_id: UUID) -> list[int]:
    rows = SessionVersion.objects.filter(session_id=session_id, snapshot__isnull=False)
    return list(rows.order_by("number").values_list("number", flat=True))


@pytest.mark.parametrize("every", [1, 2, 3, 64])
@pytest.mark.parametrize("storage", ["hybrid", "history"])
def test_every_version_is_what_a_plain_replay_gives(opened: Any, configure: Any, storage: str, every: int) -> None:
    """V2, R4: however many snapshots there are, and with the cache or without (M1, M2)."""
    configure(STORAGE=storage, SNAPSHOT_EVERY=every)

    session_id, states = with_history(opened)

    found = [selectors.state_at_version(session_id, number).state for number in range(1, len(states) + 1)]
    assert found == states
    _cache.local.clear()
    assert selectors.current_state(session_id).state == states[-1]


def test_a_snapshot_is_stored_with_every_so_many_versions(opened: Any, configure: Any) -> None:
    configure(SNAPSHOT_EVERY=3)

    session_id, _ = with_history(opened)

    assert snapshots(session_id) == [3, 6, 9]
    assert selectors.read_head(session_id).snapshot_version == 9
    assert selectors.verify_session(session_id).ok


@pytest.mark.parametrize("storage", ["hybrid", "history"])
def test_a_snapshot_is_stored_when_the_patches_weigh_as_much_as_the_state(
    opened: Any, configure: Any, storage: str
) -> None:
    """M1, M2: a read costs at most about twice the state, whichever process wrote it."""
    configure(STORAGE=storage)
    one = opened()
    for version in range(1, 9):
        text = "".join(random.Random(version).choices(ascii_letters, k=6000))  # hardly compresses
        services.change_session(one.session_id, expected_version=version, patch=variables(text=text))

    stored = snapshots(one.session_id)
    assert stored
    assert len(stored) < 8
    assert selectors.verify_session(one.session_id).ok


@pytest.mark.parametrize("version", [0, -1, 12, 2**70, "1", None, 1.0])
def test_a_version_that_there_is_not_is_not_found(opened: Any, version: Any) -> None:
    session_id, _ = with_history(opened)

    with pytest.raises(VersionNotFound, match="has the versions 1 to 11") as refusal:
        selectors.state_at_version(session_id, version)

    assert (refusal.value.status, refusal.value.details["current"]) == (404, 11)


def test_the_state_at_any_time_can_be_asked_for(opened: Any, clock: Any) -> None:
    """V2: "5 minutes ago"."""
    one = opened(state=variables(n=0))
    for number in (1, 2):
        clock.move_to(MORNING + number * 5 * MINUTE)
        services.change_session(one.session_id, expected_version=number, patch=variables(n=number))

    def at(moment: datetime) -> tuple[int, State]:
        view = selectors.state_at_time(one.session_id, moment)
        return view.version, view.state

    assert at(MORNING) == (1, variables(n=0))
    assert at(MORNING + 5 * MINUTE - MICROSECOND) == (1, variables(n=0))
    assert at(MORNING + 5 * MINUTE) == (2, variables(n=1))
    assert at(MORNING + 9 * MINUTE) == (2, variables(n=1))
    assert at(MORNING + 10 * MINUTE) == (3, variables(n=2))
    assert at(MORNING + 10_000 * MINUTE) == (3, variables(n=2))


def test_the_time_can_be_in_any_zone(opened: Any, clock: Any) -> None:
    one = opened()

    view = selectors.state_at_time(one.session_id, MORNING.astimezone(timezone(timedelta(hours=-8))))

    assert view.version == 1


def test_before_the_start_there_was_no_state(opened: Any, clock: Any) -> None:
    one = opened()

    with pytest.raises(VersionNotFound, match="it began at 2026-03-02T10:00:00"):
        selectors.state_at_time(one.session_id, MORNING - MICROSECOND)


def test_a_time_without_a_zone_is_refused(opened: Any) -> None:
    with pytest.raises(InvalidValue) as refusal:
        selectors.state_at_time(opened().session_id, datetime.now(UTC).replace(tzinfo=None))

    assert refusal.value.path == "/moment"


def told(session_id: UUID, before: int, after: int | None = None) -> list[str]:
    return [change.text for change in selectors.compare(session_id, before, after)]


def test_versions_are_compared_in_shop_terms(opened: Any) -> None:
    """V2"""
    session_id, _ = with_history(opened)

    assert told(session_id, 1, 3) == ["Added 2 × Blue mug at 12.50 EUR", "Added 1 × Plate at 9.00 EUR"]
    assert told(session_id, 3, 4) == ["Blue mug: quantity 2 → 3"]
    assert told(session_id, 4, 6) == [
        "Added voucher SPRING",
        "Variable budget set to 50",
        'Variable plan set to ["compare","buy"]',
    ]
    assert told(session_id, 6, 7) == ["Removed 1 × Plate"]
    assert told(session_id, 5, 5) == []


def test_versions_are_compared_backwards_too(opened: Any) -> None:
    session_id, _ = with_history(opened)

    assert told(session_id, 4, 3) == ["Blue mug: quantity 3 → 2"]
    assert told(session_id, 3, 1) == ["Removed 2 × Blue mug", "Removed 1 × Plate"]


def test_by_default_a_version_is_compared_with_the_current_one(opened: Any) -> None:
    session_id, _ = with_history(opened)

    assert told(session_id, 10) == ["Added 1 × Bowl at 12.50 EUR"]
    assert told(session_id, 1) == told(session_id, 1, 11)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 12), (12, 1)])
def test_only_versions_that_there_are_can_be_compared(opened: Any, before: int, after: int) -> None:
    session_id, _ = with_history(opened)

    with pytest.raises(VersionNotFound):
        selectors.compare(session_id, before, after)


def test_versions_are_read_in_pages(opened: Any) -> None:
    """V2"""
    session_id, _ = with_history(opened)

    pages = [selectors.versions(session_id, after=after, limit=4) for after in (0, 4, 8, 11)]

    assert [[version.number for version in page] for page in pages] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11], []]


def test_a_version_says_what_its_event_says(opened: Any, clock: Any) -> None:
    """V1: who, when, what and which event, though audited reads stand between."""
    one = opened()
    services.record_event(one.session_id, kind="cart.viewed")
    clock.move_to(MORNING + MINUTE)
    made = services.change_session(
        one.session_id, expected_version=1, patch=variables(a=1), kind="a.changed", actor=Actor("staff", "7")
    )
    services.record_event(one.session_id, kind="cart.viewed")

    first, second = selectors.versions(one.session_id)

    assert (first.number, first.kind, first.actor, first.event_seq) == (1, "session.created", "agent", 1)
    assert second == VersionInfo(2, made.event_id, "a.changed", "staff:7", MORNING + MINUTE, 3)
    assert str(second.version_id) == selectors.events(one.session_id)[2]["event_id"]


@pytest.mark.parametrize("canonical", [None, b"", b"[]", b"{}", b'{"event_id":"x"}', b'{"event_id":7}'])
def test_a_version_whose_event_is_gone_or_altered_is_damage(opened: Any, canonical: bytes | None) -> None:
    session_id, _ = with_history(opened)
    tamper = Tamper(session_id)
    if canonical is None:
        tamper.delete(tamper.events.filter(seq=3))
    else:
        tamper.event(3, canonical=canonical)

    with pytest.raises(SessionDamaged, match="event 3, which made version 3"):
        selectors.versions(session_id)

    assert len(selectors.versions(session_id, after=3)) == 8


def test_the_state_at_a_time_is_that_of_the_last_change_before_it(opened: Any, clock: Any) -> None:
    """V2: events that changed nothing stand between."""
    one = opened(state=variables(n=0))
    for minute in (1, 2):
        clock.move_to(MORNING + minute * MINUTE)
        services.record_event(one.session_id, kind="cart.viewed")

    view = selectors.state_at_time(one.session_id, MORNING + 2 * MINUTE)

    assert (view.version, view.state) == (1, variables(n=0))


@pytest.mark.parametrize("limit", [-1, None, 1.0, "1", True])
def test_a_limit_is_a_whole_number_from_0(opened: Any, limit: Any) -> None:
    one = opened()

    for read in (selectors.versions, selectors.events, selectors.messages):
        with pytest.raises(InvalidValue) as refusal:
            read(one.session_id, limit=limit)
        assert refusal.value.path == "/limit"
        assert read(one.session_id, limit=0) == []


def test_a_state_is_the_readers_own_copy(opened: Any) -> None:
    """M1: whatever he does with it, nobody else sees it and nothing of it is stored."""
    one = opened(state={**basket(a=line()), **variables(plan=["compare", {"then": ["buy"]}])})
    for read in (
        lambda: selectors.current_state(one.session_id),
        lambda: selectors.state_at_version(one.session_id, 1),
        lambda: selectors.state_at_time(one.session_id, datetime.now(UTC) + MINUTE),
    ):
        state: Any = read().state
        state["shopping"]["lines"]["a"]["quantity"] = 99
        state["agent"]["plan"][1]["then"].append("steal")
        del state["shopping"]["lines"]["a"]["title"]

    services.change_session(one.session_id, expected_version=1, patch=basket(a={"quantity": 2}))

    expected = {**basket(a=line(quantity=2)), **variables(plan=["compare", {"then": ["buy"]}])}
    assert selectors.current_state(one.session_id).state == expected
    assert selectors.verify_session(one.session_id).ok


def test_a_head_can_be_given_for_the_id(opened: Any) -> None:
    """The head of a moment reads the state of that moment."""
    one = opened(state=variables(a=1))
    head = selectors.authenticate(one.token)
    services.change_session(one.session_id, expected_version=1, patch=variables(a=2))

    assert selectors.current_state(head).state == variables(a=1)
    assert selectors.current_state(one.session_id).state == variables(a=2)


def test_of_a_session_that_is_not_there_nothing_is_read() -> None:
    nowhere = uuid4()

    for read in (
        lambda: selectors.current_state(nowhere),
        lambda: selectors.state_at_version(nowhere, 1),
        lambda: selectors.state_at_time(nowhere, MORNING),
        lambda: selectors.compare(nowhere, 1),
        lambda: selectors.messages(nowhere),
        lambda: selectors.get_session(nowhere),
        lambda: selectors.read_head(nowhere),
        lambda: selectors.verify_session(nowhere),
    ):
        with pytest.raises(SessionNotFound, match=str(nowhere)):
            read()


def test_sessions_are_listed_oldest_first(opened: Any, clock: Any) -> None:
    made = []
    for seconds in range(5):
        clock.move_to(MORNING + timedelta(seconds=seconds))
        made.append(opened().session_id)

    assert list(selectors.session_ids()) == made
