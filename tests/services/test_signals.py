"""Signals go out when the database has it for good, and hold up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import Signal

from agent_sessions import selectors, services
from agent_sessions.exceptions import VersionConflict
from agent_sessions.models import Session
from agent_sessions.signals import session_changed, session_damaged
from tests.shopping import variables
from tests.tampering import Tamper


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """Collect what a signal sends."""
    received: list[dict[str, Any]] = []

    def receive(sender: object, **facts: Any) -> None:
        assert sender is Session
        received.append({name: value for name, value in facts.items() if name != "signal"})

    signal.connect(receive)
    try:
        yield received
    finally:
        signal.disconnect(receive)


@pytest.mark.django_db
def test_every_event_is_announced_with_what_it_made(opened: Any, django_capture_on_commit_callbacks: Any) -> None:
    with heard(session_changed) as received, django_capture_on_commit_callbacks(execute=True):
        one = opened()
        services.change_session(one.session_id, expected_version=1, patch=variables(a=1), kind="mood.noted")
        services.record_event(one.session_id, kind="cart.viewed")
        services.add_message(one.session_id, role="user", content="hello")
        services.end_session(one.session_id)
        assert received == []

    assert [(sent["session_id"], sent["kind"], sent["version"], sent["seq"]) for sent in received] == [
        (one.session_id, "session.created", 1, 1),
        (one.session_id, "mood.noted", 2, 2),
        (one.session_id, "cart.viewed", 2, 3),
        (one.session_id, "conversation.message_added", 2, 4),
        (one.session_id, "session.ended", 3, 5),
    ]


@pytest.mark.django_db(transaction=True)
def test_it_goes_out_after_the_commit_of_the_caller(opened: Any) -> None:
    one = opened()

    with heard(session_changed) as received:
        with transaction.atomic():
            services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
            assert received == []
        assert [sent["version"] for sent in received] == [2]


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_not_announced(opened: Any) -> None:
    with heard(session_changed) as received:
        with transaction.atomic():
            opened()
            transaction.set_rollback(True)

        assert received == []
    assert Session.objects.count() == 0


@pytest.mark.django_db
def test_what_was_refused_is_not_announced(opened: Any, django_capture_on_commit_callbacks: Any) -> None:
    one = opened()

    with heard(session_changed) as received, django_capture_on_commit_callbacks(execute=True):  # noqa: SIM117
        with pytest.raises(VersionConflict):
            services.change_session(one.session_id, expected_version=7, patch=variables(a=1))

    assert received == []


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_is_logged_and_holds_up_nobody(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(sender: object, **facts: Any) -> None:
        raise RuntimeError("the mail server is down")

    session_changed.connect(fail)
    try:
        with heard(session_changed) as received:
            one = opened()
            services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    finally:
        session_changed.disconnect(fail)

    assert [sent["version"] for sent in received] == [1, 2]
    assert selectors.current_state(one.session_id).state == variables(a=1)
    assert "the mail server is down" in caplog.text


@pytest.mark.django_db
def test_the_alarm_of_a_quarantine_goes_out_once(opened: Any, django_capture_on_commit_callbacks: Any) -> None:
    """R4, R5: found, reported, alerted."""
    one = opened()
    Tamper(one.session_id).session(merchant="somewhere else")
    report = selectors.verify_session(one.session_id)

    with heard(session_damaged) as received, django_capture_on_commit_callbacks(execute=True):
        assert services.quarantine_damaged(report) is True
        assert services.quarantine_damaged(report) is False

    (sent,) = received
    assert sent["session_id"] == one.session_id
    assert "session, merchant" in sent["problem"]
