"""What a state says of the approvals that were asked for its cart (L5).

``checkout.approval`` names the one that was asked for the cart as it is, whatever came of it, until it is used or the
cart changes. So the answer of a person, once asked, binds: a cart that was rejected is not checked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from agent_sessions.domain.patch import apply_patch, diff
from agent_sessions.domain.shown_cart import shown_cart
from agent_sessions.exceptions import AgentSessionsError, ApprovalClosed, ApprovalExpired, ApprovalWaiting
from agent_sessions.types import JSONValue, Patch, PatchValue, State

NOTED: Final = ("amount", "currency", "version", "rule")
"""What an approval's events repeat of its note, in the clear."""


class ApprovalStatus(StrEnum):
    """Where a question to a person stands.

    It waits for the consumer (pending) or for staff (escalated); then it is granted or rejected, or its time has passed
    (expired), or the cart has changed (void). A granted one is used once.
    """

    PENDING = "pending"
    ESCALATED = "escalated"
    GRANTED = "granted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    VOID = "void"
    USED = "used"


WAITING: Final = (ApprovalStatus.PENDING, ApprovalStatus.ESCALATED)
OPEN: Final = (*WAITING, ApprovalStatus.GRANTED)
"""What can still lapse or become void."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The approval that was asked for the cart as it is: its id, where it stands at the time asked about, its note."""

    id: str
    status: ApprovalStatus
    note: Mapping[str, JSONValue]

    @property
    def capability(self) -> str:
        return str(self.note.get("capability", ""))


def asked(state: State, now: datetime) -> Asked | None:
    """Return the approval that was asked for the state's cart, as it stands at ``now`` (aware), None if none was."""
    approval_id = asked_id(state)
    if not approval_id:
        return None
    note = noted(state, approval_id)
    try:
        status = ApprovalStatus(str(note.get("status")))
        lapsed = status in OPEN and now >= datetime.fromisoformat(str(note.get("expires_at")))
    except (ValueError, TypeError):  # a note that this package did not write says nothing that could be relied on
        return Asked(approval_id, ApprovalStatus.VOID, note)
    return Asked(approval_id, ApprovalStatus.EXPIRED if lapsed else status, note)


def refusal_of(found: Asked) -> AgentSessionsError:
    """Return why a cart whose approval stands like this is not checked out; for one that is granted, because it is not
    of this cart.
    """
    if found.status in WAITING:
        return ApprovalWaiting(found.id)
    if found.status is ApprovalStatus.EXPIRED:
        return ApprovalExpired(found.id)
    status = ApprovalStatus.VOID if found.status is ApprovalStatus.GRANTED else found.status
    return ApprovalClosed(found.id, status.value)


def asked_id(state: State) -> str:
    """Return the id of the approval that was asked for the state's cart, empty if none was."""
    checkout = state.get("checkout")
    approval_id = checkout.get("approval") if type(checkout) is dict else None
    return approval_id if isinstance(approval_id, str) else ""


def settled(approval_id: str, status: ApprovalStatus, *, keep: bool = False, **facts: PatchValue) -> Patch:
    """Return the patch that notes what became of an approval; ``keep`` if it goes on binding the cart as it is."""
    patch: Patch = {"decisions": {"approvals": {approval_id: {"status": status.value, **facts}}}}
    if status not in WAITING:
        patch["recovery"] = {"interventions": {approval_id: None}}
    return patch if keep else {**patch, "checkout": {"approval": None}}


def voiding(before: State, patch: Patch) -> Patch | None:
    """Return what ``patch`` becomes if it changes the cart that an approval was asked for, None if it does not.

    Costs nothing where no approval was asked for.
    """
    approval_id = asked_id(before)
    if not approval_id or ("shopping" not in patch and "checkout" not in patch):
        return None
    after = apply_patch(before, patch)
    if asked_id(after) == approval_id and shown_cart(before) == shown_cart(after):
        return None
    change: Patch = {"checkout": {"approval": None}}
    if is_open(before, approval_id):
        change = settled(approval_id, ApprovalStatus.VOID)
    return diff(before, apply_patch(after, change))


def is_open(state: State, approval_id: str) -> bool:
    """Tell whether the state's note of an approval says that it can still lapse or become void."""
    return noted(state, approval_id).get("status") in OPEN


def noted(state: State, approval_id: str) -> dict[str, JSONValue]:
    """Return the state's note of an approval, empty if there is none."""
    return _map(_map(_map(state.get("decisions")).get("approvals")).get(approval_id))


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}
