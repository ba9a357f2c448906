"""Steps that were started and not heard of again: asked about, left to be run again, or put before a person (R2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import SessionKey
from agent_sessions.services import OpenedSession
from tests.faults.support import at_once, half_done
from tests.services import working
from tests.services.working import SteppingShop
from tests.store.calling import head, state
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

NOTHING = {"asked": 0, "escalated": 0, "left": 0, "late": 0, "failed": 0}


@pytest.fixture
def asked(configure: Callable[..., None], shop: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that the store was asked about."""
    configure(STORE="tests.services.working.SteppingShop", STEPS=working.PATH)
    monkeypatch.setattr(SteppingShop, "asked", keys := [])
    monkeypatch.setattr(SteppingShop, "answer", staticmethod(lambda _: None))
    return keys


@pytest.fixture
def one(opened: Callable[..., OpenedSession], asked: list[str], clock: Any) -> OpenedSession:
    return opened()


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> None:
    monkeypatch.setattr(SteppingShop, "answer", staticmethod(answer))


def crashed(session: OpenedSession, clock: Any, name: str = "payment") -> OpenedSession:
    """A session whose step was cut off a minute ago."""
    services.start_step(session.session_id, name)
    clock.shift(60)
    return session


def resolve(**done: int) -> bool:
    return services.resolve_unknown_steps() == {**NOTHING, **done}


def outcomes(session: OpenedSession) -> list[tuple[int, str, str]]:
    return [(one.attempt, one.outcome, one.code) for one in selectors.checkpoints(session.session_id)]


def kinds(session: OpenedSession) -> list[Any]:
    return [event["kind"] for event in selectors.events(session.session_id)][1:]


def interventions(session: OpenedSession) -> dict[str, Any]:
    found: dict[str, Any] = state(session)["recovery"].get("interventions", {})
    return found


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(("outcome", "code"), [("done", ""), ("failed", "card_expired"), ("failed", "not_carried_out")])
def test_the_store_is_asked_and_what_it_says_is_written_down(
    one: OpenedSession, asked: list[str], clock: Any, monkeypatch: pytest.MonkeyPatch, outcome: str, code: str
) -> None:
    """R2: a crash in the middle of a payment; the store knows it by the key that the provider was given."""
    answering(monkeypatch, lambda _: (outcome, code))
    crashed(one, clock)
    assert resolve(asked=1)

    assert asked == [f"{one.session_id}:payment:1"]
    assert outcomes(one) == [(1, outcome, code)]
    assert state(one)["recovery"]["steps"]["payment"]["outcome"] == outcome
    before = everything_stored()
    assert resolve()
    assert everything_stored() == before
    assert half_done(one.session_id) == []


def test_nobody_is_asked_before_an_answer_is_due(one: OpenedSession, asked: list[str], clock: Any) -> None:
    services.start_step(one.session_id, "payment")
    clock.shift(59)
    assert resolve()
    assert asked == []


def test_what_the_store_cannot_say_a_person_finds_out(one: OpenedSession, asked: list[str], clock: Any) -> None:
    """R2, S5: once, and no other method is taken meanwhile."""
    crashed(one, clock)
    assert resolve(escalated=1)
    assert resolve()

    assert kinds(one) == ["step.started", "step.escalated"]
    [pending] = interventions(one).values()
    assert (pending["kind"], pending["reason"]) == (
        "step", "Step payment, attempt 1: nobody knows what became of it.",
    )  # fmt: skip
    assert outcomes(one) == [(1, "unknown", "")]
    assert selectors.next_step(one.session_id).action == "ask"
    services.finish_step(one.session_id, "payment", outcome="done")
    assert (interventions(one), outcomes(one)) == ({}, [(1, "done", "")])
    assert half_done(one.session_id) == []


def test_a_store_without_the_feature_is_not_asked(one: OpenedSession, clock: Any, configure: Any) -> None:
    configure(STORE="tests.store.shop.Shop")
    crashed(one, clock)
    assert resolve(escalated=1)


def test_a_step_that_may_be_done_twice_is_left_to_whoever_runs_it(
    one: OpenedSession, asked: list[str], clock: Any
) -> None:
    """R2: it is noted once; the attempt that was not heard of stays unknown."""
    crashed(one, clock, "packing")
    assert resolve(left=1)
    assert resolve()
    assert (kinds(one), asked) == (["step.started", "step.outcome_unknown"], [])
    assert services.start_step(one.session_id, "packing").attempt == 2
    assert outcomes(one) == [(1, "unknown", ""), (2, "started", "")]

    clock.shift(60)
    assert resolve(escalated=1)
    assert len(interventions(one)) == 1
    assert half_done(one.session_id) == []


def test_a_step_by_whose_rule_a_person_decides_is_put_before_one(
    one: OpenedSession, asked: list[str], clock: Any
) -> None:
    crashed(one, clock, "notice")
    assert resolve(escalated=1)
    assert asked == []


def test_a_step_whose_rule_is_gone_is_put_before_a_person(one: OpenedSession, clock: Any, configure: Any) -> None:
    crashed(one, clock)
    configure(STEPS="tests.services.working.WITHOUT_PAYMENT")
    assert resolve(escalated=1)


def test_a_paused_session_is_told_too(one: OpenedSession, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed(one, clock)
    services.start_step(one.session_id, "notice")
    services.pause_session(one.session_id)
    clock.shift(60)
    answering(monkeypatch, lambda _: ("done", ""))
    assert resolve(asked=1, escalated=1)
    assert half_done(one.session_id) == []


def test_a_store_that_fails_is_asked_again_later_and_holds_up_no_other(
    opened: Callable[..., OpenedSession],
    asked: list[str],
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R2: what its error says is not logged."""
    first, second = opened(), opened()
    services.start_step(first.session_id, "payment")
    clock.shift(1)
    crashed(second, clock)

    def answer(key: str) -> Any:
        if str(first.session_id) in key:
            raise OSError("4111 1111 1111 1111")
        return "done", ""

    answering(monkeypatch, answer)
    assert services.resolve_unknown_steps(limit=1) == {**NOTHING, "failed": 1}
    assert services.resolve_unknown_steps(limit=1) == {**NOTHING, "asked": 1}
    assert resolve()
    assert ["OSError" in line and "4111" not in line for line in errors(caplog)] == [True]
    assert "4111" not in caplog.text
    answering(monkeypatch, lambda _: ("done", ""))
    clock.shift(60)
    assert resolve(asked=1)


@pytest.mark.parametrize("answer", [("maybe", ""), ("failed", ""), ("failed", "card 4111"), "done", 7])
def test_a_store_that_answers_nonsense_has_failed(
    one: OpenedSession, asked: list[str], clock: Any, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    answering(monkeypatch, lambda _: answer)
    crashed(one, clock)
    assert resolve(failed=1)
    assert outcomes(one) == [(1, "started", "")]


def test_after_the_end_of_the_session_the_store_is_asked_all_the_same(
    one: OpenedSession,
    asked: list[str],
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R2: money may have moved. The history takes no more; the log and the checkpoint have it."""
    services.start_step(one.session_id, "payment")
    services.end_session(one.session_id)
    clock.shift(60)
    answering(monkeypatch, lambda _: ("done", ""))
    before = head(one).head_seq
    assert resolve(late=1)
    assert resolve()

    assert head(one).head_seq == before
    assert outcomes(one) == [(1, "done", "")]
    [told] = errors(caplog)
    assert f"payment (attempt 1) of session {one.session_id} is done" in told
    assert half_done(one.session_id) == []


@pytest.mark.parametrize("name", ["payment", "packing", "notice"])
def test_after_the_end_what_nobody_knows_is_logged_once(
    one: OpenedSession, clock: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    services.start_step(one.session_id, name)
    clock.shift(31 * 60)
    assert resolve(late=1)
    assert resolve()
    assert outcomes(one) == [(1, "unknown", "")]
    assert len(errors(caplog)) == 1


def test_of_an_erased_session_what_nobody_knows_is_logged_once(
    one: OpenedSession, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    crashed(one, clock)
    services.end_session(one.session_id)
    SessionKey.objects.filter(pk=one.session_id).delete()
    assert resolve(late=1)
    assert resolve()
    assert len(errors(caplog)) == 1


def test_what_was_done_twice_is_put_before_a_person(
    one: OpenedSession, asked: list[str], clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2: an attempt that was given up has succeeded late, and the one that ran then has too."""
    services.start_step(one.session_id, "payment")
    services.finish_step(one.session_id, "payment", outcome="failed", code="timeout")
    clock.shift(10)
    services.start_step(one.session_id, "payment")
    services.finish_step(one.session_id, "payment", outcome="done", attempt=1)
    clock.shift(60)
    answering(monkeypatch, lambda _: ("done", ""))
    assert resolve(escalated=1)
    assert asked == [f"{one.session_id}:payment:2"]
    [pending] = interventions(one).values()
    assert "although another attempt was too" in pending["reason"]
    assert resolve()


def test_an_attempt_that_was_overtaken_and_failed_is_closed(
    one: OpenedSession, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.start_step(one.session_id, "payment")
    services.finish_step(one.session_id, "payment", outcome="failed", code="timeout")
    clock.shift(10)
    services.start_step(one.session_id, "payment")
    services.finish_step(one.session_id, "payment", outcome="done", attempt=1)
    clock.shift(60)
    answering(monkeypatch, lambda _: ("failed", "declined"))
    assert resolve(asked=1)
    assert outcomes(one) == [(1, "done", ""), (2, "failed", "declined")]
    assert state(one)["recovery"]["steps"]["payment"]["outcome"] == "done"


def test_a_longer_time_in_the_rule_is_waited_for(
    one: OpenedSession, asked: list[str], clock: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(one, clock)
    monkeypatch.setattr(working, "RULES", (working.StepRule(name="payment", timeout_seconds=90),), raising=True)
    monkeypatch.setattr(working, "PATIENT", working.RULES, raising=False)
    configure(STEPS="tests.services.working.PATIENT")
    assert resolve(left=1)
    assert asked == []
    clock.shift(60)
    assert resolve(escalated=1)
    assert len(asked) == 1


@pytest.mark.parametrize("limit", [0, -1, True, "5"])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.resolve_unknown_steps(limit=limit)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["payment", "packing", "notice"])
@pytest.mark.parametrize("answer", [("done", ""), None])
def test_jobs_that_run_at_once_do_it_once(
    opened: Callable[..., OpenedSession],
    asked: list[str],
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    answer: Any,
) -> None:
    answering(monkeypatch, lambda _: answer)
    sessions = [crashed(opened(), clock, name) for _ in range(3)]
    results = at_once([services.resolve_unknown_steps] * 4)
    assert not any(isinstance(result, Exception) for result in results), results
    assert sum(result["failed"] for result in results) == 0, results
    for session in sessions:
        assert len(kinds(session)) == 2, kinds(session)
        assert half_done(session.session_id) == []
    assert resolve()
