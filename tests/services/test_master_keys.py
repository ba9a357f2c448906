"""Destroying master keys, and by when (A7, A8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from agent_sessions import selectors, services
from agent_sessions.crypto import key_files
from agent_sessions.crypto.keys import UnknownMasterKey
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.exceptions import ContentErased, InvalidToken, KeyProblem
from agent_sessions.models import SiteEvent
from agent_sessions.selectors import _cache
from agent_sessions.selectors._master_keys import SETTLED
from agent_sessions.services import Rewrapped, master_keys
from agent_sessions.services.erasing import Grounds, erase
from tests.conftest import MORNING
from tests.services.keeping_keys import NOTHING, in_settings, key_file
from tests.services.test_key_rotation import events

pytestmark = pytest.mark.django_db
__all__ = ["key_file"]


def _rewrap_the_site_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a rotation comes that is stopped before it gets to the sessions."""
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.key_rotation.old_masters", lambda _: [])
        services.rewrap()


def test_what_hangs_on_a_key_is_listed(key_file: Path, live: Any, opened: Any) -> None:
    """A8"""
    done = opened()
    services.end_session(done.session_id)
    found = selectors.dependents_of("2026-10")
    assert dict(found.content) == dict(found.personal) == {"active": 1, "ended": 1}
    assert dict(found.site_keys) == {"artifact": 1}
    assert (found.sessions, found.live_tokens) == (2, 1)
    assert selectors.dependents_of("2027") == NOTHING


def test_tokens_outlive_the_wrapping_and_are_counted(key_file: Path, opened: Any, clock: Any) -> None:
    """A8: when a key can go: no row and no live token hangs on it."""
    first = opened()
    clock.shift(60)
    services.rewrap()  # the first to note which key is active
    services.make_master_key("2026-11")
    services.rewrap()
    clock.shift(SETTLED + timedelta(seconds=1))
    second = opened()
    assert (selectors.dependents_of("2026-10").sessions, selectors.dependents_of("2026-10").live_tokens) == (0, 1)
    assert selectors.dependents_of("2026-11").live_tokens == 2  # both are wrapped by it
    services.end_session(first.session_id)
    assert selectors.dependents_of("2026-10") == NOTHING
    services.destroy_master_key("2026-10")
    assert selectors.authenticate(second.token).is_live()
    with pytest.raises(InvalidToken):
        selectors.session_of_token(first.token)


def test_what_a_destroyed_key_wrapped_reads_as_erased_and_a_missing_key_as_a_fault(
    key_file: Path, ended: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: 410 for what was destroyed on purpose, 503 for an installation that lacks a key."""
    services.make_master_key("2026-11")
    _rewrap_the_site_only(monkeypatch)
    _cache.local.clear()
    text = key_file.read_text()
    key_files.FileKeyProvider(key_file).destroy("2026-10")  # somebody took it out by hand
    with pytest.raises(UnknownMasterKey) as fault:
        selectors.current_state(ended.session_id)
    assert fault.value.status == 503
    with pytest.raises(KeyProblem):
        selectors.verify_session(ended.session_id)

    key_file.write_text(text)
    assert selectors.current_state(ended.session_id).state
    _cache.local.clear()
    destroyed = services.destroy_master_key("2026-10")

    assert (destroyed.master_id, destroyed.dependents.sessions) == ("2026-10", 1)
    with pytest.raises(ContentErased) as erased:
        selectors.current_state(ended.session_id)
    assert erased.value.status == 410
    report = selectors.verify_session(ended.session_id)
    assert report.ok, report.problems
    assert (report.content_checked, report.events > 0) == (False, True)
    assert services.get_artifact(ended.session_id)
    assert events("keys.destroyed") == [{"master_key": "2026-10", "sessions": 1}]
    assert services.rewrap() == Rewrapped(done=0, left=0, failed=0)  # nothing is left to do for what is erased


def test_the_active_key_is_not_destroyed(key_file: Path, opened: Any) -> None:
    opened()
    before = key_file.read_bytes()
    with pytest.raises(KeyProblem, match=r"active one.*rotate_master_key --new"):
        services.destroy_master_key("2026-10")
    assert key_file.read_bytes() == before
    assert events("keys.destroyed") == []


def test_a_key_that_wraps_keys_of_the_site_is_not_destroyed(key_file: Path, opened: Any) -> None:
    """A8: without them nothing would be signed, and no consumer known again."""
    services.signing_keys()
    services.make_master_key("2026-11")
    before = key_file.read_bytes()
    with pytest.raises(KeyProblem, match=r"1 artifact.*Run rotate_master_key"):
        services.destroy_master_key("2026-10")
    assert key_file.read_bytes() == before


def test_a_key_that_was_active_a_moment_ago_is_not_destroyed(
    key_file: Path, live: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: a session that it wraps may be on its way into the database, and no list would have it."""
    monkeypatch.setattr(master_keys, "SETTLED", SETTLED)
    services.make_master_key("2026-11")
    services.rewrap()
    before = key_file.read_bytes()
    clock.shift(SETTLED - timedelta(seconds=1))
    with pytest.raises(KeyProblem, match=r"was active until 10:00:00 UTC.*again after 10:02:00"):
        services.destroy_master_key("2026-10")
    assert key_file.read_bytes() == before
    clock.shift(timedelta(seconds=1))
    services.destroy_master_key("2026-10")


def test_a_key_that_was_made_active_by_hand_counts_from_when_that_is_noticed(
    key_file: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master_keys, "SETTLED", SETTLED)
    services.rewrap()
    key_files.add_master_key(key_file, "2026-11")
    clock.shift(timedelta(days=1))
    with pytest.raises(KeyProblem, match="was active until"):
        services.destroy_master_key("2026-10")
    clock.shift(SETTLED)
    services.destroy_master_key("2026-10")


def test_an_interrupted_destruction_is_finished_by_the_next_run(
    key_file: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3: the key is gone, and the machine dies before that is recorded."""
    opened()
    services.rewrap()
    services.make_master_key("2026-11")
    services.rewrap()

    def die(*args: object) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patched:
        patched.setattr(master_keys, "record", die)
        with pytest.raises(RuntimeError):
            services.destroy_master_key("2026-10")
    for _ in range(2):
        services.destroy_master_key("2026-10")
    assert [event["master_key"] for event in events("keys.destroyed")] == ["2026-10"]


def test_a_slip_of_the_pen_destroys_and_records_nothing(key_file: Path, configure: Callable[..., None]) -> None:
    with pytest.raises(UnknownMasterKey, match="2026-01"):
        services.destroy_master_key("2026-01")
    configure(KEY_PROVIDER="agent_sessions.conf.settings_key_provider", MASTER_KEYS=in_settings("a"))
    with pytest.raises(UnknownMasterKey, match="2026-01"):
        services.destroy_master_key("2026-01")
    assert SiteEvent.objects.filter(kind="keys.destroyed").count() == 0


def test_keys_of_the_settings_are_taken_out_by_hand_and_then_recorded(opened: Any, configure: Any) -> None:
    """A8: a provider that cannot destroy keys."""
    configure(MASTER_KEYS=in_settings("a"))
    opened()
    services.rewrap()
    configure(MASTER_KEYS=in_settings("b", "a"))
    services.rewrap()
    with pytest.raises(KeyProblem, match=r"cannot destroy.*MASTER_KEYS.*run this again"):
        services.destroy_master_key("a")
    assert events("keys.destroyed") == []
    configure(MASTER_KEYS=in_settings("b"))
    services.destroy_master_key("a")
    assert [event["master_key"] for event in events("keys.destroyed")] == ["a"]


def test_an_id_that_was_destroyed_is_never_used_again(key_file: Path, opened: Any) -> None:
    """Otherwise what the first one wrapped would be taken for altered."""
    opened()
    services.rewrap()
    services.make_master_key("2026-11")
    services.rewrap()
    services.destroy_master_key("2026-10")
    with pytest.raises(KeyProblem, match="never used"):
        services.make_master_key("2026-10")


def test_settings_cannot_make_keys(configure: Any) -> None:
    for act in (services.make_master_key, services.activate_master_key):
        with pytest.raises(KeyProblem, match=r"docs/keys\.md"):
            act("new")
    configure(KEY_PROVIDER="agent_sessions.conf.file_key_provider")
    with pytest.raises(KeyProblem, match="KEY_FILE"):
        services.make_master_key("new")


def test_a_key_has_to_go_within_the_horizon_of_the_first_erasure_under_it(key_file: Path, opened: Any) -> None:
    """A7: what is promised is kept only if each key is destroyed in time; the report says when."""
    with time_machine.travel(MORNING, tick=False) as clock:
        one, two = opened(), opened()
        services.rewrap()
        for session in (one, two):
            services.end_session(session.session_id)
        (epoch,) = selectors.key_epochs()
        assert (epoch.status, epoch.since, epoch.destroy_by, epoch.rotate_by) == ("active", MORNING, None, None)

        clock.shift(timedelta(days=5))
        _erase(one)
        (epoch,) = selectors.key_epochs()
        assert epoch.destroy_by == MORNING + timedelta(days=35)
        assert epoch.rotate_by == MORNING + timedelta(days=28)

        clock.shift(timedelta(days=20))
        services.make_master_key("2026-11")
        services.rewrap()
        _erase(two)
        new, old = selectors.key_epochs()
        assert (new.master_id, new.status, old.master_id, old.status) == ("2026-11", "active", "2026-10", "old")
        assert new.destroy_by == MORNING + timedelta(days=55)
        assert old.destroy_by == MORNING + timedelta(days=35)
        assert old.is_overdue(MORNING + timedelta(days=35))
        assert not old.is_overdue(MORNING + timedelta(days=34))

        services.destroy_master_key("2026-10")
        assert [epoch.master_id for epoch in selectors.key_epochs()] == ["2026-11"]


def test_of_two_who_make_a_key_at_once_the_active_one_is_recorded_last(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T3: else every machine would take the active key for one that was replaced."""
    services.make_master_key("2026-11")
    key_files.add_master_key(key_file, "2026-12")
    looked_up, others = master_keys.master_key_events, ["2027-01"]

    def another_is_faster(kind: str) -> Any:
        """Between reading which key is active and recording it, somebody else makes one and records that."""
        found = looked_up(kind)
        while others:
            services.make_master_key(others.pop())
        return found

    monkeypatch.setattr(master_keys, "master_key_events", another_is_faster)
    services.note_active_master_key()

    assert [event["master_key"] for event in events("keys.rotated")] == ["2026-11", "2027-01"]
    assert services.rewrap().left == 0


def test_a_key_that_rows_name_and_nobody_has_is_shown(opened: Any, configure: Any) -> None:
    configure(MASTER_KEYS=in_settings("a"))
    opened()
    configure(MASTER_KEYS=in_settings("b"))
    assert [(epoch.master_id, epoch.status) for epoch in selectors.key_epochs()] == [("b", "active"), ("a", "missing")]


def _erase(session: Any) -> None:
    head = selectors.read_head(session.session_id)
    assert erase(head, frozenset({"personal"}), Grounds("request", "GDPR Art. 17", "erasure"), actor=SYSTEM)
