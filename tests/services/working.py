"""Steps of the tests: a payment that is asked about, packing that is done again, a notice that a person looks after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent_sessions.store import StepRule, StoreContext
from tests.store.shop import Shop

RULES = (
    StepRule(
        name="payment",
        methods=("card", "paypal"),
        max_attempts=4,
        retry_codes=("timeout*",),
        fatal_codes=("stolen",),
        backoff_seconds=10,
        timeout_seconds=60,
        commits=True,
    ),
    StepRule(name="packing", on_unknown="retry", max_attempts=2, timeout_seconds=60),
    StepRule(name="notice", on_unknown="escalate", timeout_seconds=60),
)
WITHOUT_PAYMENT = RULES[1:]
TWICE = (*RULES, RULES[0])
PATH = "tests.services.working.RULES"


class SteppingShop(Shop):
    """A store that says of steps what the test has it say; ``asked`` are the keys it was asked about."""

    features = frozenset({"browse", "contact", "steps"})
    answer: Callable[[str], Any] = staticmethod(lambda _: None)
    asked: list[str] = []

    def step_outcome(self, step: str, key: str, *, ctx: StoreContext) -> Any:
        self.asked.append(key)
        return SteppingShop.answer(key)
