"""What kinds of events have to do with one another, so that people can look at one subject of a session at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FAMILIES: Final = (
    "conversation",
    "shopping",
    "stock",
    "decision",
    "checkout",
    "control",
    "session",
    "privacy",
    "other",
)
"""In the order in which a session comes by them. ``control`` is who has the session; ``other`` are a store's own."""
BY_KIND: Final[Mapping[str, str]] = {
    "hold.lifted": "privacy",
    "hold.reviewed": "privacy",
    "hold.review_due": "privacy",
    "session.exported": "privacy",
    "session.handed_over": "control",
    "session.marked_stale": "stock",
    "session.paused": "control",
    "session.resumed": "control",
    "session.taken_back": "control",
}
"""Kinds that have to do with something else than their first word says."""
BY_WORD: Final[Mapping[str, str]] = {
    "action": "decision",
    "approval": "decision",
    "capability": "decision",
    "cart": "shopping",
    "checkout": "checkout",
    "confirmation": "checkout",
    "content": "privacy",
    "conversation": "conversation",
    "delivery": "shopping",
    "endpoint": "checkout",
    "erasure": "privacy",
    "evidence": "privacy",
    "fact": "stock",
    "hold": "stock",
    "input": "decision",
    "item": "shopping",
    "items": "shopping",
    "legal_hold": "privacy",
    "note": "control",
    "order": "checkout",
    "payment": "checkout",
    "pii": "privacy",
    "policy": "decision",
    "session": "session",
    "state": "shopping",
    "step": "checkout",
    "stock": "stock",
    "transfer": "control",
    "variables": "shopping",
    "voucher": "shopping",
}
FAILURES: Final = frozenset(
    {
        "approval.attempt_failed",
        "approval.rejected",
        "capability.refused",
        "confirmation.declined",
        "fact.unavailable",
        "input.refused",
        "step.outcome_unknown",
    }
)
"""Kinds that say that something did not go as it was meant to, besides those that end in ``.failed``."""


def family_of(kind: str) -> str:
    """Return the family of an event's kind."""
    return BY_KIND.get(kind) or BY_WORD.get(kind.partition(".")[0], "other")


def is_failure(kind: str, policy_result: str, status: int) -> bool:
    """Tell whether an event is a refusal or a failure, as far as the event itself says it."""
    return policy_result == "deny" or status >= 400 or kind in FAILURES or kind.endswith(".failed")
