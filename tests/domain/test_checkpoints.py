"""What is written of a step, and what holds whatever fails, crashes, reports late or turns back the clock (R1, R2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.domain.checkpoints import end_patch, start_patch
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.state import check_shape
from agent_sessions.domain.steps import NextAction, StepRule, next_step
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import InvalidValue, StepRefused

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PAYMENT = StepRule(
    name="payment",
    methods=("card", "paypal"),
    max_attempts=4,
    retry_codes=("timeout",),
    backoff_seconds=10,
    timeout_seconds=30,
)
PACKING = StepRule(name="packing", on_unknown="retry")


@dataclass
class Work:
    """A session's steps, changed by patches as a service would."""

    rules: tuple[StepRule, ...] = (PAYMENT, PACKING)
    now: datetime = NOW
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def recovery(self) -> dict[str, Any]:
        return self.state.get("recovery", {})

    @property
    def steps(self) -> dict[str, Any]:
        return self.recovery.get("steps", {})

    def start(self, name: str = "payment", method: str = "") -> dict[str, Any]:
        return self._apply(start_patch(self.rules, self.steps, name, now=self.now, method=method), name)

    def end(self, outcome: Any, code: str = "", attempt: int | None = None, name: str = "payment") -> dict[str, Any]:
        patch = end_patch(self.rules, self.steps, name, outcome, now=self.now, code=code, attempt=attempt)
        return self._apply(patch, name)

    def next(self) -> NextAction:
        return next_step(self.rules, self.steps, self.now)

    def later(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    def _apply(self, patch: Any, name: str) -> dict[str, Any]:
        check_patch(patch)
        self.state = apply_patch(self.state, patch)
        check_shape(patch, self.state)
        return self.steps[name]


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(StepRefused) as error:
        call(*arguments, **named)
    return error.value.message


def test_a_step_from_its_start_to_its_end():
    work = Work()
    assert work.start() == {
        "outcome": "started",
        "attempt": 1,
        "started_at": "2026-03-02T10:00:00.000000Z",
        "method": "card",
    }
    assert work.recovery["next"] == "payment"
    work.later(2)
    assert work.end("done") == {
        "outcome": "done",
        "attempt": 1,
        "started_at": "2026-03-02T10:00:00.000000Z",
        "ended_at": "2026-03-02T10:00:02.000000Z",
        "method": "card",
    }
    assert work.recovery["next"] == "packing"
    assert work.start("packing")["outcome"] == "started"
    assert "method" not in work.steps["packing"]
    work.end("done", name="packing")
    assert work.recovery.keys() == {"steps"}


def test_a_failure_leaves_what_was_tried_and_the_retry_rule_in_force():
    """S5."""
    work = Work()
    work.start()
    assert work.end("failed", "timeout")["tried"] == {"card": "timeout"}
    retry = {"rule": "same_method", "step": "payment", "attempts_left": 3}
    assert work.recovery["retry"] == retry | {"not_before": "2026-03-02T10:00:10.000000Z"}
    work.later(10)
    step = work.start()
    assert (step["attempt"], step["method"]) == (2, "card")
    assert step.keys() == {"outcome", "attempt", "started_at", "method", "tried"}
    assert "retry" not in work.recovery
    work.end("failed", "declined")
    assert work.recovery["retry"] == {"rule": "next_method", "step": "payment", "attempts_left": 2}
    assert work.start()["method"] == "paypal"
    assert work.end("failed", "declined")["tried"] == {"card": "declined", "paypal": "declined"}
    assert (work.next().action, work.recovery["next"]) == ("escalate", "payment")
    assert "retry" not in work.recovery


def test_the_caller_may_take_any_method_that_was_not_tried():
    work = Work()
    assert work.start(method="paypal")["method"] == "paypal"
    work.end("failed", "declined")
    assert "Use card." in refused(work.start, method="paypal")
    assert "Use card." in refused(work.start, method="cash")
    assert work.start()["method"] == "card"


def test_after_a_retry_code_another_method_may_be_taken():
    work = Work()
    work.start()
    work.end("failed", "timeout")
    work.later(10)
    assert "card or paypal" in refused(work.start, method="cash")
    assert work.start(method="paypal")["method"] == "paypal"


def test_a_step_without_methods_is_told_so():
    assert "It has no methods" in refused(Work().start, "packing", method="card")


def test_what_runs_or_may_have_gone_through_is_not_started_again():
    """R2: the same payment is never made twice."""
    work = Work()
    work.start()
    assert "is being run" in refused(work.start)
    work.later(30)
    assert "outcome unknown. Ask" in refused(work.start)
    assert "outcome unknown. Ask" in refused(work.start, method="paypal")
    work.end("done")
    assert "is done" in refused(work.start)


def test_an_unknown_outcome_is_repeated_the_same_way_only():
    work = Work(rules=(StepRule(name="payment", methods=("card", "paypal"), on_unknown="retry"),))
    work.start()
    work.later(60)
    assert "Use card." in refused(work.start, method="paypal")
    step = work.start()
    assert (step["method"], step["attempt"], step["started_at"]) == ("card", 2, "2026-03-02T10:01:00.000000Z")


def test_the_answer_of_the_provider_ends_a_step_of_unknown_outcome():
    work = Work()
    work.start()
    work.later(3600)
    assert work.next().action == "ask"
    work.end("failed", "never_arrived", attempt=1)
    assert (work.next().action, work.next().method) == ("run", "paypal")


def overtaken() -> Work:
    """Attempt 1 took so long that attempt 2 was started."""
    work = Work()
    work.start("packing")
    work.later(60)
    work.start("packing")
    return work


def test_a_late_failure_is_not_taken_for_the_attempt_that_runs():
    work = overtaken()
    for outcome, code in (("failed", "timeout"), ("skipped", "")):
        assert "started at attempt 2" in refused(work.end, outcome, code, 1, "packing")
    assert work.steps["packing"]["outcome"] == "started"


def test_a_late_success_counts_and_cannot_be_undone():
    """What is done is not to be done again, whoever reports it."""
    work = overtaken()
    done = {"outcome": "done", "attempt": 1, "ended_at": "2026-03-02T10:01:00.000000Z"}
    assert work.end("done", attempt=1, name="packing") == done
    for outcome, code in (("failed", "timeout"), ("done", "")):
        assert "is done at attempt 1. Nothing was recorded" in refused(work.end, outcome, code, 2, "packing")
    assert "is done" in refused(work.start, "packing")


def test_success_counts_also_after_the_step_was_given_up():
    work = Work()
    work.start()
    work.end("failed", "declined")
    assert work.end("done", attempt=1)["outcome"] == "done"
    assert "code" not in work.steps["payment"]
    assert work.steps["payment"]["tried"] == {"card": "declined"}


@pytest.mark.parametrize(("outcome", "code"), [("done", ""), ("failed", "declined"), ("skipped", "")])
def test_an_end_that_is_reported_twice_changes_nothing(outcome, code):
    work = Work()
    work.start()
    work.end(outcome, code)
    work.later(5)
    for attempt in (None, 1):
        assert end_patch(work.rules, work.steps, "payment", outcome, now=work.now, code=code, attempt=attempt) == {}


@pytest.mark.parametrize("attempt", [None, 1])
@pytest.mark.parametrize(("first", "second"), [("done", "skipped"), ("skipped", "done"), ("done", "failed")])
def test_what_is_finished_stays_as_it_is(first, second, attempt):
    """R2."""
    work = Work()
    work.start()
    step = work.end(first)
    assert f"It is {first}" in refused(work.end, second, "x" if second == "failed" else "", attempt)
    assert work.steps["payment"] == step


def test_a_step_that_was_started_at_no_known_time_can_end():
    work = Work(state={"recovery": {"steps": {"payment": {"outcome": "started", "method": "card"}}}})
    assert work.end("done")["ended_at"] == "2026-03-02T10:00:00.000000Z"


def test_a_step_can_be_skipped_without_a_start_and_after_it_was_given_up():
    work = Work()
    assert work.end("skipped") == {"outcome": "skipped", "ended_at": "2026-03-02T10:00:00.000000Z"}
    assert end_patch(work.rules, work.steps, "payment", "skipped", now=NOW) == {}
    work.start("packing")
    work.end("failed", "lost", name="packing")
    assert work.next().action == "escalate"
    assert work.end("skipped", name="packing")["outcome"] == "skipped"
    assert work.next().action == "none"


@pytest.mark.parametrize(("outcome", "code", "attempt"), [("done", "", None), ("failed", "x", 1), ("skipped", "", 1)])
def test_nothing_ends_that_was_not_started(outcome, code, attempt):
    assert "has not been started" in refused(Work().end, outcome, code, attempt)


@pytest.mark.parametrize("attempt", [-1, 0, 2])
@pytest.mark.parametrize(("outcome", "code"), [("done", ""), ("failed", "x"), ("skipped", "")])
def test_an_attempt_that_there_was_not_cannot_end(outcome, code, attempt):
    work = Work()
    work.start()
    assert "Nothing was recorded" in refused(work.end, outcome, code, attempt)


def test_a_second_failure_of_one_attempt_is_refused():
    work = Work()
    work.start()
    work.end("failed", "declined")
    assert "is failed at attempt 1" in refused(work.end, "failed", "timeout")


@pytest.mark.parametrize(
    ("outcome", "code", "path"),
    [
        ("started", "", "/outcome"),
        ("unknown", "", "/outcome"),
        ("failed", "", "/code"),
        ("done", "declined", "/code"),
        ("skipped", "declined", "/code"),
        ("failed", "the card of Ada", "/code"),
        ("failed", "x" * 65, "/code"),
        ("failed", "x\n", "/code"),
    ],
)
def test_what_does_not_say_how_it_ended_is_refused(outcome, code, path):
    work = Work()
    work.start()
    with pytest.raises(InvalidValue) as error:
        work.end(outcome, code)
    assert error.value.path == path
    assert not code or code not in error.value.message


def test_a_step_without_a_rule_is_neither_started_nor_skipped():
    for call in (Work().start, lambda name: Work().end("skipped", name=name)):
        with pytest.raises(InvalidValue, match="There is one for: payment, packing"):
            call("secret-4111")
    with pytest.raises(InvalidValue, match="There is one for: none"):
        Work(rules=()).start()


def test_a_step_that_runs_can_end_when_its_rule_is_gone():
    """The settings may change while a payment is under way."""
    work = Work()
    work.start()
    work.rules = (PACKING,)
    work.end("failed", "declined")
    assert (work.next().action, work.recovery["next"]) == ("escalate", "payment")
    assert work.end("done")["outcome"] == "done"
    assert work.recovery["next"] == "packing"


def test_a_clock_that_was_turned_back_makes_no_negative_duration():
    work = Work()
    work.start()
    work.later(-5)
    assert work.end("done")["ended_at"] == "2026-03-02T10:00:00.000000Z"


def test_a_time_needs_its_offset():
    with pytest.raises(ValueError, match="offset from UTC"):
        Work(now=NOW.replace(tzinfo=None)).start()


CODES = ("timeout", "busy", "declined", "fraud")
METHODS = ("card", "paypal", "invoice")


@st.composite
def rules(draw: st.DrawFn, name: str = "payment") -> StepRule:
    methods = tuple(draw(st.lists(st.sampled_from(METHODS), unique=True)))
    backoff = draw(st.integers(0, 20))
    codes = st.lists(st.sampled_from((*CODES, "*", "t*")), max_size=2).map(tuple)
    return StepRule(
        name=name,
        methods=methods,
        on_unknown=draw(st.sampled_from(["ask", "retry", "escalate"])),
        max_attempts=draw(st.integers(max(1, len(methods)), 6)),
        retry_codes=draw(codes),
        fatal_codes=draw(codes),
        backoff_seconds=backoff,
        max_backoff_seconds=backoff + draw(st.integers(0, 40)),
        timeout_seconds=draw(st.integers(1, 60)),
    )


def events() -> st.SearchStrategy[tuple[Any, ...]]:
    """What may befall two steps: sensible or not, on time or late, with clocks that run both ways."""
    name = st.sampled_from(["payment", "packing"])
    ends = st.sampled_from([*(("failed", code) for code in CODES), ("done", ""), ("skipped", "")])
    follow = st.tuples(st.just("follow"), ends)
    later = st.tuples(st.just("later"), st.integers(-50, 200))
    return st.one_of(
        follow,
        follow,
        later,
        later,
        st.tuples(st.just("later"), st.integers(-(10**8), 10**8)),
        st.tuples(st.just("start"), name, st.sampled_from(["", *METHODS])),
        st.tuples(st.just("end"), name, ends, st.none() | st.integers(0, 6)),
    )


@settings(max_examples=200)
@given(rules(), rules("packing"), st.lists(events(), min_size=10, max_size=40))
def test_whatever_happens(payment, packing, history):
    """No finished step runs, no declined method is taken, no attempt is one too many, and someone always knows."""
    work = Work(rules=(payment, packing))
    by_name = {rule.name: rule for rule in work.rules}
    declined: dict[str, set[str]] = {name: set() for name in by_name}
    starts = dict.fromkeys(by_name, 0)
    for kind, *arguments in history:
        before, told = copy.deepcopy(work.steps), work.next()
        if kind == "follow":
            kind, arguments = what_is_told(told, *arguments)
        try:
            if kind == "later":
                work.later(*arguments)
            elif kind == "start":
                name, method = arguments
                step = work.start(name, method)
                starts[name] += 1
                assert starts[name] == step["attempt"] <= by_name[name].max_attempts
                assert step.get("method", "") in (by_name[name].methods or ("",))
                assert step.get("method") not in declined[name]
                assert before.get(name, {}).get("outcome") not in ("done", "skipped")
            elif kind == "end":
                name, (outcome, code), attempt = arguments
                step = work.end(outcome, code, attempt, name)
                assert step["outcome"] == outcome
                if code and not matches(code, by_name[name].retry_codes) and step.get("method"):
                    declined[name].add(step["method"])
        except StepRefused:
            assert work.steps == before
            assert arguments != [told.step, told.method] or told.action != "run", "what is proposed is allowed"
        for name, step in before.items():
            assert step["outcome"] not in ("done", "skipped") or work.steps[name] == step
        check_told(work, declined)


def what_is_told(told: NextAction, end: tuple[str, str]) -> tuple[str, list[Any]]:
    if told.action == "run":
        return "start", [told.step, told.method]
    return ("end", [told.step, end, None]) if told.action in ("ask", "wait") else ("nothing", [])


def matches(code: str, patterns: tuple[str, ...]) -> bool:
    return bool({code, "*", code[0] + "*"} & {*patterns})


def check_told(work: Work, declined: dict[str, set[str]]) -> None:
    told = work.next()
    unfinished = [
        rule for rule in work.rules if work.steps.get(rule.name, {}).get("outcome") not in ("done", "skipped")
    ]
    assert told.reason
    assert (told.action == "none") == (not unfinished)
    if not unfinished:
        return
    rule = unfinished[0]
    assert told.step == rule.name
    if told.action == "run":
        assert told.method not in declined[rule.name]
    longest = max(rule.timeout_seconds, rule.max_backoff_seconds)
    assert (told.not_before is not None) == (told.action == "wait")
    if told.not_before is not None:
        assert timedelta(0) < told.not_before - work.now <= timedelta(seconds=2 * longest)


@given(rules(), st.lists(st.sampled_from(["crash", *CODES]), min_size=10, max_size=10))
def test_who_follows_the_rules_comes_to_an_end(rule, outcomes):
    """Waiting as long as told, asking when told, running what is told: at last it escalates, and nothing is refused."""
    work = Work(rules=(rule,))
    for outcome in outcomes:
        while (told := work.next()).action == "wait":
            work.now = told.not_before
        if told.action == "ask":
            work.end("failed", "never_arrived")
        elif told.action == "run":
            work.start(method=told.method)
            if outcome != "crash":
                work.end("failed", outcome)
    while (told := work.next()).action == "wait":
        work.now = told.not_before
    assert told.action in ("escalate", "ask")
    assert work.steps[rule.name]["attempt"] <= rule.max_attempts
