"""Of all that can happen to an approval at once, one comes first and the others are told so (L5)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.exceptions import AgentSessionsError, AnswerRefused, ApprovalClosed, ApprovalExpired, PolicyDenied
from agent_sessions.models import Approval, CheckoutHandoff
from agent_sessions.services import Answer
from tests.faults.support import at_once, half_done
from tests.services.asking import ask, asking, cart_of, granted, kinds, pointer, status, stored
from tests.store.calling import call, quantities

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["asking"]
ROUNDS = range(4)
CHECKOUT = partial(call, "checkout")


def test_of_a_yes_and_a_no_one_counts(asking: Any, opened: Any) -> None:
    """Two tabs, and staff besides."""
    answers = (services.grant_approval, services.reject_approval, services.escalate_approval, services.reject_approval)
    for _ in ROUNDS:
        one = cart_of(opened)
        asked = ask(one)

        results = at_once([partial(answer, asked.approval_id) for answer in answers])

        assert results.count(None) == 1, results
        assert [type(result) for result in results if result is not None] == [ApprovalClosed] * 3, results
        decided = {"approval.granted", "approval.rejected", "approval.escalated"}
        assert [kind for kind in kinds(one) if kind in decided] == [f"approval.{status(asked)}"]
        assert half_done(one.session_id) == []


def test_between_a_yes_and_a_change_nothing_is_approved_that_was_not_seen(asking: Any, opened: Any) -> None:
    for _ in ROUNDS:
        one = cart_of(opened)
        asked = ask(one)

        said, changed = at_once(
            [partial(services.grant_approval, asked.approval_id), partial(call, "cart.add", one, item_id="plate")]
        )

        assert isinstance(changed, Answer), changed
        assert said is None or (isinstance(said, ApprovalClosed) and said.approval_status == "void"), said
        assert (status(asked), pointer(one), quantities(one)) == ("void", None, {"mug": 2, "plate": 1})
        with pytest.raises(PolicyDenied):
            call("checkout", one)
        assert half_done(one.session_id) == []


@pytest.mark.parametrize("ends", [True, False])
def test_one_yes_is_one_checkout(asking: Any, opened: Any, configure: Any, ends: bool) -> None:
    configure(END_ON_HANDOFF=ends)
    for number, _ in enumerate(ROUNDS, 1):
        one = cart_of(opened)
        asked = granted(one)

        results = at_once([partial(CHECKOUT, one)] * 4)

        assert len([result for result in results if isinstance(result, Answer)]) == 1, results
        assert all(isinstance(result, Answer | AgentSessionsError) for result in results), results
        assert CheckoutHandoff.objects.count() == number
        assert (status(asked), kinds(one).count("approval.used")) == ("used", 1)
        assert half_done(one.session_id) == []


def test_between_using_it_and_asking_again_one_comes_first(asking: Any, opened: Any) -> None:
    for _ in ROUNDS:
        one = cart_of(opened)
        asked = granted(one)

        used, again = at_once([partial(CHECKOUT, one), partial(ask, one)])

        assert status(asked) in ("used", "void"), (used, again)
        assert isinstance(used, Answer) is (status(asked) == "used")
        assert not isinstance(again, Exception), again
        assert half_done(one.session_id) == []


def test_of_several_questions_one_is_open(asking: Any, opened: Any) -> None:
    one = cart_of(opened)

    results = at_once([partial(ask, one)] * 4)

    assert not [result for result in results if isinstance(result, Exception)], results
    assert sorted(Approval.objects.values_list("status", flat=True)) == ["pending", "void", "void", "void"]
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("what", ["a yes", "a question"])
def test_the_end_leaves_nothing_open(asking: Any, opened: Any, what: str) -> None:
    for _ in ROUNDS:
        one = cart_of(opened)
        asked = ask(one)
        act = partial(services.grant_approval, asked.approval_id) if what == "a yes" else partial(ask, one)

        said, ended = at_once([act, partial(services.end_session, one.session_id)])

        assert not isinstance(ended, Exception), ended
        assert not isinstance(said, Exception) or isinstance(said, AgentSessionsError), said
        assert isinstance(said, ApprovalExpired | None) or what == "a question", said
        rows = Approval.objects.filter(session_id=one.session_id)
        assert not rows.exclude(status__in=["expired", "void"]).exists()
        assert kinds(one)[-2:] == ["approval.expired", "session.ended"]
        assert half_done(one.session_id) == []


def test_every_attempt_that_fails_is_counted(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)

    results = at_once([partial(services.refuse_answer, asked.approval_id, cause="total")] * 8)

    left = sorted(result.attempts_left for result in results if isinstance(result, AnswerRefused))
    assert left == [0, 1, 2, 3, 4], results
    assert (stored(asked).attempts, status(asked)) == (5, "rejected")
    assert half_done(one.session_id) == []


def test_two_runs_of_the_job_close_each_once(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    sessions = [cart_of(opened) for _ in range(3)]
    for one in sessions:
        ask(one)
    clock.shift(300)

    results: Any = at_once([services.expire_approvals] * 3)

    assert sum(results) == 3, results
    assert all(kinds(one).count("approval.expired") == 1 for one in sessions)
    assert all(half_done(one.session_id) == [] for one in sessions)


def test_at_the_deadline_the_job_and_the_sessions_end_close_it_once(asking: Any, opened: Any, clock: Any) -> None:
    one = cart_of(opened)
    ask(one)
    clock.shift(1800)

    at_once([services.expire_approvals, services.expire_sessions, services.expire_sessions])

    assert kinds(one)[-2:] == ["approval.expired", "session.ended"]
    assert kinds(one).count("approval.expired") == 1
    assert half_done(one.session_id) == []
