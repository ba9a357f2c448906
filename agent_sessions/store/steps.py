"""Which steps the shop's work has, and how each goes on after a failure: the setting STEPS (R1, R2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from django.utils.module_loading import import_string

from agent_sessions.conf import settings
from agent_sessions.domain.steps import StepRule
from agent_sessions.exceptions import NoStore


def step_rules() -> tuple[StepRule, ...]:
    """Return the rules, in the order in which the steps are done. Raises NoStore if they cannot be read."""
    return _rules(settings.steps)


# Keyed by the path, so that an overridden setting gets rules of its own.
@lru_cache(maxsize=8)
def _rules(path: str) -> tuple[StepRule, ...]:
    if not path:
        return ()
    try:
        found = import_string(path)
        rules = tuple(cast("Sequence[StepRule]", found() if callable(found) else found))
    except Exception as problem:
        raise NoStore(f"AGENT_SESSIONS['STEPS'] ({path}) cannot be read: {type(problem).__name__}.") from problem
    names = [rule.name for rule in rules if isinstance(rule, StepRule)]
    if len(names) != len(rules) or len(set(names)) != len(names):
        raise NoStore(f"AGENT_SESSIONS['STEPS'] ({path}) is a sequence of StepRule, each with a name of its own.")
    return rules
