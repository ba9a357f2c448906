"""The story of a session and its outline, on whatever database the tests have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.families import BY_KIND, BY_WORD, FAMILIES, family_of, is_failure
from agent_sessions.domain.identity import Actor
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import outline as outlines
from agent_sessions.selectors import read_head, timeline
from agent_sessions.selectors.timeline import Choice
from agent_sessions.services import OpenedSession
from tests.buying import Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.store.calling import counting, shop
from tests.tampering import Tamper

__all__ = ["counting", "shop"]
pytestmark = pytest.mark.django_db


def seqs(one: Any, **wanted: Any) -> list[int]:
    return [entry.seq for entry in timeline.timeline(read_head(one.session_id), **wanted).entries]


def story(one: Any, **wanted: Any) -> dict[int, timeline.Entry]:
    return {entry.seq: entry for entry in timeline.timeline(read_head(one.session_id), **wanted).entries}


def test_everything_in_one_order_with_the_time_between(bought: Bought) -> None:
    told = story(bought)
    assert list(told) == list(range(1, 15))
    assert told[1].gap is None
    assert told[4].gap == timedelta()
    assert told[7].gap == timedelta(minutes=2)
    assert [told[seq].actor for seq in (1, 7, 10)] == ["agent", "consumer", "system"]


def test_events_of_one_call_are_told_together(bought: Bought) -> None:
    told = story(bought)
    assert (told[8].call, told[9].call) == (8, 8), "the approval is used in the call that checks out"
    assert (told[5].call, told[6].call) == (5, None), "what was asked a minute after a refusal is not part of it"
    assert told[3].call is told[4].call is None


def test_an_approval_tells_how_long_it_waited(bought: Bought) -> None:
    granted = story(bought)[7].waited
    assert granted is not None
    assert granted.opened_at is not None
    assert granted.decided_at is not None
    assert granted.decided_at - granted.asked_at == timedelta(minutes=2)
    assert granted.decided_at - granted.opened_at == timedelta(minutes=1)


def test_refusals_and_failures_are_marked(bought: Bought) -> None:
    assert [seq for seq, entry in story(bought).items() if entry.failed] == [5]
    assert seqs(bought, choice=Choice(failed=True)) == [5]


def test_messages_come_with_words_only_where_they_are_asked_for(live: OpenedSession) -> None:
    said = services.add_message(live.session_id, role="user", content="Is it blue?")
    assert said
    last = [*story(live).values()][-1]
    assert last.turn is not None
    assert (last.turn.role, last.turn.content) == ("user", None)
    assert [*story(live, words=True).values()][-1].turn.content == "Is it blue?"  # type: ignore[union-attr]


def test_pages_meet_without_a_gap_in_both_directions(bought: Bought) -> None:
    head = read_head(bought.session_id)
    last = timeline.timeline(head, limit=5)
    assert [one.seq for one in last.entries] == [10, 11, 12, 13, 14]
    assert (last.earlier, last.later) == (10, None)
    before = timeline.timeline(head, limit=5, before=last.earlier)
    assert [one.seq for one in before.entries] == [5, 6, 7, 8, 9]
    assert (before.earlier, before.later) == (5, 9)
    assert [one.seq for one in timeline.timeline(head, limit=5, after=before.later).entries] == [10, 11, 12, 13, 14]
    first = timeline.timeline(head, limit=5, after=0)
    assert ([one.seq for one in first.entries], first.earlier, first.later) == ([1, 2, 3, 4, 5], None, 5)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(families=("checkout",)), [8, 10, 11, 12, 13]),
        (Choice(families=("decision",)), [5, 6, 7, 9]),
        (Choice(families=("decision", "session")), [1, 5, 6, 7, 9, 14]),
        (Choice(families=("other",)), []),
        (Choice(actors=("consumer",)), [7, 14]),
        (Choice(actors=("system", "consumer")), [7, 10, 11, 12, 13, 14]),
        (Choice(families=("decision",), actors=("agent",)), [5, 6, 9]),
        (Choice(actors=("nobody",)), []),
    ],
)
def test_a_choice_narrows_the_story(bought: Bought, choice: Choice, expected: list[int]) -> None:
    assert seqs(bought, choice=choice) == expected


def test_the_choice_of_a_family_and_the_family_of_a_kind_agree(live: OpenedSession) -> None:
    kinds = [*BY_KIND, *(f"{word}.happened" for word in BY_WORD), "shelf.dusted", "sessions.counted"]
    for kind in kinds:
        if kind not in ("session.paused", "session.resumed", "session.handed_over", "session.taken_back"):
            services.record_event(live.session_id, kind=kind)
    everything = story(live, limit=200)
    for family in FAMILIES:
        wanted = [seq for seq, entry in everything.items() if entry.family == family]
        assert seqs(live, limit=200, choice=Choice(families=(family,))) == wanted
    told = outlines.outline(read_head(live.session_id))
    for family in FAMILIES:
        counted = sum(cell.count for cell in told.cells if cell.family == family)
        assert counted == sum(entry.family == family for entry in everything.values())


def test_a_damaged_event_is_told_as_far_as_its_columns_go(live: OpenedSession) -> None:
    Tamper(live.session_id).event(3, canonical=b"{not json")
    told = story(live)[3]
    assert told.damaged
    assert told.kind == AuditEvent.objects.get(session_id=live.session_id, seq=3).kind


def test_the_outline_counts_what_happened_and_finds_the_longest_gaps(bought: Bought) -> None:
    told = outlines.outline(read_head(bought.session_id))
    assert sum(cell.count for cell in told.cells) == 14
    assert [cell.first_seq for cell in told.cells if cell.failed] == [5]
    lengths = {gap.seq: gap.ended_at - gap.began_at for gap in told.gaps}
    assert [seq for seq, length in lengths.items() if length > timedelta(minutes=1)] == [7, 10]
    assert [turning.kind for turning in told.turnings] == [
        "session.created", "approval.requested", "approval.granted", "checkout.handed_over", "approval.used",
        "session.ended",
    ]  # fmt: skip


def planted(one: OpenedSession, count: int) -> None:
    """Put events behind the session's own as they would stand after a long life; only what reads is tested here."""
    last = AuditEvent.objects.filter(session_id=one.session_id).order_by("-seq").first()
    assert last is not None
    kinds = ["cart.viewed", "items.searched", "capability.refused", "cart.item_added", "shelf.dusted"]
    tamper = Tamper(one.session_id)
    rows = [
        AuditEvent(
            session_id=one.session_id, seq=last.seq + number, created_at=last.created_at + timedelta(seconds=number),
            kind=kinds[number % 5], capability="cart.view", policy_result="deny" if number % 5 == 2 else "allow",
            response_status=200, canonical=b'{"actor":"agent"}',
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    AuditEvent.objects.bulk_create(rows, batch_size=1000)
    tamper.session(head_seq=last.seq + count)


def test_a_long_session_costs_the_queries_of_a_short_one_and_a_bounded_picture(
    live: OpenedSession, configure: Callable[..., None]
) -> None:
    counts = []
    for more in (0, 3000):
        planted(live, more)
        head = read_head(live.session_id)
        with CaptureQueriesContext(connection) as queries:
            told = outlines.outline(head)
            page = timeline.timeline(head, limit=50)
            rare = timeline.timeline(head, choice=Choice(failed=True, actors=("agent",), families=("decision",)))
        counts.append(len(queries))
        assert len(page.entries) <= 50
        assert len(rare.entries) <= 50
    assert counts[0] >= counts[1] <= 6
    assert sum(cell.count for cell in told.cells) == head.head_seq
    assert len(told.cells) <= (outlines.PARTS + 9) * 5
    assert len({cell.family for cell in told.cells if cell.failed}) == 1


def test_failures_are_the_same_in_the_database_and_in_python(live: OpenedSession) -> None:
    for kind, result, status in (
        ("step.failed", "allow", 200), ("checkout.tried", "allow", 502), ("cart.tried", "deny", 403),
        ("fact.unavailable", "allow", 200), ("cart.failed_once", "allow", 200),
    ):  # fmt: skip
        services.record_event(
            live.session_id, kind=kind, call=Call(policy_result=result, response_status=status), actor=Actor("system")
        )
    wrong = [seq for seq, one in story(live, limit=200).items() if one.failed]
    assert wrong == seqs(live, limit=200, choice=Choice(failed=True))
    assert len(wrong) >= 4
    assert not is_failure("cart.failed_once", "allow", 200)
    assert family_of("step.failed") == "checkout"
