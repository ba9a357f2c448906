"""A damaged session is closed with a clear error until someone has looked; others are unaffected (R5)."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import ContentErased, InvalidToken, KeyProblem, SessionDamaged, SessionQuarantined
from agent_sessions.models import SessionKey
from agent_sessions.selectors import _cache
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.tampering import Tamper, flipped, found

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("cached", [True, False])
def test_a_quarantined_session_is_closed_to_readers_and_writers(quarantined: OpenedSession, cached: bool) -> None:
    """R5: with a clear error, whatever a process still remembers."""
    if not cached:
        _cache.local.clear()
    one = quarantined.session_id
    chain = selectors.events(one)

    for attempt in (
        lambda: selectors.current_state(one),
        lambda: selectors.state_at_version(one, 1),
        lambda: selectors.state_at_time(one, timezone.now()),
        lambda: selectors.compare(one, 1),
        lambda: selectors.messages(one),
        lambda: services.change_session(one, expected_version=4, patch=variables(e=5)),
        lambda: services.record_event(one, kind="cart.viewed"),
        lambda: services.add_message(one, role="user", content="hello"),
        lambda: services.end_session(one),
        lambda: services.end_session(one, reason=EndReason.REVOKED),
        lambda: services.expire_session(one),
        lambda: services.get_artifact(one),
    ):
        with pytest.raises(SessionQuarantined, match="closed until someone has looked") as refusal:
            attempt()
        assert (refusal.value.code, refusal.value.status) == ("session_quarantined", 409)

    with pytest.raises(InvalidToken):
        selectors.authenticate(quarantined.token)
    assert selectors.events(one) == chain


def test_a_head_from_before_writes_nothing_into_a_quarantined_session(live: OpenedSession) -> None:
    """R5: the evidence stays as it was found."""
    head = selectors.authenticate(live.token)
    Tamper(live.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(live.session_id))

    for write in (
        lambda: services.change_session(head, expected_version=4, patch=variables(e=5)),
        lambda: services.record_event(head, kind="cart.viewed"),
        lambda: services.add_message(head, role="user", content="hello"),
        lambda: services.end_session(head),
    ):
        with pytest.raises(SessionQuarantined):
            write()

    report = selectors.verify_session(live.session_id)
    assert (report.versions, report.events) == (4, 7)


def test_who_remembers_a_destroyed_key_writes_nothing_with_it(live: OpenedSession) -> None:
    """A7, R5: it is looked for by the very statement that writes."""
    head = selectors.authenticate(live.token)
    SessionKey.objects.filter(pk=live.session_id).delete()

    for session in (head, live.session_id):  # by a head from before, and by what this process remembers
        with pytest.raises((ContentErased, SessionQuarantined)):
            services.change_session(session, expected_version=4, patch=variables(e=5))

    assert selectors.get_session(live.session_id).status == "quarantined"
    assert [version.number for version in selectors.versions(live.session_id)] == [1, 2, 3, 4]
    assert len(selectors.events(live.session_id)) == 7


@pytest.mark.parametrize(
    "write",
    [
        lambda head: services.record_event(head, kind="cart.viewed"),
        lambda head: services.add_message(head, role="user", content="hello"),
        lambda head: services.end_session(head),
    ],
    ids=["event", "message", "end"],
)
def test_nothing_is_written_of_a_session_without_its_key(live: OpenedSession, write: Any) -> None:
    """R5"""
    head = selectors.authenticate(live.token)
    SessionKey.objects.filter(pk=live.session_id).delete()

    with pytest.raises(ContentErased):
        write(head)

    assert len(selectors.events(live.session_id)) == 7


def test_its_evidence_can_still_be_read(quarantined: OpenedSession) -> None:
    """R5, A3: chain, versions and report."""
    assert len(selectors.events(quarantined.session_id)) == 7
    assert len(selectors.versions(quarantined.session_id)) == 4
    assert found(selectors.verify_session(quarantined.session_id)) == [("wrong_column", "session, merchant")]


def test_a_quarantined_session_neither_expires_nor_stops_the_others(
    opened: Any, quarantined: OpenedSession, time_machine: Any
) -> None:
    """R5, L1"""
    other = opened()
    time_machine.move_to(other.expires_at + timedelta(minutes=1))

    assert services.expire_sessions().ended == 1

    assert selectors.read_head(quarantined.session_id).status is Status.QUARANTINED


def test_reading_a_damaged_state_says_so(live: OpenedSession) -> None:
    """R5: never a wrong state, never an error of another layer."""
    Tamper(live.session_id).version(4, patch=flipped(Tamper(live.session_id).versions.get(number=4).patch))
    _cache.local.clear()

    with pytest.raises(SessionDamaged, match=r"version\.patch 4 does not open.*verify_sessions") as damage:
        selectors.current_state(live.session_id)

    assert damage.value.status == 500
    assert selectors.state_at_version(live.session_id, 3).state == variables(a=1, b=2, c=3)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_version_that_is_missing_is_not_read_over(opened: Any, missing: int) -> None:
    """R5: at the start, in the middle, at the end."""
    one = opened(state=variables(a=1))
    for version in (1, 2):
        services.change_session(one.session_id, expected_version=version, patch=variables(**{f"v{version}": version}))
    tamper = Tamper(one.session_id)
    tamper.delete(tamper.versions.filter(number=missing))
    _cache.local.clear()

    with pytest.raises(SessionDamaged, match=f"version {missing} is missing"):
        selectors.current_state(one.session_id)


def test_a_gap_before_a_snapshot_does_not_matter_to_those_who_read_after_it(live: OpenedSession) -> None:
    """R5: it is found by verify_sessions."""
    tamper = Tamper(live.session_id)
    tamper.delete(tamper.versions.filter(number=2))
    _cache.local.clear()

    assert selectors.current_state(live.session_id).state == variables(a=1, b=2, c=3, d=4)
    assert ("version_missing", "version 2") in found(selectors.verify_session(live.session_id))


def test_a_writer_who_meets_damage_closes_the_session(live: OpenedSession, caplog: pytest.LogCaptureFixture) -> None:
    """R5: and writes nothing on top of it."""
    tamper = Tamper(live.session_id)
    tamper.version(4, patch=flipped(tamper.versions.get(number=4).patch))
    _cache.local.clear()

    with pytest.raises(SessionDamaged, match=r"version\.patch 4"):
        services.change_session(live.session_id, expected_version=4, patch=variables(e=5))

    assert selectors.read_head(live.session_id).status is Status.QUARANTINED
    assert (len(selectors.events(live.session_id)), len(selectors.versions(live.session_id))) == (7, 4)
    assert f"Session {live.session_id} is quarantined: version.patch 4" in caplog.text
    with pytest.raises(SessionQuarantined):
        services.record_event(live.session_id, kind="cart.viewed")


@pytest.mark.parametrize("was", ["active", "ended"])
def test_a_sound_session_is_released_to_what_it_was(live: OpenedSession, was: str) -> None:
    """R5"""
    if was == "ended":
        services.end_session(live.session_id)
    tamper = Tamper(live.session_id)
    tamper.session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(live.session_id))
    tamper.session(merchant="default")

    assert services.release_session(live.session_id) is True

    session = selectors.get_session(live.session_id)
    assert (session.status, session.quarantined_at) == (was, None)
    assert services.release_session(live.session_id) is False
    assert selectors.current_state(live.session_id).state == variables(a=1, b=2, c=3, d=4)


def test_a_damaged_session_is_not_released(quarantined: OpenedSession) -> None:
    """R5"""
    with pytest.raises(SessionDamaged, match=r"session, merchant"):
        services.release_session(quarantined.session_id)

    assert selectors.read_head(quarantined.session_id).status is Status.QUARANTINED


def test_a_quarantined_session_that_has_ended_keeps_its_end(ended: OpenedSession) -> None:
    """R5, L6"""
    Tamper(ended.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(ended.session_id))

    session = selectors.get_session(ended.session_id)
    assert (session.status, session.end_reason) == ("quarantined", "completed")
    assert found(selectors.verify_session(ended.session_id)) == [("wrong_column", "session, merchant")]


def test_a_sound_report_closes_nothing(live: OpenedSession) -> None:
    report = selectors.verify_session(live.session_id)

    assert report.ok
    assert services.quarantine_damaged(report) is False
    assert selectors.authenticate(live.token).is_live()


def test_a_live_session_without_its_key_is_closed_by_the_first_writer(
    live: OpenedSession, caplog: pytest.LogCaptureFixture
) -> None:
    """R5, A7: what it holds cannot be read any more; its events can."""
    SessionKey.objects.filter(pk=live.session_id).delete()
    _cache.local.clear()

    with pytest.raises(ContentErased, match="events and artifact remain") as refusal:
        services.change_session(live.session_id, expected_version=4, patch=variables(e=5))

    assert refusal.value.status == 410
    assert selectors.read_head(live.session_id).status is Status.QUARANTINED
    assert f"Session {live.session_id} is quarantined" in caplog.text
    assert len(selectors.events(live.session_id)) == 7


def test_a_live_session_whose_key_was_altered_is_closed_by_the_first_writer(live: OpenedSession) -> None:
    """R5"""
    key = SessionKey.objects.filter(pk=live.session_id)
    key.update(wrapped=flipped(key.get().wrapped))
    _cache.local.clear()

    with pytest.raises(KeyProblem, match="the stored key was altered"):
        services.record_event(live.session_id, kind="cart.viewed")

    assert selectors.read_head(live.session_id).status is Status.QUARANTINED
    assert len(selectors.events(live.session_id)) == 7


def test_of_an_ended_session_without_its_key_the_events_remain(ended: OpenedSession) -> None:
    """A7: that is what erasing does; nothing is wrong with the session."""
    SessionKey.objects.filter(pk=ended.session_id).delete()
    _cache.local.clear()

    for read in (
        lambda: selectors.current_state(ended.session_id),
        lambda: selectors.state_at_version(ended.session_id, 2),
        lambda: selectors.compare(ended.session_id, 1),
    ):
        with pytest.raises(ContentErased):
            read()
    turns = selectors.messages(ended.session_id)
    assert [(turn.role, turn.content, turn.erased) for turn in turns] == [("user", None, True), ("agent", None, True)]

    assert selectors.read_head(ended.session_id).status is Status.ENDED
    assert len(selectors.events(ended.session_id)) == 8


@pytest.mark.parametrize("in_a_transaction", [True, False])
@pytest.mark.django_db(transaction=True)
def test_what_would_leave_a_gap_is_told_as_damage(live: OpenedSession, in_a_transaction: bool) -> None:
    """R5: also where the database has given up the transaction that it was to be part of."""
    tamper = Tamper(live.session_id)
    services.record_event(live.session_id, kind="cart.viewed")
    head = selectors.read_head(live.session_id)
    tamper.delete(tamper.events.filter(seq=head.head_seq))

    with pytest.raises(SessionDamaged, match="the end of its history is missing"):  # noqa: SIM117
        with transaction.atomic() if in_a_transaction else nullcontext():
            services.record_event(head, kind="cart.viewed")
    if not in_a_transaction:
        assert selectors.read_head(live.session_id).status is Status.QUARANTINED
