"""Why something was done can be read again, and why a session ends is one of a few words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain import Call, EndReason, Scope
from agent_sessions.exceptions import InvalidValue, SessionExpired
from agent_sessions.models import Session, SiteKey

pytestmark = pytest.mark.django_db


def test_the_reason_of_a_change_can_be_read_from_a_live_session(opened: Any) -> None:
    """V1: who, when, and why."""
    one = opened(purpose="two mugs")
    call = Call("cart.add", private={"gift_note": "for Ann"})
    made = services.change_session(
        one.session_id, expected_version=1, patch={"agent": {"a": 1}}, call=call, note="asked for by telephone"
    )

    assert selectors.private_values(one.session_id, made.seq) == {
        "note": "asked for by telephone",
        "params.gift_note": "for Ann",
    }
    assert selectors.private_values(one.session_id, 1)["purpose"] == "two mugs"
    assert selectors.private_values(one.session_id, 99) == {}


def test_a_reason_can_be_given_as_its_word(opened: Any) -> None:
    one = opened()
    services.end_session(one.session_id, reason="completed")  # type: ignore[arg-type]
    assert selectors.get_session(one.session_id).end_reason == EndReason.COMPLETED


@pytest.mark.parametrize("reason", ["expired", "bored", None])
def test_another_reason_is_refused_and_ends_nothing(opened: Any, reason: Any) -> None:
    one = opened()
    with pytest.raises(InvalidValue, match="completed, deleted or revoked"):
        services.end_session(one.session_id, reason=reason)
    assert selectors.read_head(one.session_id).is_live()


def test_a_session_that_is_overdue_when_it_is_revoked_has_expired(opened: Any, clock: Any) -> None:
    """L1: the deadline came first, so the session ended then."""
    one = opened(scope=Scope(expires_at=timezone.now() + timedelta(minutes=5)))
    deadline = selectors.read_head(one.session_id).expires_at
    clock.shift(timedelta(minutes=6))

    with pytest.raises(SessionExpired):
        services.end_session(one.session_id, reason=EndReason.REVOKED)
    services.expire_sessions()

    session = Session.objects.get(pk=one.session_id)
    assert (session.end_reason, session.ended_at) == ("expired", deadline)


def test_a_merchant_that_no_token_holds_is_refused_before_anything_is_written(opened: Any) -> None:
    with pytest.raises(InvalidValue) as refusal:
        opened(merchant="店" * 100)
    assert refusal.value.path == "/merchant"
    assert not Session.objects.exists()
    assert not SiteKey.objects.exists()
