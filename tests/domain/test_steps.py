"""How a step goes on, as an example for every rule; what holds whatever happens is in test_checkpoints (R2, S5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import time_machine as clocks
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.steps import MAX_SECONDS, NextAction, StepRule, next_action, next_step, read_step
from agent_sessions.exceptions import InvalidValue

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PAYMENT = StepRule(
    name="payment",
    methods=("card", "paypal", "invoice"),
    max_attempts=5,
    retry_codes=("timeout*", "unavailable"),
    fatal_codes=("fraud*", "timeout_final"),
    backoff_seconds=10,
    max_backoff_seconds=60,
    timeout_seconds=30,
)
SHIPPING = StepRule(name="shipping", on_unknown="retry", max_attempts=2, retry_codes=("busy",))


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def started(seconds: float = 100, **fields: Any) -> dict[str, Any]:
    return {"outcome": "started", "started_at": ago(seconds), "method": "card", **fields}


def failed(code: str = "declined", seconds: float = 100, **fields: Any) -> dict[str, Any]:
    method = fields.setdefault("method", "card")
    tried = {method: code} if method else {}
    return {"outcome": "failed", "code": code, "ended_at": ago(seconds), "tried": tried, **fields}


def decide(rule: StepRule, stored: dict[str, Any] | None, now: datetime = NOW) -> NextAction:
    return next_action(rule, read_step(rule.name, stored), now)


def changed(rule: StepRule = PAYMENT, **fields: Any) -> StepRule:
    known = {name: getattr(rule, name) for name in StepRule.__dataclass_fields__}
    return StepRule(**known | fields)


RETRIED = changed(on_unknown="retry")
GONE_ON = {"method": "paypal", "tried": {"card": "declined", "paypal": "timeout"}, "attempt": 3}


@pytest.mark.parametrize(
    ("rule", "step", "action", "method"),
    [
        pytest.param(PAYMENT, None, "run", "card", id="never tried"),
        pytest.param(SHIPPING, None, "run", "", id="never tried, without methods"),
        pytest.param(PAYMENT, {"outcome": "done"}, "none", "", id="done"),
        pytest.param(PAYMENT, {"outcome": "skipped"}, "none", "", id="skipped"),
        pytest.param(PAYMENT, started(), "ask", "card", id="unknown, to be asked about"),
        pytest.param(PAYMENT, started(attempt=9), "ask", "card", id="asking is no attempt"),
        pytest.param(PAYMENT, {"outcome": "started"}, "ask", "", id="started at no known time"),
        pytest.param(RETRIED, started(attempt=4), "run", "card", id="unknown, to be run again"),
        pytest.param(RETRIED, started(tried={"card": "timeout"}), "run", "card", id="unknown after a retry"),
        pytest.param(RETRIED, started(attempt=5), "escalate", "card", id="unknown, attempts used up"),
        pytest.param(RETRIED, started(method="cash"), "escalate", "cash", id="unknown, the rule has lost the method"),
        pytest.param(RETRIED, started(method=""), "escalate", "", id="unknown, the rule has got methods"),
        pytest.param(RETRIED, started(tried={"card": "declined"}), "escalate", "card", id="unknown, declined before"),
        pytest.param(SHIPPING, started(method=""), "run", "", id="unknown, without methods"),
        pytest.param(changed(on_unknown="escalate"), started(), "escalate", "card", id="unknown, for a person"),
        pytest.param(PAYMENT, failed("timeout_read"), "run", "card", id="retry code"),
        pytest.param(PAYMENT, failed("timeout", method="cash"), "run", "card", id="retry code, method gone"),
        pytest.param(PAYMENT, failed(**GONE_ON | {"code": "timeout"}), "run", "paypal", id="retry code, later method"),
        pytest.param(PAYMENT, failed("declined"), "run", "paypal", id="declined"),
        pytest.param(PAYMENT, failed("declined", 0), "run", "paypal", id="the next method need not wait"),
        pytest.param(PAYMENT, failed("Timeout"), "run", "paypal", id="codes have their case"),
        pytest.param(PAYMENT, failed(method="paypal"), "run", "card", id="an earlier method that was passed over"),
        pytest.param(PAYMENT, failed("fraud_suspected"), "escalate", "card", id="fatal"),
        pytest.param(PAYMENT, failed("timeout_final"), "escalate", "card", id="fatal wins over retry"),
        pytest.param(PAYMENT, failed(attempt=5), "escalate", "card", id="attempts used up, methods left"),
        pytest.param(PAYMENT, failed("timeout", attempt=2**53 - 1), "escalate", "card", id="far too many attempts"),
        pytest.param(
            PAYMENT,
            failed(method="invoice", tried={"card": "timeout", "paypal": "x", "invoice": "x"}),
            "escalate",
            "invoice",
            id="no method left",
        ),
        pytest.param(SHIPPING, failed("busy", method=""), "run", "", id="retry code, without methods"),
        pytest.param(SHIPPING, failed("lost", method=""), "escalate", "", id="failed, without methods"),
    ],
)
def test_what_comes_next(rule, step, action, method):
    told = decide(rule, step)
    assert (told.action, told.step, told.method, told.not_before) == (action, rule.name, method, None)
    assert told.reason.startswith(f"Step {rule.name} ")
    assert told.reason.endswith(".")


def test_a_started_step_that_is_not_heard_of_is_of_unknown_outcome():
    """R1: a crash between start and end is never silence."""
    for rule in (PAYMENT, RETRIED, changed(on_unknown="escalate")):
        waiting = decide(rule, started(30 - 0.001))
        assert (waiting.action, waiting.method) == ("wait", "card")
        assert waiting.not_before == NOW + timedelta(milliseconds=1)
        assert decide(rule, started(30)).action in ("ask", "run", "escalate")
        assert "started, outcome unknown" in decide(rule, started(30)).reason


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 10), (2, 20), (3, 40), (4, 60)])
def test_the_same_method_waits_for_its_back_off(attempt, seconds):
    early = decide(PAYMENT, failed("timeout", seconds - 1, attempt=attempt))
    assert (early.action, early.method, early.not_before) == ("wait", "card", NOW + timedelta(seconds=1))
    assert early.reason.endswith("Run it again later, the same way.")
    due = decide(PAYMENT, failed("timeout", seconds, attempt=attempt))
    assert due.action == "run"
    assert due.reason.endswith("Run it again, the same way.")


def test_no_back_off_is_no_wait():
    assert decide(changed(backoff_seconds=0), failed("timeout", 0)).action == "run"
    assert StepRule(name="a", max_backoff_seconds=7).backoff(2**53) == 7


@pytest.mark.parametrize("step", [started(-31), failed("timeout", -11)])
def test_a_clock_that_was_wrong_is_not_waited_for(step):
    """A start or end in the future by more than the time to wait would hold the step up for as long as that."""
    assert decide(PAYMENT, step).action in ("ask", "run")


@pytest.mark.parametrize("step", [started(-29), failed("timeout", -9)])
def test_clocks_that_differ_a_little_cut_no_wait_short(step):
    told = decide(PAYMENT, step)
    assert told.action == "wait"
    assert told.not_before > NOW


def test_times_are_told_in_utc():
    here = NOW.astimezone(timezone(timedelta(hours=-8)))
    step = {"outcome": "started", "started_at": here.isoformat()}
    told = decide(PAYMENT, step, here)
    assert (told.not_before, told.not_before.tzinfo) == (NOW + timedelta(seconds=30), UTC)


RULES = (PAYMENT, SHIPPING)


@pytest.mark.parametrize(
    ("steps", "action", "step"),
    [
        ({}, "run", "payment"),
        ({"shipping": {"outcome": "done"}}, "run", "payment"),
        ({"payment": {"outcome": "done"}}, "run", "shipping"),
        ({"payment": {"outcome": "skipped"}, "shipping": started(method="")}, "run", "shipping"),
        ({"payment": started(1), "shipping": failed()}, "wait", "payment"),
        ({"payment": failed("fraud")}, "escalate", "payment"),
        ({"payment": {"outcome": "done"}, "shipping": {"outcome": "skipped"}}, "none", ""),
        ({"old": started(1), "payment": failed()}, "escalate", "old"),
        ({name: failed() for name in "zyxwvu"}, "escalate", "u"),
        ({"old": {"outcome": "done"}, "older": {"outcome": "skipped"}}, "run", "payment"),
    ],
)
def test_the_next_step_is_the_first_that_is_not_finished(steps, action, step):
    """R2. A step by a name that the settings no longer have may have been a payment, so it comes first."""
    told = next_step(RULES, steps, NOW)
    assert (told.action, told.step) == (action, step)
    assert told.reason


def test_nothing_to_do_is_nothing_to_do():
    assert next_step((), {}, NOW).action == "none"


@pytest.mark.parametrize("stored", ["done", {}, {"outcome": "unknown"}, {"outcome": "started", "started_at": "10:00"}])
@pytest.mark.parametrize("name", ["payment", "a/b"])
def test_what_is_no_step_is_never_taken_for_one_that_was_not_started(name, stored):
    """It might be run a second time."""
    with pytest.raises(InvalidValue) as refused:
        next_step(RULES, {name: stored}, NOW)
    assert refused.value.path == f"/recovery/steps/{name.replace('/', '~1')}"


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([None, started(), failed(), failed("timeout")]))
def test_the_answer_depends_on_its_arguments_only(clock, step):
    expected = decide(RETRIED, step)
    with clocks.travel(clock, tick=False):
        assert decide(RETRIED, step) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"methods": (), "max_attempts": 1},
        {"max_attempts": 3},
        {"max_attempts": 100},
        {"backoff_seconds": 0, "max_backoff_seconds": 0, "timeout_seconds": 1},
        {"backoff_seconds": MAX_SECONDS, "max_backoff_seconds": MAX_SECONDS, "timeout_seconds": MAX_SECONDS},
    ],
)
def test_a_rule_may_go_as_far_as_its_bounds(fields):
    rule = changed(**fields)
    assert {name: getattr(rule, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "name"),
        ({"name": "Payment"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": 5}, "name"),
        ({"methods": "card"}, "methods is a tuple"),
        ({"methods": ["card"]}, "methods is a tuple"),
        ({"methods": ("card", "")}, "methods is a tuple"),
        ({"methods": ("card", 5)}, "methods is a tuple"),
        ({"methods": ("Card",)}, "spelled"),
        ({"methods": ("card", "card")}, "once"),
        ({"retry_codes": "timeout"}, "retry_codes is a tuple"),
        ({"fatal_codes": None}, "fatal_codes is a tuple"),
        ({"on_unknown": "ignore"}, "ask, retry, escalate"),
        ({"on_unknown": ["ask"]}, "ask, retry, escalate"),
        ({"max_attempts": 0}, "max_attempts is a whole number from 3 to 100"),
        ({"max_attempts": 2}, "max_attempts is a whole number from 3 to 100"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"max_attempts": True, "methods": ()}, "max_attempts"),
        ({"backoff_seconds": -1}, "backoff_seconds"),
        ({"backoff_seconds": 1.5}, "backoff_seconds"),
        ({"backoff_seconds": 61}, "max_backoff_seconds is a whole number from 61"),
        ({"backoff_seconds": "1"}, "backoff_seconds"),
        ({"max_backoff_seconds": 10**9}, "max_backoff_seconds"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": None}, "timeout_seconds"),
        ({"commits": "no"}, "commits"),
    ],
)
def test_a_rule_says_what_is_wrong_with_it(fields, says):
    with pytest.raises(ValueError, match=r"^(payment: |A step's name)") as refused:
        changed(**fields)
    assert says in str(refused.value)
