"""A security event revokes every session at once, writes in flight included (T3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import InvalidToken, InvalidValue, SessionEnded, SessionRevoked
from agent_sessions.models import SessionKey, SiteKey
from agent_sessions.services import expiry
from tests.conftest import MORNING
from tests.shopping import variables
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The machine dies when it has revoked the key and is about to end the first session."""

    def die(*args: object, **kwargs: object) -> None:
        raise RuntimeError("power failure")

    monkeypatch.setattr(expiry, "end_session", die)
    return monkeypatch


def test_it_ends_every_live_session_and_kills_every_token(opened: Any) -> None:
    """T3, L6"""
    live, done = [opened() for _ in range(3)], opened()
    services.end_session(done.session_id)

    assert services.revoke_all_sessions(reason="a laptop was stolen") == 3

    for one in live:
        session = selectors.get_session(one.session_id)
        assert (session.status, session.end_reason, session.sealed_at is not None) == ("ended", "revoked", True)
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)
    assert selectors.get_session(done.session_id).end_reason == "deleted"


def test_new_sessions_can_be_opened_at_once(opened: Any) -> None:
    """T3: with a new token key."""
    opened()
    services.revoke_all_sessions(reason="a laptop was stolen")

    one = opened()

    assert selectors.authenticate(one.token).session_id == one.session_id
    assert services.change_session(one.session_id, expected_version=1, patch=variables(a=1)).version == 2
    old, new = SiteKey.objects.filter(purpose="token").order_by("pk")
    assert old.revoked_at is not None
    assert new.revoked_at is new.retired_at is None


def test_the_reason_is_kept_with_the_key_and_sealed_in_each_session(opened: Any) -> None:
    one = opened()

    services.revoke_all_sessions(reason="a laptop was stolen")

    assert SiteKey.objects.get(purpose="token", revoked_at__isnull=False).reason == "a laptop was stolen"
    last = selectors.events(one.session_id)[-1]
    assert (last["actor"], last["params"]["end_reason"]) == ("system", "revoked")
    assert b"a laptop was stolen" in services.get_artifact(one.session_id, disclose="all")
    assert b"a laptop was stolen" not in services.get_artifact(one.session_id)


def test_a_second_event_leaves_the_record_of_the_first(opened: Any) -> None:
    opened()
    services.revoke_all_sessions(reason="a laptop was stolen")
    opened()
    services.revoke_all_sessions(reason="a phone was stolen")

    reasons = SiteKey.objects.filter(purpose="token").order_by("pk").values_list("reason", flat=True)
    assert list(reasons) == ["a laptop was stolen", "a phone was stolen", ""]


def test_from_the_first_moment_no_token_is_accepted(opened: Any, interrupted: Any) -> None:
    """T3: before any session is ended."""
    one = opened()

    with pytest.raises(RuntimeError):
        services.revoke_all_sessions(reason="a laptop was stolen")

    assert selectors.read_head(one.session_id).status is Status.ACTIVE
    with pytest.raises(InvalidToken):
        selectors.authenticate(one.token)


@pytest.mark.parametrize("write", ["change", "event", "message", "end"])
@pytest.mark.parametrize("in_flight", [True, False], ids=["from its head", "by its id"])
def test_from_the_first_moment_no_write_comes_through(
    opened: Any, interrupted: Any, write: str, in_flight: bool
) -> None:
    """T3: those in flight included, whose head was read when all was well."""
    one = opened()
    session = selectors.authenticate(one.token) if in_flight else one.session_id
    with pytest.raises(RuntimeError):
        services.revoke_all_sessions(reason="a laptop was stolen")
    before = everything_stored()

    writes = {
        "change": lambda: services.change_session(session, expected_version=1, patch=variables(a=1)),
        "event": lambda: services.record_event(session, kind="cart.viewed"),
        "message": lambda: services.add_message(session, role="user", content="hello"),
        "end": lambda: services.end_session(session),
    }
    with pytest.raises(SessionRevoked) as refusal:
        writes[write]()

    assert (refusal.value.code, refusal.value.end_reason) == ("session_revoked", "revoked")
    assert everything_stored() == before


def test_what_was_interrupted_can_be_finished(opened: Any, interrupted: pytest.MonkeyPatch) -> None:
    """T3, R3"""
    one = opened()
    with pytest.raises(RuntimeError):
        services.revoke_all_sessions(reason="a laptop was stolen")
    new = opened()
    interrupted.undo()

    assert services.end_revoked_sessions(note="finished later") == 1
    assert services.end_revoked_sessions() == 0

    assert selectors.read_head(one.session_id).end_reason == "revoked"
    assert selectors.authenticate(new.token).is_live()


def test_a_write_after_all_is_done_is_refused_too(opened: Any) -> None:
    """T3"""
    one = opened()
    head = selectors.authenticate(one.token)
    services.revoke_all_sessions(reason="a laptop was stolen")
    before = everything_stored()

    with pytest.raises(SessionEnded) as refusal:
        services.change_session(head, expected_version=1, patch=variables(a=1))

    assert refusal.value.end_reason == "revoked"
    assert everything_stored() == before


def test_a_session_that_cannot_be_ended_holds_up_no_other(opened: Any, clock: Any) -> None:
    """T3, R5"""
    broken = opened()
    clock.move_to(MORNING + timedelta(seconds=1))
    sound = opened()
    SessionKey.objects.filter(pk=broken.session_id).delete()

    assert services.revoke_all_sessions(reason="a laptop was stolen") == 1

    assert selectors.read_head(sound.session_id).end_reason == "revoked"
    for one in (broken, sound):
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)


@pytest.mark.parametrize("reason", ["", "r" * 201, "a\0b", "\ud800", None])
def test_without_a_reason_that_can_be_kept_nothing_is_revoked(opened: Any, reason: Any) -> None:
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.revoke_all_sessions(reason=reason)

    assert refusal.value.path == "/reason"
    assert everything_stored() == before
    assert selectors.authenticate(one.token).is_live()


def test_where_there_is_no_session_yet_a_revocation_does_no_harm(opened: Any) -> None:
    assert services.revoke_all_sessions(reason="to be sure") == 0

    assert selectors.authenticate(opened().token).is_live()
    assert not is_stored("session.ended")
