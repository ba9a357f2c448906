"""What a human says to an approval: one answer counts, from whom it may come, in time (L5, A2)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.slices.decisions import ApprovalStatus as NotedStatus
from agent_sessions.exceptions import (
    ApprovalClosed,
    ApprovalExpired,
    ApprovalNotFound,
    InvalidValue,
    SessionQuarantined,
    VersionConflict,
)
from agent_sessions.models import Approval
from tests.conftest import MORNING
from tests.services.asking import (
    REASON,
    ask,
    asking,
    cart_of,
    event,
    granted,
    is_sound,
    kinds,
    note,
    pointer,
    status,
    stored,
)
from tests.store.calling import call, head, last_event
from tests.stored import everything_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db
__all__ = ["asking"]
STAFF = Actor("staff", "17")
MINUTE = timedelta(minutes=1)
ANSWERS = (services.grant_approval, services.reject_approval, services.escalate_approval)


def test_the_words_for_where_it_stands_are_the_same_everywhere() -> None:
    words = {one.value for one in ApprovalStatus}
    assert words == set(Approval.Status.values) == set(NotedStatus.__args__)  # type: ignore[attr-defined]


def test_a_yes_is_a_version_with_how_long_the_human_had_and_took(asking: Any, opened: Any, clock: Any) -> None:
    """A2"""
    one = cart_of(opened)
    asked = ask(one)
    clock.shift(20)
    services.note_approval_opened(asked.approval_id)
    clock.shift(70)
    services.note_approval_opened(asked.approval_id)  # again: it is the first time that counts
    clock.shift(20)

    services.grant_approval(asked.approval_id)

    seen = selectors.get_approval(asked.approval_id)
    assert (seen.status.value, seen.decided_by, seen.time_taken) == ("granted", "consumer", timedelta(seconds=90))
    assert (seen.decided_at, seen.waits) == (MORNING + timedelta(seconds=110), False)
    told = last_event(one)
    assert (told["kind"], told["actor"], told["version"]) == ("approval.granted", "consumer", 4)
    assert (told["params"]["had_ms"], told["params"]["took_ms"]) == (1_800_000, 90_000)
    assert (note(one, asked)["status"], pointer(one)) == ("granted", str(asked.approval_id))
    assert "interventions" not in str(event(one, "approval.granted"))
    assert is_sound(one)


def test_a_no_says_why_to_the_agent_and_to_nobody_else(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    services.reject_approval(asked.approval_id, reason="Blue, not red")
    seen = selectors.get_approval(asked.approval_id)
    assert (seen.status.value, seen.answer, seen.reason) == ("rejected", "Blue, not red", REASON)
    told = last_event(one)
    assert (told["kind"], told["params"].keys() & {"reason", "answer"}) == ("approval.rejected", set())
    assert selectors.private_values(head(one), told["seq"]) == {"reason": "Blue, not red"}
    assert is_sound(one)


def test_after_escalation_only_staff_answer(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    services.escalate_approval(asked.approval_id, reason="I do not know this shop")
    assert (status(asked), last_event(one)["kind"]) == ("escalated", "approval.escalated")
    assert stored(asked).decided_at is None
    for answer in ANSWERS:
        with pytest.raises(ApprovalClosed, match="shop has been asked"):
            answer(asked.approval_id)  # type: ignore[operator]
    with pytest.raises(ApprovalClosed):
        services.escalate_approval(asked.approval_id, actor=STAFF)

    services.grant_approval(asked.approval_id, actor=STAFF)

    assert (status(asked), stored(asked).decided_by, last_event(one)["actor"]) == ("granted", "staff:17", "staff:17")
    assert selectors.get_approval(asked.approval_id).question == "I do not know this shop"
    assert call("checkout", one).status == 200
    assert is_sound(one)


def test_staff_can_answer_what_waits_for_the_consumer(asking: Any, opened: Any) -> None:
    asked = ask(cart_of(opened))
    services.reject_approval(asked.approval_id, reason="Out of season", actor=STAFF)
    assert selectors.get_approval(asked.approval_id).decided_by == "staff:17"


@pytest.mark.parametrize("first", ANSWERS)
@pytest.mark.parametrize("second", ANSWERS)
def test_the_first_answer_counts(asking: Any, opened: Any, first: Any, second: Any) -> None:
    asked = ask(cart_of(opened))
    first(asked.approval_id)
    before = everything_stored()
    with pytest.raises(ApprovalClosed):
        second(asked.approval_id)
    assert everything_stored() == before


@pytest.mark.parametrize("answer", ANSWERS)
def test_after_the_window_every_answer_is_too_late(
    asking: Any, opened: Any, configure: Any, clock: Any, answer: Any
) -> None:
    """L5: also while no job has come by, and to the second."""
    configure(TTL={"approval": 300})
    asked = ask(cart_of(opened))
    clock.move_to(MORNING + 5 * MINUTE)
    before = everything_stored()
    with pytest.raises(ApprovalExpired, match=r"Approval window expired\. Consumer must re-authorize\."):
        answer(asked.approval_id)
    assert everything_stored() == before
    assert selectors.get_approval(asked.approval_id).status is ApprovalStatus.EXPIRED


def test_just_before_it_is_in_time(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    asked = ask(cart_of(opened))
    clock.move_to(MORNING + 5 * MINUTE - timedelta(seconds=1))
    services.grant_approval(asked.approval_id)
    clock.shift(1)
    assert status(asked) == "expired", "granted, and not used in time"


def test_a_human_answers_while_the_agent_has_paused(asking: Any, opened: Any) -> None:
    """L3: pausing is how an agent waits; the session stays paused, and the answer is there when it goes on."""
    one = cart_of(opened)
    asked = ask(one)
    services.pause_session(one.session_id)
    services.grant_approval(asked.approval_id)
    assert (head(one).status.value, status(asked)) == ("paused", "granted")
    services.resume_session(one.session_id)
    assert call("checkout", one).status == 200
    assert is_sound(one)


def test_a_human_answers_while_a_person_has_the_session(asking: Any, opened: Any) -> None:
    """L4"""
    one = cart_of(opened)
    asked = ask(one)
    services.hand_over(one.session_id, to=Actor("consumer"), actor=Actor("consumer"))
    services.grant_approval(asked.approval_id)
    assert (head(one).held_by, status(asked)) == ("consumer", "granted")
    assert is_sound(one)


def test_a_quarantined_session_takes_no_answer(asking: Any, opened: Any) -> None:
    """R5"""
    one = cart_of(opened)
    asked = ask(one)
    Tamper(one.session_id).session(merchant="elsewhere")
    assert services.quarantine_damaged(selectors.verify_session(one.session_id))
    for answer in ANSWERS:
        with pytest.raises(SessionQuarantined):
            answer(asked.approval_id)  # type: ignore[operator]


def test_there_is_no_answer_to_what_was_never_asked() -> None:
    for ask_of in (*ANSWERS, selectors.get_approval):
        with pytest.raises(ApprovalNotFound):
            ask_of(uuid.uuid4())  # type: ignore[operator]
    for token in ("", "x", "ü", "\ud800", "\0", "x" * 10_000):
        with pytest.raises(ApprovalNotFound):
            selectors.approval_by_token(token)


@pytest.mark.parametrize("reason", ["x" * 1001, "a\0b", 7])
def test_words_are_bounded(asking: Any, opened: Any, reason: Any) -> None:
    asked = ask(cart_of(opened))
    for answer in (services.reject_approval, services.escalate_approval):
        with pytest.raises(InvalidValue):
            answer(asked.approval_id, reason=reason)
    assert status(asked) == "pending"


# Answers that do not fit


def test_the_fifth_answer_that_does_not_fit_rejects(asking: Any, opened: Any) -> None:
    """L5: five failed attempts at most."""
    one = cart_of(opened)
    asked = ask(one)
    for left in (4, 3, 2, 1):
        assert services.refuse_answer(asked.approval_id, cause="total").attempts_left == left
        assert status(asked) == "pending"
    told = last_event(one)
    assert (told["kind"], told["params"]["attempts"], told["params"]["cause"]) == (
        "approval.attempt_failed", 4, "total",
    )  # fmt: skip
    assert services.refuse_answer(asked.approval_id, cause="person").attempts_left == 0
    assert (status(asked), stored(asked).decided_by, stored(asked).attempts) == ("rejected", "system", 5)
    assert kinds(one)[-2:] == ["approval.attempt_failed", "approval.rejected"]
    with pytest.raises(ApprovalClosed):
        services.refuse_answer(asked.approval_id, cause="total")
    with pytest.raises(ApprovalClosed):
        services.grant_approval(asked.approval_id)
    assert is_sound(one)


def test_an_answer_that_fits_counts_after_four_that_did_not(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    for _ in range(4):
        services.refuse_answer(asked.approval_id, cause="total")
    services.grant_approval(asked.approval_id)
    assert (status(asked), last_event(one)["params"]["attempts"]) == ("granted", 4)


def test_what_is_closed_counts_no_more(asking: Any, opened: Any) -> None:
    asked = granted(cart_of(opened))
    before = everything_stored()
    with pytest.raises(ApprovalClosed):
        services.refuse_answer(asked.approval_id, cause="total")
    with pytest.raises(InvalidValue):
        services.refuse_answer(asked.approval_id, cause="mood")
    assert everything_stored() == before


def test_an_answer_is_no_conflict_for_an_agent_that_names_a_version(asking: Any, opened: Any) -> None:
    """It is one for a change based on what was before, and says what has happened."""
    one = cart_of(opened)
    asked = ask(one)
    services.grant_approval(asked.approval_id)
    with pytest.raises(VersionConflict) as refused:
        call("checkout", one, expected_version=asked.version)
    assert "Approval" in refused.value.changes[0].text
