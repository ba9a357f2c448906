"""What every reader shows after an erasure: the rest, and what is gone by which rule since when (A5, A7)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.core.cache import caches

from agent_sessions import selectors, services
from agent_sessions.audit.verify import Erased, verify_artifact
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.lifecycle import Lineage, Origin
from agent_sessions.exceptions import ContentErased
from agent_sessions.models import SessionKey
from agent_sessions.selectors import ErasedNote, _cache, admin_lists
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase
from tests.conftest import MORNING
from tests.shopping import basket, line

pytestmark = pytest.mark.django_db

Erase = Callable[..., Any]


@pytest.fixture
def told(clock: Any, live: OpenedSession) -> OpenedSession:
    """Some of everything (``lived``), a basket in version 5, ended at MORNING."""
    services.change_session(live.session_id, expected_version=4, patch=basket(l1=line()))
    services.end_session(live.session_id)
    return live


@pytest.fixture
def purged(clock: Any) -> Erase:
    def purge(one: OpenedSession, *classes: Any, rule: str = "personal") -> Any:
        grounds = Grounds(rule, "GDPR Art. 5(1)(e)", "retention")
        return erase(selectors.read_head(one.session_id), frozenset(classes or {"personal"}), grounds, actor=SYSTEM)

    return purge


def test_a_state_is_told_without_what_it_said_of_people(told: OpenedSession, purged: Erase) -> None:
    """A7: current, at a version, at a time, and what changed between two."""
    purged(told)
    view = selectors.current_state(told.session_id)
    assert view.state == basket(l1=line())
    note = view.erased["personal"]
    assert (note.rule, note.basis, note.because, note.at) == ("personal", "GDPR Art. 5(1)(e)", "retention", MORNING)
    assert date.fromisoformat(note.unrecoverable_after) > MORNING.date()
    assert note.text == "erased under rule 'personal' on 2026-03-02"
    assert selectors.state_at_version(told.session_id, 3).state == {}
    assert selectors.state_at_version(told.session_id, 3).erased == view.erased
    assert selectors.state_at_time(told.session_id, MORNING).erased == view.erased
    assert [change.kind for change in selectors.compare(told.session_id, 1, 5)] == ["line.added"]
    assert [step.after for step in admin_lists.steps(told.session_id, after=3)][-1] == view.state
    assert len(selectors.versions(told.session_id)) == 6


def test_nothing_is_noted_where_nothing_was_erased(told: OpenedSession, django_assert_num_queries: Any) -> None:
    head = selectors.read_head(told.session_id)
    with django_assert_num_queries(0):
        assert selectors.erased(head) == {}
    assert selectors.current_state(head).erased == {}


def test_turns_are_told_without_their_text_and_found_no_more(told: OpenedSession, purged: Erase) -> None:
    """S6, A7"""
    assert selectors.search_messages(selectors.read_head(told.session_id), "hello")
    purged(told)
    turns = selectors.messages(told.session_id)
    assert [(turn.role, turn.content, turn.erased) for turn in turns] == [("user", None, True), ("agent", None, True)]
    assert selectors.search_messages(selectors.read_head(told.session_id), "hello") == []
    assert selectors.private_values(told.session_id, 1) == {}


def test_an_ancestor_that_was_erased_says_nothing_in_its_successor(
    opened: Any, told: OpenedSession, purged: Erase
) -> None:
    """S6, L2, A7: what the successor has itself stays."""
    lineage = Lineage(Origin.RENEWAL, told.session_id, 5, told.session_id)
    successor = opened(lineage=lineage)
    services.add_message(successor.session_id, role="user", content="hello again")
    head = selectors.read_head(successor.session_id)
    assert [found.turn.content for found in selectors.search_messages(head, "hello")] == ["hello again", "hello"]
    purged(told, "content")
    assert [found.turn.content for found in selectors.search_messages(head, "hello")] == ["hello again"]
    assert [one.session_id for one in selectors.ancestors(head)] == [told.session_id]
    assert [turn.erased for turn in selectors.messages(told.session_id)] == [True, True]
    assert len(selectors.family(head)) == 2
    with pytest.raises(ContentErased, match="under rule 'personal' on 2026-03-02"):
        selectors.compare_sessions(head, told.session_id)


def test_without_the_content_a_state_is_refused_with_the_rule_and_the_date(told: OpenedSession, purged: Erase) -> None:
    """A5, A7: chain, versions and turns can still be listed."""
    purged(told, "content", rule="decision_log")
    for read in (
        lambda: selectors.current_state(told.session_id),
        lambda: selectors.state_at_version(told.session_id, 2),
        lambda: selectors.compare(told.session_id, 1),
        lambda: admin_lists.steps(told.session_id),
    ):
        with pytest.raises(ContentErased, match="under rule 'decision_log' on 2026-03-02") as refusal:
            read()
        assert refusal.value.details == {
            "session": str(told.session_id), "rule": "decision_log", "erased_at": MORNING.isoformat(),
        }  # fmt: skip
    assert len(selectors.versions(told.session_id)) == 6
    assert len(selectors.messages(told.session_id)) == 2
    assert [event["kind"] for event in selectors.events(told.session_id)][-1] == "pii.purged"  # type: ignore[index, call-overload]


def test_each_class_has_a_note_of_its_own(told: OpenedSession, purged: Erase, clock: Any) -> None:
    purged(told)
    clock.shift(86400)
    purged(told, "content", rule="decision_log")
    notes = selectors.erased(told.session_id)
    assert {name: (note.rule, note.at.day if note.at else 0) for name, note in notes.items()} == {
        "personal": ("personal", 2), "content": ("decision_log", 3),
    }  # fmt: skip


def test_a_key_that_is_gone_without_an_event_is_told_as_that(told: OpenedSession) -> None:
    SessionKey.objects.filter(pk=told.session_id).delete()
    assert selectors.erased(told.session_id)["content"] == ErasedNote("content")
    assert "does not say when or why" in ErasedNote("content").text
    with pytest.raises(ContentErased, match="was erased; its events"):
        selectors.current_state(told.session_id)


def test_what_this_process_remembers_is_not_told(
    told: OpenedSession, purged: Erase, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A7: not from memory, and not from a cache that another process filled before; that is no damage either."""
    configure(STATE_CACHE="default")
    caches["default"].clear()
    before = selectors.read_head(told.session_id)
    state = selectors.current_state(before).state
    assert state["agent"]
    kept = _cache.local.get(told.session_id)
    assert kept is not None
    purged(told)
    _cache.local.put(before, kept[1], limit=10**6)
    _cache.put(before, kept[1], before.data_keys())
    with caplog.at_level(logging.WARNING):
        assert "agent" not in selectors.current_state(told.session_id).state
        _cache.local.clear()
        assert "agent" not in selectors.current_state(told.session_id).state
    assert caplog.text == ""

    after = selectors.read_head(told.session_id)
    purged(told, "content", rule="decision_log")
    _cache.local.put(after, kept[1], limit=10**6)
    with pytest.raises(ContentErased):
        selectors.current_state(told.session_id)


def test_the_artifact_tells_it_and_discloses_what_is_left(told: OpenedSession, purged: Erase) -> None:
    """A3, A7: "erased under rule X on date Y"; the seal is as it was."""
    sealed = json.loads(services.get_artifact(told.session_id, disclose="none"))
    purged(told)
    raw = services.get_artifact(told.session_id, disclose="all")
    document, found = json.loads(raw), verify_artifact(raw)
    assert found.ok
    assert found.erased == [Erased("personal", "personal", "2026-03-02T10:00:00.000000Z")]
    assert {opening["path"] for opening in document["openings"]} == {"patch"}
    assert document["signature"] == sealed["signature"]
    purged(told, "content", rule="decision_log")
    found = verify_artifact(services.get_artifact(told.session_id, disclose="all"))
    assert (found.ok, found.opened, [one.rule for one in found.erased]) == (True, 0, ["decision_log", "personal"])


def test_a_checked_session_is_sound_after_each(told: OpenedSession, purged: Erase) -> None:
    purged(told)
    assert selectors.verify_session(told.session_id).problems == []
    purged(told, "content")
    assert selectors.verify_session(told.session_id).problems == []
