"""What is recorded of the capability call that an event stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from agent_sessions.domain.values import check_value
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import JSONValue

REDACTED = "****"
MAX_PARAMS_BYTES = 16 * 1024
"""Bytes of JSON that the parameters of one call can have, private ones included."""
PAUSED, RESUMED = "session.paused", "session.resumed"
HANDED_OVER, TAKEN_BACK = "session.handed_over", "session.taken_back"
COMMITTED, STEP_DONE = "session.committed", "step.done"
STANDING_KINDS = frozenset({PAUSED, RESUMED, HANDED_OVER, TAKEN_BACK, COMMITTED, STEP_DONE})
"""Kinds whose events may tell, among their parameters, what the session's row says of ``STANDING``."""
STANDING = ("paused_at", "held_by", "committed_version")
APPROVAL_REQUESTED, APPROVAL_GRANTED = "approval.requested", "approval.granted"
APPROVAL_REJECTED, APPROVAL_ESCALATED = "approval.rejected", "approval.escalated"
APPROVAL_EXPIRED, APPROVAL_VOIDED = "approval.expired", "approval.voided"
APPROVAL_USED, APPROVAL_ATTEMPT_FAILED = "approval.used", "approval.attempt_failed"
APPROVAL_KINDS = frozenset(
    {
        APPROVAL_REQUESTED,
        APPROVAL_GRANTED,
        APPROVAL_REJECTED,
        APPROVAL_ESCALATED,
        APPROVAL_EXPIRED,
        APPROVAL_VOIDED,
        APPROVAL_USED,
        APPROVAL_ATTEMPT_FAILED,
    }
)
"""Kinds of what happens to an approval (L5)."""
RESERVED_KINDS = (
    STANDING_KINDS
    | APPROVAL_KINDS
    | {"session.created", "session.ended", "state.migrated", "conversation.message_added"}
)
"""Kinds that readers and verifiers rely on; only the package itself writes them."""
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


@dataclass(frozen=True, slots=True)
class Call:
    """One capability call, as its event tells it (contract item 74).

    ``params`` stand in the event in the clear, for good. ``private`` ones are shown as ``****``: the event holds a
    commitment to each, the values are sealed with the session's content and erased with it. ``policy_rule`` names the
    rule that decided. ``started_at`` (aware) gives the event its duration. ``identifiers`` are parameters that may look
    like a card's number and are not searched for one.
    """

    capability: str = ""
    method: str = ""
    params: Mapping[str, JSONValue] = field(default_factory=dict)
    private: Mapping[str, JSONValue] = field(default_factory=dict)
    policy_result: str = "allow"
    policy_rule: str = ""
    response_status: int = 200
    started_at: datetime | None = None
    identifiers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.policy_result not in ("allow", "deny"):
            raise InvalidValue("/policy_result", "A policy result is 'allow' or 'deny'.")
        for name, texts in (("capability", 64), ("method", 16), ("policy_rule", 200)):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > texts:
                raise InvalidValue(f"/{name}", f"Send text of at most {texts} characters.")
            check_value(text, f"/{name}")
        if type(self.response_status) is not int or not 100 <= self.response_status <= 599:
            raise InvalidValue("/response_status", "A response status is a number from 100 to 599.")
        if self.started_at is not None and self.started_at.utcoffset() is None:
            raise InvalidValue("/started_at", "Send a time with its offset from UTC.")
        check_value(dict(self.params), "/params")
        check_value(dict(self.private), "/private")
        size = len(msgspec.json.encode((dict(self.params), dict(self.private))))
        if size > MAX_PARAMS_BYTES:
            raise InvalidValue(
                "/params", f"They hold {size} bytes; {MAX_PARAMS_BYTES} is the most. Refer to what is large by id."
            )
        if both := self.params.keys() & self.private.keys():
            raise InvalidValue(f"/params/{min(both)}", "It is also in private; say it once.")

    @property
    def shown_params(self) -> dict[str, JSONValue]:
        """The parameters as the event shows them."""
        return {**self.params, **dict.fromkeys(self.private, REDACTED)}


NO_CALL = Call()


def check_kind(kind: str) -> None:
    """Refuse an event kind that is not dotted lower-case words, past tense (``cart.item_added``), or is reserved.

    Raises InvalidValue.
    """
    if not isinstance(kind, str) or len(kind) > 64 or not _KIND.fullmatch(kind):
        raise InvalidValue("/kind", "An event kind is dotted lower-case words such as cart.item_added, 64 at most.")
    if kind in RESERVED_KINDS:
        raise InvalidValue("/kind", f"{kind} has a meaning of its own and is written by the package only.")
