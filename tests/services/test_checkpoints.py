"""A step is durable before it is carried out, is never done twice, and goes on by its rule (R1, R2, S5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.exceptions import (
    InvalidValue,
    NoStore,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionPaused,
    StepRefused,
    VersionConflict,
)
from agent_sessions.models import Checkpoint
from agent_sessions.services import OpenedSession, RunningStep, StepFailed
from tests.faults.support import at_once, half_done
from tests.services import working
from tests.shopping import basket, line
from tests.store.calling import head, last_event, state

pytestmark = pytest.mark.django_db

STAFF = Actor("staff", "17")


class Cut(Exception):
    """Stands for whatever keeps a step from telling how it went."""


@pytest.fixture
def one(opened: Callable[..., OpenedSession], configure: Callable[..., None], clock: Any) -> OpenedSession:
    configure(STEPS=working.PATH)
    return opened()


def begin(session: OpenedSession, name: str = "payment", **facts: Any) -> RunningStep:
    return services.start_step(session.session_id, name, **facts)


def finish(session: OpenedSession, outcome: Any = "done", code: str = "", name: str = "payment", **facts: Any) -> Any:
    return services.finish_step(session.session_id, name, outcome=outcome, code=code, **facts)


def listed(session: OpenedSession) -> list[tuple[str, str, int, str, str]]:
    told = selectors.checkpoints(session.session_id)
    return [(one.step, one.method, one.attempt, one.outcome, one.code) for one in told]


def recovery(session: OpenedSession) -> dict[str, Any]:
    found: dict[str, Any] = state(session)["recovery"]
    return found


def way_on(session: OpenedSession) -> tuple[str, str, str]:
    action = selectors.next_step(session.session_id)
    return action.action, action.step, action.method


# Carrying a step out


def test_a_step_is_written_down_before_and_after_it_is_carried_out(one: OpenedSession) -> None:
    """R1: as started, with method, attempt and time; then with its outcome."""
    with services.step(one.session_id, "payment") as payment:
        assert recovery(one)["steps"]["payment"] == {
            "outcome": "started", "attempt": 1, "started_at": "2026-03-02T10:00:00.000000Z", "method": "card",
        }  # fmt: skip
        assert last_event(one)["kind"] == "step.started"
        assert (payment.name, payment.method, payment.attempt, payment.version) == ("payment", "card", 1, 2)
        assert payment.key == f"{one.session_id}:payment:1"

    done = recovery(one)["steps"]["payment"]
    assert (done["outcome"], done["ended_at"]) == ("done", "2026-03-02T10:00:00.000000Z")
    event = last_event(one)
    assert (event["kind"], event["params"]) == ("step.done", {"step": "payment", "attempt": 1, "committed_version": 3})
    [checkpoint] = selectors.checkpoints(one.session_id)
    assert (checkpoint.version, checkpoint.ended_version) == (2, 3)
    assert (checkpoint.started_at, checkpoint.ended_at) == (checkpoint.started_at, checkpoint.started_at)
    assert listed(one) == [("payment", "card", 1, "done", "")]
    assert half_done(one.session_id) == []


@pytest.mark.django_db(transaction=True)
def test_that_it_was_started_is_durable_while_it_runs(
    opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    """R1: another connection sees it."""
    configure(STEPS=working.PATH)
    session = opened()
    with services.step(session.session_id, "payment"):
        [seen] = at_once([lambda: recovery(session)["steps"]["payment"]["outcome"]])
        assert seen == "started"
        assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_a_step_is_not_carried_out_inside_a_transaction(
    opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    """R1: what rolls back would take the record with it."""
    configure(STEPS=working.PATH)
    session = opened()
    with pytest.raises(RuntimeError), transaction.atomic(), services.step(session.session_id, "payment"):
        raise AssertionError("It must not be carried out.")
    assert head(session).version == 1


def test_a_failure_is_written_down_with_its_code_and_passed_on(one: OpenedSession) -> None:
    """R1, S5: the rule then says what is next."""
    with pytest.raises(StepFailed), services.step(one.session_id, "payment"):
        raise StepFailed("insufficient_funds")

    assert listed(one) == [("payment", "card", 1, "failed", "insufficient_funds")]
    assert last_event(one)["params"] == {"step": "payment", "attempt": 1, "code": "insufficient_funds"}
    assert recovery(one)["retry"] == {"rule": "next_method", "step": "payment", "attempts_left": 3}
    assert way_on(one) == ("run", "payment", "paypal")
    assert half_done(one.session_id) == []


def test_after_any_other_exception_nobody_knows_how_far_it_got(one: OpenedSession, clock: Any) -> None:
    """R2: it stays started, and when its time is over the rule asks."""
    with pytest.raises(Cut), services.step(one.session_id, "payment"):
        raise Cut

    assert listed(one) == [("payment", "card", 1, "started", "")]
    assert way_on(one) == ("wait", "payment", "card")
    clock.shift(60)
    assert way_on(one) == ("ask", "payment", "card")
    with pytest.raises(StepRefused, match="outcome unknown"):
        begin(one)


@pytest.mark.parametrize("code", ["", "not one word", "x" * 65, None, 7])
def test_a_code_that_cannot_be_written_down_is_refused_where_it_is_raised(code: Any) -> None:
    with pytest.raises(InvalidValue):
        StepFailed(code)


def test_a_finished_step_is_not_run_again(one: OpenedSession) -> None:
    """R2"""
    with services.step(one.session_id, "payment"):
        pass
    with pytest.raises(StepRefused, match="done"), services.step(one.session_id, "payment"):
        raise AssertionError("It must not be carried out.")
    assert head(one).version == 3
    assert way_on(one) == ("run", "packing", "")


def test_a_step_that_runs_is_not_started_again(one: OpenedSession) -> None:
    """R2"""
    begin(one)
    with pytest.raises(StepRefused, match="being run"):
        begin(one, method="paypal")
    assert head(one).version == 2


def test_a_declined_method_is_not_taken_again(one: OpenedSession) -> None:
    """R2: nor is there a third way when both have failed; then a person is asked, once (S5)."""
    begin(one)
    finish(one, "failed", "card_expired")
    with pytest.raises(StepRefused, match="Use paypal"):
        begin(one, method="card")
    assert begin(one).method == "paypal"
    finish(one, "failed", "account_closed")

    assert way_on(one)[0] == "escalate"
    [pending] = recovery(one)["interventions"].values()
    assert (pending["kind"], pending["since"]) == ("step", "2026-03-02T10:00:00.000000Z")
    assert "no method is left" in pending["reason"]
    with pytest.raises(StepRefused):
        begin(one)
    finish(one, "skipped", actor=STAFF)
    assert recovery(one)["interventions"] == {}
    assert way_on(one) == ("run", "packing", "")
    assert half_done(one.session_id) == []


def test_a_passing_failure_is_tried_again_the_same_way_after_a_while_and_not_for_ever(
    one: OpenedSession, clock: Any
) -> None:
    """R2: back-off doubles, and a person is asked when the attempts are used up."""
    for attempt, pause in ((1, 10), (2, 20), (3, 40)):
        assert begin(one).attempt == attempt
        finish(one, "failed", "timeout_upstream")
        with pytest.raises(StepRefused, match="later"):
            begin(one)
        clock.shift(pause - 1)
        assert way_on(one)[0] == "wait"
        clock.shift(1)
        assert way_on(one) == ("run", "payment", "card")
    begin(one)
    finish(one, "failed", "timeout_upstream")
    assert way_on(one)[0] == "escalate"
    assert [number for _, _, number, *_ in listed(one)] == [1, 2, 3, 4]


def test_a_fatal_failure_is_put_before_a_person(one: OpenedSession) -> None:
    begin(one)
    finish(one, "failed", "stolen")
    assert way_on(one)[0] == "escalate"
    assert len(recovery(one)["interventions"]) == 1


def test_a_step_is_skipped_without_being_started(one: OpenedSession) -> None:
    """R1: a checkpoint says so."""
    finish(one, "skipped", name="notice")
    assert listed(one) == [("notice", "", 1, "skipped", "")]
    with pytest.raises(StepRefused):
        begin(one, "notice")
    assert half_done(one.session_id) == []


def test_what_is_not_started_is_not_done(one: OpenedSession) -> None:
    for outcome, code in (("done", ""), ("failed", "declined")):
        with pytest.raises(StepRefused, match="not been started"):
            finish(one, outcome, code)
    assert head(one).version == 1


@pytest.mark.parametrize(("outcome", "code"), [("done", "x"), ("failed", ""), ("failed", "a b"), ("started", "")])
def test_an_outcome_that_makes_no_sense_is_refused(one: OpenedSession, outcome: Any, code: str) -> None:
    begin(one)
    with pytest.raises(InvalidValue):
        finish(one, outcome, code)
    assert listed(one) == [("payment", "card", 1, "started", "")]


def test_a_step_without_a_rule_is_not_started(one: OpenedSession) -> None:
    with pytest.raises(InvalidValue, match="STEPS"):
        begin(one, "dispatch")


def test_a_step_whose_rule_is_gone_can_still_be_finished(one: OpenedSession, configure: Callable[..., None]) -> None:
    """R2: until then it comes before everything else, and a person has to decide."""
    begin(one)
    configure(STEPS="tests.services.working.WITHOUT_PAYMENT")
    assert way_on(one)[:2] == ("escalate", "payment")
    finish(one)
    assert listed(one) == [("payment", "card", 1, "done", "")]
    assert way_on(one)[:2] == ("run", "packing")


def test_rules_that_cannot_be_read_stop_the_step_and_not_silently(
    one: OpenedSession, configure: Callable[..., None]
) -> None:
    configure(STEPS="tests.services.working.nowhere")
    with pytest.raises(NoStore):
        begin(one)


# Known already, late, and from elsewhere


def test_an_outcome_that_is_known_is_not_written_again(one: OpenedSession) -> None:
    begin(one)
    assert finish(one) is not None
    assert finish(one) is None
    assert head(one).version == 3


def test_an_attempt_that_was_given_up_and_reports_late_counts_if_it_succeeded(one: OpenedSession, clock: Any) -> None:
    """R2: what is done is not to be done again; the attempt that runs is closed when its own outcome is known."""
    begin(one)
    finish(one, "failed", "timeout")
    clock.shift(10)
    begin(one)
    with pytest.raises(StepRefused):
        finish(one, "failed", "declined", attempt=1)
    finish(one, attempt=1)

    assert recovery(one)["steps"]["payment"]["outcome"] == "done"
    assert [row[2:4] for row in listed(one)] == [(1, "done"), (2, "started")]
    with pytest.raises(StepRefused, match="done"):
        finish(one, attempt=2)
    assert half_done(one.session_id) == []


def test_other_parts_of_the_state_change_in_the_same_version(one: OpenedSession) -> None:
    note = {"method": "card", "outcome": "started", "amount": 1250, "currency": "EUR"}
    begin(one, patch={"decisions": {"payments": {"p1": note}}})
    made = finish(one, "failed", "declined", patch={"decisions": {"payments": {"p1": {"outcome": "declined"}}}})
    after = selectors.state_at_version(one.session_id, made.version).state
    assert after["decisions"]["payments"]["p1"]["outcome"] == "declined"
    assert after["recovery"]["steps"]["payment"]["outcome"] == "failed"


def test_what_the_step_itself_writes_cannot_be_changed_beside_it(one: OpenedSession) -> None:
    with pytest.raises(InvalidValue):
        begin(one, patch={"recovery": {"steps": {}}})
    assert head(one).version == 1


def test_an_expected_version_is_held_to(one: OpenedSession) -> None:
    services.change_session(one.session_id, expected_version=1, patch=basket(l1=line()))
    with pytest.raises(VersionConflict) as conflict:
        begin(one, expected_version=1)
    assert [change.path for change in conflict.value.changes] == ["/shopping/lines/l1"]
    assert begin(one, expected_version=2).version == 3


def test_it_commits_the_cart_where_its_rule_says_so(one: OpenedSession) -> None:
    """V6"""
    begin(one)
    finish(one, "failed", "declined")
    assert head(one).committed_version == 0
    begin(one)
    made = finish(one)
    assert head(one).committed_version == made.version
    begin(one, "packing")
    finish(one, name="packing")
    assert head(one).committed_version == made.version
    assert half_done(one.session_id) == []


# Sessions that take no changes


def test_a_paused_session_starts_nothing_and_learns_what_became_of_what_runs(one: OpenedSession) -> None:
    begin(one)
    services.pause_session(one.session_id)
    with pytest.raises(SessionPaused):
        begin(one, "packing")
    with pytest.raises(SessionPaused):
        finish(one, "skipped", name="packing")
    finish(one)
    assert listed(one) == [("payment", "card", 1, "done", "")]
    services.resume_session(one.session_id)
    assert half_done(one.session_id) == []


def test_an_agent_starts_nothing_while_a_person_has_the_session(one: OpenedSession) -> None:
    begin(one, actor=AGENT)
    services.hand_over(one.session_id, to=STAFF, actor=AGENT)
    with pytest.raises(SessionHeld):
        begin(one, "packing", actor=AGENT)
    finish(one, actor=AGENT)
    assert begin(one, "packing", actor=STAFF).attempt == 1


def test_what_becomes_of_a_step_after_the_end_is_never_silence(
    one: OpenedSession, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: the history takes no more; the checkpoint and the log have it."""
    begin(one)
    clock.shift(31 * 60)
    before = head(one).head_seq
    with pytest.raises(SessionExpired):
        finish(one)
    assert head(one).head_seq == before
    assert listed(one) == [("payment", "card", 1, "done", "")]
    assert selectors.checkpoints(one.session_id)[0].ended_version is None
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "payment (attempt 1)" in told.getMessage()
    assert str(one.session_id) in told.getMessage()


def test_what_was_known_before_the_end_is_no_news_after_it(
    one: OpenedSession, caplog: pytest.LogCaptureFixture
) -> None:
    begin(one)
    finish(one)
    services.end_session(one.session_id)
    assert finish(one) is None
    with pytest.raises(SessionEnded):
        begin(one, "packing")
    assert caplog.records == []


# Races


@pytest.mark.django_db(transaction=True)
def test_of_many_who_start_a_step_at_once_one_runs_it(
    opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    """R2: exact, on every database."""
    configure(STEPS=working.PATH)
    session = opened()
    carried_out: list[int] = []

    def run() -> None:
        with services.step(session.session_id, "payment") as payment:
            carried_out.append(payment.attempt)

    results = at_once([run] * 6)
    assert carried_out == [1], results
    assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["StepRefused"] * 5, results
    assert listed(session) == [("payment", "card", 1, "done", "")]
    assert half_done(session.session_id) == []


@pytest.mark.django_db(transaction=True)
def test_many_who_report_the_same_outcome_write_it_once(
    opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    configure(STEPS=working.PATH)
    session = opened()
    begin(session)
    results = at_once([lambda: finish(session)] * 6)
    assert sum(result is not None for result in results) == 1, results
    assert not any(isinstance(result, Exception) for result in results), results
    assert head(session).version == 3
    assert half_done(session.session_id) == []


@pytest.mark.django_db(transaction=True)
def test_steps_go_on_while_the_agent_changes_the_cart(
    opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    configure(STEPS=working.PATH)
    session = opened()

    def shop() -> None:
        for number in range(5):
            while True:
                try:
                    services.change_session(
                        session.session_id,
                        expected_version=head(session).version,
                        patch=basket(**{f"l{number}": line()}),
                    )
                    break
                except VersionConflict:
                    continue

    def work() -> None:
        for name in ("payment", "packing", "notice"):
            with services.step(session.session_id, name):
                pass

    results = at_once([shop, work])
    assert results == [None, None]
    assert head(session).version == 1 + 5 + 6
    assert [row[3] for row in listed(session)] == ["done"] * 3
    assert half_done(session.session_id) == []


# Endpoints


def test_endpoints_that_failed_are_noted_until_they_work_again(one: OpenedSession, clock: Any) -> None:
    """S5: how often in a row, with the last code."""
    services.note_endpoint_failure(one.session_id, "provider", code="timeout")
    clock.shift(5)
    services.note_endpoint_failure(one.session_id, "provider", code="http_503")
    assert recovery(one)["endpoints"] == {
        "provider": {"failures": 2, "code": "http_503", "last_at": "2026-03-02T10:00:05.000000Z"}
    }
    services.pause_session(one.session_id)
    assert services.note_endpoint_success(one.session_id, "provider") is not None
    assert services.note_endpoint_success(one.session_id, "provider") is None
    assert recovery(one)["endpoints"] == {}
    with pytest.raises(InvalidValue):
        services.note_endpoint_failure(one.session_id, "provider", code="what it said")
    assert half_done(one.session_id) == []


def test_a_page_of_checkpoints(one: OpenedSession) -> None:
    """R1"""
    for name in ("payment", "packing", "notice"):
        begin(one, name)
        finish(one, name=name)
    assert [row.number for row in selectors.checkpoints(one.session_id, after=1, limit=1)] == [2]
    assert Checkpoint.objects.count() == 3
