"""The answer to a security event: tokens, sessions, every key, the master key, and the log (T3, A8)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.exceptions import (
    InvalidToken,
    InvalidValue,
    KeyProblem,
    PaymentDataRefused,
    SessionEnded,
    SessionRevoked,
)
from agent_sessions.models import Artifact, SiteEvent, SiteKey
from agent_sessions.selectors import _cache
from agent_sessions.services import security_events
from tests.services.keeping_keys import key_file, wrapped_by
from tests.services.test_key_rotation import events
from tests.shopping import variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
__all__ = ["key_file"]
REASON = "a laptop was stolen"


class PowerFailure(Exception):
    """The machine dies."""


def die(*args: object, **kwargs: object) -> None:
    raise PowerFailure


def keys(purpose: str) -> int:
    return SiteKey.objects.filter(purpose=purpose).count()


def test_everything_is_changed_and_said(key_file: Path, live: Any, opened: Any) -> None:
    """T3, A8"""
    done = opened()
    services.end_session(done.session_id)
    signing = services.signing_keys()[0].key_id
    told: list[str] = []

    report = services.answer_security_event(reason=REASON, tell=told.append)

    assert (report.reason, report.resumed, report.ended, report.left, report.still_old) == (REASON, False, 1, 0, 0)
    assert selectors.read_head(live.session_id).end_reason == "revoked"
    for one in (live, done):
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)
        assert selectors.verify_session(one.session_id).ok
    assert (keys("token"), keys("artifact")) == (2, 2)
    assert services.signing_keys()[0].key_id != signing
    assert package_settings.key_provider.active_id == report.master_key
    assert wrapped_by() == {report.master_key}
    began, finished = events("security.event")
    assert began == {"phase": "began", "reason": REASON}
    assert finished["phase"] == "finished"
    assert (finished["ended"], finished["left"], finished["master_key"]) == (1, 0, report.master_key)
    assert finished["began"] == SiteEvent.objects.filter(kind="security.event").earliest("seq").seq
    assert f"Security event: {REASON}" in told
    new = opened()
    assert selectors.authenticate(new.token).is_live()
    active = SiteKey.objects.get(purpose="artifact", retired_at__isnull=True)
    assert Artifact.objects.get(session_id=live.session_id).signing_key_id == active.pk


def test_a_write_in_flight_is_not_written(key_file: Path, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: whoever read the session before the event does not get through after it."""
    head = selectors.read_head(live.session_id)
    monkeypatch.setattr(security_events, "end_revoked_sessions", lambda **_: 0)
    report = services.answer_security_event(reason=REASON)
    assert report.left == 1
    with pytest.raises((SessionRevoked, SessionEnded)):
        services.change_session(head, expected_version=head.version, patch=variables(seen=1))
    _cache.local.clear()
    assert selectors.read_head(live.session_id).version == head.version


@pytest.mark.parametrize(
    "step",
    [
        "revoke_token_key", "make_master_key", "master_keys.note_active_master_key", "rotate_signing_key",
        "end_revoked_sessions", "rewrap", "_finish",
    ],
)  # fmt: skip
def test_an_interrupted_run_is_gone_on_with_and_nothing_is_done_twice(
    key_file: Path, live: Any, opened: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """T3, R3: the machine dies at each step."""
    services.signing_keys()
    with monkeypatch.context() as patched:
        where = step if "." in step else f"security_events.{step}"
        patched.setattr(f"agent_sessions.services.{where}", die)
        with pytest.raises(PowerFailure):
            services.answer_security_event(reason=REASON)

    report = services.resume_security_event()

    assert (report.reason, report.resumed, report.left, report.still_old) == (REASON, True, 0, 0)
    assert (keys("token"), keys("artifact")) == (2, 2)
    assert wrapped_by() == {report.master_key}
    assert len(package_settings.key_provider.master_ids()) == 2  # type: ignore[attr-defined]
    assert [event["phase"] for event in events("security.event")] == ["began", "finished"]
    assert selectors.read_head(live.session_id).end_reason == "revoked"


def test_what_happens_anew_is_another_event_though_the_last_was_interrupted(
    key_file: Path, opened: Any, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    """T3: tokens that were issued since the interruption are revoked too, and the old event is over."""
    with monkeypatch.context() as patched:
        patched.setattr(security_events, "_finish", die)
        with pytest.raises(PowerFailure):
            services.answer_security_event(reason=REASON)
    clock.shift(timedelta(days=30))
    since = opened()

    report = services.answer_security_event(reason=REASON)

    assert (report.resumed, report.ended) == (False, 1)
    with pytest.raises(InvalidToken):
        selectors.authenticate(since.token)
    assert keys("token") == 2
    with pytest.raises(InvalidValue, match="unfinished"):
        services.resume_security_event()


def test_nothing_is_gone_on_with_where_nothing_began(opened: Any) -> None:
    token = opened().token
    with pytest.raises(InvalidValue, match="unfinished"):
        services.resume_security_event()
    assert selectors.authenticate(token).is_live()


def test_a_master_key_that_cannot_be_made_keeps_no_session_alive(
    key_file: Path, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T3: the file of keys is mounted read-only."""

    def read_only(*args: object, **kwargs: object) -> None:
        raise KeyProblem("/keys.json cannot be written (Read-only file system); it is as it was.")

    monkeypatch.setattr(security_events, "make_master_key", read_only)
    services.signing_keys()
    told: list[str] = []
    report = services.answer_security_event(reason=REASON, tell=told.append)
    assert (report.master_key, report.ended, report.left, keys("artifact")) == ("", 1, 0, 2)
    assert "Read-only file system" in report.master_key_problem
    assert "Read-only file system" in "".join(told)
    assert [event["phase"] for event in events("security.event")] == ["began", "finished"]


def test_ids_of_later_days_are_no_obstacle(key_file: Path, opened: Any) -> None:
    """In a token the last id in the order of text is the active one."""
    services.make_master_key("2999-01")
    report = services.answer_security_event(reason=REASON)
    assert report.master_key.startswith("2999-01+")
    assert package_settings.key_provider.active_id == report.master_key


def test_a_second_event_is_another_one(key_file: Path, opened: Any, clock: Any) -> None:
    services.answer_security_event(reason=REASON)
    clock.shift(60)
    opened()
    report = services.answer_security_event(reason="another laptop")
    assert (report.reason, report.resumed, report.ended) == ("another laptop", False, 1)
    assert [event.get("reason") for event in events("security.event")] == [
        REASON, REASON, "another laptop", "another laptop",
    ]  # fmt: skip


def test_the_master_key_stays_where_none_can_be_made_or_none_is_wanted(key_file: Path, opened: Any) -> None:
    opened()
    report = services.answer_security_event(reason=REASON, new_master_key=False)
    assert (report.master_key, report.master_key_problem, report.ended) == ("", "", 1)
    assert wrapped_by() == {"2026-10"}


def test_with_keys_in_the_settings_the_rest_is_done(opened: Any) -> None:
    opened()
    report = services.answer_security_event(reason=REASON)
    assert (report.master_key, report.ended, report.still_old) == ("", 1, 0)
    assert "makes none" in report.master_key_problem


@pytest.mark.parametrize(
    ("reason", "error"),
    [("", InvalidValue), ("r" * 201, InvalidValue), ("card 4111 1111 1111 1111", PaymentDataRefused)],
)
def test_a_reason_that_cannot_stand_in_the_log_changes_nothing(opened: Any, reason: str, error: type) -> None:
    opened()
    before = everything_stored()
    with pytest.raises(error):
        services.answer_security_event(reason=reason)
    assert everything_stored() == before
